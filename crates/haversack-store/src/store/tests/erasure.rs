//! Erasing: what is left of a record on a device that read of it, and what becomes of edits that waited.

use std::fs;

use haversack_core::outbox::EntryState;
use haversack_core::{EditRefusal, Intent, Mark};
use haversack_protocol::{LogRow, PrincipalId, Role, UnixMillis};

use super::server::Server;
use super::world::{Phone, activity, change_set, edit, id, person, record, set, text};
use crate::{NoticeKind, Query, StoreError};

/// A word nobody else writes.
pub(super) const CANARY: &str = "kanarifugl";

pub(super) fn canary(n: u32) -> String {
    format!("{CANARY}{n:04}")
}

/// A mark of a coordinator that says a canary twice.
fn mark(n: u32) -> Mark {
    Mark {
        value: Some(text(&canary(n))),
        by: PrincipalId::new("user-1").expect("plain"),
        role: Role::Coordinator,
        at: UnixMillis(1),
        reason: canary(n + 1),
    }
}

/// How often a word stands in these bytes, as UTF-8 or as UTF-16.
pub(super) fn count(bytes: &[u8], word: &str) -> usize {
    let wide: Vec<u8> = word.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [word.as_bytes(), &wide]
        .iter()
        .map(|word| bytes.windows(word.len()).filter(|at| at == word).count())
        .sum()
}

/// Every byte of an open store that its key makes readable.
pub(super) fn readable(phone: &Phone) -> Vec<u8> {
    phone.store.connections.pages()
}

/// Writes of all there is: fields of several kinds, marks, a searched field, a refused edit, a parked one, a pending one.
fn fill(server: &mut Server, phone: &mut Phone) {
    let long = canary(2).repeat(900);
    let fields =
        vec![set("title", text(&canary(1))), set("note", text(&long)), set("remark", text(&canary(3)))];
    let mut part = activity(record(1), "");
    part.intents = fields;
    phone.write(1, vec![part]);
    let tag = Intent::Add { field: "tags".into(), element: canary(4) };
    let over = Intent::Override { field: "place".into(), mark: mark(5) };
    phone.write(2, vec![edit(record(1), "activity", vec![tag, over])]);
    phone.sync(server);
    server.refused.insert(id(3));
    phone.write(3, vec![edit(record(1), "activity", vec![set("note", text(&canary(7)))])]);
    phone.sync(server);
    for n in 4..40 {
        let note = set("note", text(&format!("{}{}", canary(n), "x".repeat(n as usize * 60))));
        phone.write(n.into(), vec![edit(record(1), "activity", vec![note])]);
        phone.sync(server);
    }
    phone.write(50, vec![edit(record(1), "activity", vec![set("note", text(&canary(50)))])]);
    phone.push(server);
    phone.write(51, vec![edit(record(1), "activity", vec![set("title", text(&canary(51)))])]);
}

#[test]
fn no_byte_of_an_erased_record_is_left_in_any_page_of_the_store_its_log_or_a_backup() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Coordinator);
    phone.write(100, vec![activity(record(2), "stays")]);
    fill(&mut server, &mut phone);
    assert!(count(&readable(&phone), CANARY) > 100, "they are there, and found");
    let remark = Query::of("activity").search(&canary(3));
    assert_eq!(phone.store.list(&remark).expect("lists").len(), 1);

    server.erase(record(1));
    phone.pull(&server, usize::MAX);
    let position = server.log.len() as u64;
    assert_eq!(phone.store.sweep_erased().expect("sweeps"), Some(position), "the receipt");
    assert_eq!(count(&readable(&phone), CANARY), 0);
    let log = fs::metadata(phone.folder.path().join("store.db-wal")).map(|log| log.len()).unwrap_or(0);
    assert_eq!(log, 0, "the log is empty");
    assert!(
        phone.store.is_erased(record(1)).expect("reads")
            && phone.store.get(record(1)).expect("reads").is_none()
    );
    assert_eq!(phone.store.list(&remark).expect("lists").len(), 0);
    assert_eq!(phone.value(record(2), "title"), Some(text("stays")));
    phone.assert_sound();

    let place = tempfile::tempdir().expect("a folder");
    phone.store.back_up(&place.path().join("copy")).expect("backs up");
    let copy = super::world::open(&place.path().join("copy"));
    assert_eq!(count(&copy.connections.pages(), CANARY), 0);
    let layout = fs::read_to_string(phone.folder.path().join("store.json")).expect("reads");
    drop(phone.store);
    drop(super::world::open(phone.folder.path()));
    assert_eq!(
        fs::read_to_string(phone.folder.path().join("store.json")).expect("reads"),
        layout,
        "it says where tables begin"
    );
}

#[test]
fn edits_of_an_erased_record_go_and_what_they_did_to_others_stays() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    phone.write(1, vec![person(record(1), "Ola"), person(record(2), "Kari")]);
    phone.sync(&mut server);
    let name = |name: &str| vec![set("name", text(name))];
    phone.write(2, vec![edit(record(1), "person", name("Ole"))]);
    phone.write(3, vec![edit(record(1), "person", name("Oline")), edit(record(2), "person", name("Karin"))]);
    let mut behind = change_set(4, vec![edit(record(2), "person", name("Karina"))]);
    behind.after = vec![id(2)];
    phone.store.local_write(behind).expect("stored");
    let other = phone.store.lease_batch(2, None).expect("leases");
    assert_eq!(other.push.len(), 2, "the first two are frozen and lost on the way");
    server.refused.insert(id(9));
    server.erase(record(1));
    phone.pull(&server, usize::MAX);

    let left: Vec<_> =
        phone.store.outbox().expect("lists").into_iter().map(|entry| entry.change_set).collect();
    assert_eq!(left.iter().map(|set| set.id).collect::<Vec<_>>(), [id(3), id(4)]);
    assert_eq!(left[0].parts.iter().map(|part| part.record).collect::<Vec<_>>(), [record(2)]);
    assert_eq!(left[1].after, [], "what went is waited for no longer");
    let [notice] = &phone.store.notices().expect("lists")[..] else { panic!("one notice") };
    assert_eq!((notice.kind, notice.record, notice.entries), (NoticeKind::Erased, Some(record(1)), 2));
    phone.assert_waits();
    phone.assert_sound();
    phone.sync(&mut server);
    assert_eq!(phone.value(record(2), "name"), Some(text("Karina")));
    assert_eq!((phone.digest(), phone.store.unsynced().expect("counts")), (server.digest(), 0));
}

#[test]
fn an_edit_that_reached_the_server_after_the_erasure_is_dropped_with_its_input() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    phone.write(1, vec![person(record(1), "Ola"), person(record(2), "Kari")]);
    phone.sync(&mut server);
    phone.write(2, vec![edit(record(1), "person", vec![set("name", text("Ole"))])]);
    // A copy of the store hears of the erasure by the refusal alone.
    server.erase(record(1));
    phone.push(&mut server);
    let mut page = phone.next_page(&server, usize::MAX);
    page.rows.retain(|row| matches!(row, LogRow::Rejected(_)));
    phone.store.apply_page(&page).expect("applies");
    assert_eq!(phone.store.outbox().expect("lists"), []);
    let kinds: Vec<_> = phone.store.notices().expect("lists").iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [NoticeKind::Erased]);
    assert_eq!(
        phone.store.list(&Query::of("person")).expect("lists").len(),
        2,
        "the row comes with the erasure itself"
    );
}

#[test]
fn nothing_of_an_erased_record_comes_back() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    phone.write(1, vec![person(record(1), "Ola")]);
    phone.sync(&mut server);
    server.erase(record(1));
    phone.pull(&server, usize::MAX);
    for (n, part) in
        [(2, person(record(1), "Ola")), (3, edit(record(1), "person", vec![set("name", text("Ole"))]))]
    {
        let refused = phone.store.local_write(change_set(n, vec![part])).expect_err("refused");
        assert!(matches!(refused, StoreError::Edit(EditRefusal::Erased(of)) if of == record(1)));
    }
    let empty = phone.digest();
    phone.read_anew();
    phone.pull(&server, 2);
    phone.pull(&server, usize::MAX);
    let mut other = Phone::new(&mut server, 2, Role::Mentor);
    other.pull(&server, usize::MAX);
    assert_eq!((phone.digest(), other.digest()), (empty.clone(), empty));
    for phone in [&phone, &other] {
        assert_eq!(phone.store.notices().expect("lists"), [], "an old row of it is no hostile one");
        phone.assert_sound();
    }
}

#[test]
fn an_entry_that_was_set_aside_leaves_the_erased_record_out_when_it_is_corrected() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    phone.write(1, vec![person(record(1), "Ola"), person(record(2), "Kari")]);
    phone.sync(&mut server);
    server.refused.insert(id(2));
    let name = |name: &str| vec![set("name", text(name))];
    phone.write(2, vec![edit(record(1), "person", name("Ole")), edit(record(2), "person", name("Karin"))]);
    phone.sync(&mut server);
    server.erase(record(1));
    phone.pull(&server, usize::MAX);
    let [entry] = &phone.store.outbox().expect("lists")[..] else { panic!("its input is kept") };
    assert!(matches!(entry.state, EntryState::Rejected(_)));
    assert_eq!(entry.change_set.parts.len(), 1);
    let mut again = entry.change_set.clone();
    again.id = id(5);
    phone.store.resubmit(vec![(id(2), again)]).expect("stored");
    phone.sync(&mut server);
    assert_eq!(phone.digest(), server.digest());
}
