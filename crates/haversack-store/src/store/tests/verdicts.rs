//! Refusals, hostile rows, and who goes first.

use std::sync::Arc;

use haversack_core::outbox::EntryState;
use haversack_core::{Intent, Mark, Value};
use haversack_protocol::{
    Assignment, Code, Cursor, DeviceId, LogPart, PartChange, PrincipalId, Role, Schema, ServerChange,
    ServerId, UnixMillis,
};

use super::server::Server;
use super::world::{
    Phone, SCHEMA, activity, change_set, create, edit, id, open, person, record, refer, set, text,
};
use crate::{HostKey, NoticeKind, RecordState, Store, StoreError, StoreKey};

fn two_phones(role: Role) -> (Server, Phone, Phone) {
    let mut server = Server::new();
    let first = Phone::new(&mut server, 1, Role::Mentor);
    let second = Phone::new(&mut server, 2, role);
    (server, first, second)
}

fn rejection_of(phone: &Phone, n: u64) -> haversack_protocol::Rejection {
    let entries = phone.store.outbox().expect("reads");
    let entry = entries.into_iter().find(|entry| entry.change_set.id == id(n)).expect("kept");
    match entry.state {
        EntryState::Rejected(rejection) => rejection,
        other => panic!("rejected, not {other:?}"),
    }
}

#[test]
fn a_refused_edit_leaves_the_phone_like_a_twin_that_never_made_it() {
    let (mut server, mut phone, mut twin) = two_phones(Role::Mentor);
    phone.write(1, vec![activity(record(1), "walk")]);
    phone.sync(&mut server);
    twin.sync(&mut server);
    let retitle =
        |n: u64, title: &str| (n, vec![edit(record(1), "activity", vec![set("title", text(title))])]);
    let step = |n: u64| {
        (n, vec![edit(record(1), "activity", vec![Intent::Increment { field: "calls".into(), by: 1 }])])
    };
    let (n, parts) = retitle(2, "refused");
    phone.write(n, parts);
    let (n, parts) = step(3);
    phone.write(n, parts.clone());
    twin.store.local_write(change_set(n, parts)).expect("an edit");
    server.refused.insert(id(2));
    phone.push(&mut server);
    let applied = phone.pull(&server, usize::MAX);
    assert_eq!((applied.accepted, applied.rejected), (0, 1));
    assert_eq!(phone.digest(), twin.digest(), "the surviving edit is still shown, the refused one never was");
    assert_eq!(phone.store.get(record(1)).expect("reads").expect("a record").state, RecordState::Rejected);
    phone.assert_sound();
    phone.sync(&mut server);
    assert_eq!(phone.value(record(1), "calls"), Some(Value::Counter(1)));
    assert_eq!(phone.digest(), server.digest());
    assert_eq!(rejection_of(&phone, 2).code, Code::Rule);
    phone.store.discard(id(2)).expect("is rejected");
    assert_eq!(phone.store.get(record(1)).expect("reads").expect("a record").state, RecordState::Synced);
    assert!(matches!(phone.store.discard(id(2)), Err(StoreError::UnknownChangeSet(_))));
}

#[test]
fn a_refused_creation_takes_what_needs_it_along_and_keeps_the_input() {
    let (mut server, mut phone, _) = two_phones(Role::Mentor);
    phone.write(1, vec![person(record(1), "Kari")]);
    phone.write(
        2,
        vec![create(record(2), "activity", vec![set("title", text("walk")), refer("person", record(1))])],
    );
    phone.write(3, vec![person(record(3), "Ola")]);
    let mut declared = change_set(4, vec![edit(record(3), "person", vec![set("name", text("Per"))])]);
    declared.after = vec![id(2)];
    phone.store.local_write(declared.clone()).expect("an edit");
    server.refused.insert(id(1));
    phone.push(&mut server);
    let applied = phone.pull(&server, usize::MAX);
    assert_eq!((applied.accepted, applied.rejected), (1, 3));
    for gone in [record(1), record(2)] {
        assert_eq!(phone.store.get(gone).expect("reads"), None);
    }
    assert_eq!(phone.value(record(3), "name"), Some(text("Ola")));
    assert_eq!(rejection_of(&phone, 1).code, Code::Rule);
    for dependant in [2, 4] {
        let rejection = rejection_of(&phone, dependant);
        assert_eq!((rejection.code, rejection.root_cause), (Code::DependencyRejected, Some(id(1))));
    }
    let notices = phone.store.notices().expect("reads");
    let [notice] = &notices[..] else { panic!("one, grouped by its cause: {notices:?}") };
    assert_eq!((notice.kind, notice.change_set, notice.entries), (NoticeKind::Rejected, Some(id(1)), 3));
    assert!(phone.store.acknowledge_notice(notice.id).expect("marks"));
    assert_eq!(phone.store.notices().expect("reads"), []);
    assert_eq!(phone.store.unsynced().expect("counts"), 3);
    phone.assert_sound();

    let corrected = change_set(5, vec![person(record(1), "Kari Nordmann")]);
    phone.store.resubmit(vec![(id(1), corrected)]).expect("is rejected");
    let input = phone.store.outbox().expect("reads");
    let mut child = input.into_iter().find(|entry| entry.change_set.id == id(2)).expect("kept").change_set;
    child.id = id(6);
    phone.store.resubmit(vec![(id(2), child)]).expect("its parent is back");
    phone.sync(&mut server);
    assert_eq!(phone.value(record(1), "name"), Some(text("Kari Nordmann")));
    assert_eq!(phone.store.temporary_ids().expect("reads"), 0);
    assert_eq!(phone.digest(), server.digest());
    phone.assert_sound();
}

fn generation_of(change: &[u8]) -> Vec<u8> {
    haversack_core::inspect(change).expect("honest").actor.split_off(8)
}

#[test]
fn a_record_created_again_after_its_refusal_never_reuses_its_numbers() {
    let (mut server, mut phone, _) = two_phones(Role::Mentor);
    phone.write(1, vec![person(record(1), "Kari")]);
    server.refused.insert(id(1));
    let refused = phone.store.lease_batch(256, None).expect("leases");
    assert_eq!(generation_of(&refused.push[0].parts[0].change), [0, 0, 0, 0]);
    server.push(phone.device, &refused.push);
    phone.pull(&server, usize::MAX);
    phone.store.resubmit(vec![(id(1), change_set(2, vec![person(record(1), "Kari")]))]).expect("is rejected");
    let again = phone.store.lease_batch(256, None).expect("leases");
    assert_eq!(generation_of(&again.push[0].parts[0].change), [0, 0, 0, 1]);
}

#[test]
fn an_edit_authored_anew_refers_by_the_server_id_assigned_meanwhile() {
    let (mut server, mut phone, _) = two_phones(Role::Mentor);
    phone.write(1, vec![activity(record(1), "walk")]);
    phone.sync(&mut server);
    phone.write(2, vec![person(record(2), "Kari")]);
    phone.write(3, vec![edit(record(1), "activity", vec![set("title", text("refused"))])]);
    phone.write(4, vec![edit(record(1), "activity", vec![refer("person", record(2))])]);
    server.refused.insert(id(3));
    phone.push(&mut server);
    let applied = phone.pull(&server, usize::MAX);
    assert_eq!((applied.accepted, applied.rejected), (1, 1));
    assert_eq!(phone.store.counts().expect("counts").pending, 1);
    assert_eq!(phone.store.temporary_ids().expect("reads"), 0);
    let server_id = phone.store.server_id(record(2)).expect("reads").expect("assigned");
    let expected = Value::Reference(haversack_core::Reference::Server(server_id));
    assert_eq!(phone.value(record(1), "person"), Some(expected));
    phone.sync(&mut server);
    assert_eq!(phone.digest(), server.digest());
}

#[test]
fn a_resubmission_that_is_refused_keeps_the_rejected_entry() {
    let (mut server, mut phone, _) = two_phones(Role::Mentor);
    phone.write(1, vec![person(record(1), "Kari")]);
    assert!(matches!(phone.store.discard(id(1)), Err(StoreError::NotSetAside(_))));
    server.refused.insert(id(1));
    phone.push(&mut server);
    phone.pull(&server, usize::MAX);
    let wrong = change_set(2, vec![create(record(1), "person", vec![])]);
    assert!(matches!(phone.store.resubmit(vec![(id(1), wrong)]), Err(StoreError::Edit(_))));
    assert_eq!(rejection_of(&phone, 1).code, Code::Rule);
}

#[test]
fn an_edit_beneath_an_override_is_kept_and_told() {
    let (mut server, mut phone, mut office) = two_phones(Role::Coordinator);
    phone.write(1, vec![activity(record(1), "walk")]);
    phone.sync(&mut server);
    office.sync(&mut server);
    let mark = Mark {
        value: Some(text("corrected")),
        by: PrincipalId::new("user-2").expect("plain"),
        role: Role::Coordinator,
        at: UnixMillis(5),
        reason: "typing".into(),
    };
    office
        .write(2, vec![edit(record(1), "activity", vec![Intent::Override { field: "title".into(), mark }])]);
    office.sync(&mut server);
    phone.write(3, vec![edit(record(1), "activity", vec![set("title", text("run"))])]);
    phone.sync(&mut server);
    assert_eq!(phone.value(record(1), "title"), Some(text("corrected")));
    let row = phone.store.get(record(1)).expect("reads").expect("a record").row;
    assert_eq!(row.fields["title"], text("run"));
    let notices = phone.store.notices().expect("reads");
    assert!(notices.iter().any(|one| one.kind == NoticeKind::Shadowed && one.change_set == Some(id(3))));
    phone.assert_sound();
}

#[test]
fn a_contradicting_id_map_is_refused_with_its_whole_page() {
    let (mut server, mut phone, mut other) = two_phones(Role::Mentor);
    phone.write(1, vec![person(record(1), "Kari")]);
    phone.sync(&mut server);
    other.write(2, vec![person(record(2), "Ola")]);
    other.sync(&mut server);
    let server_id = phone.store.server_id(record(1)).expect("reads").expect("assigned");
    server.forge(other.device, |row| row.assignments = vec![Assignment { record: record(2), server_id }]);
    let before = (phone.store.cursor().expect("reads"), phone.digest());
    let page = phone.next_page(&server, usize::MAX);
    assert!(matches!(phone.store.apply_page(&page), Err(StoreError::Assignment(_))));
    assert_eq!((phone.store.cursor().expect("reads"), phone.digest()), before);
    assert_eq!(phone.store.get(record(2)).expect("reads"), None, "nothing of the page was stored");
    let fresh = ServerId::new(record(7).to_string()).expect("plain");
    let Some(haversack_protocol::LogRow::Accepted(row)) = server.log.last_mut() else { panic!("forged") };
    row.assignments = vec![Assignment { record: record(1), server_id: fresh }];
    let page = phone.next_page(&server, usize::MAX);
    assert!(matches!(phone.store.apply_page(&page), Err(StoreError::Assignment(_))));
}

#[test]
fn a_forged_change_quarantines_one_record_and_the_rest_of_the_page_lands() {
    let (mut server, mut phone, mut other) = two_phones(Role::Mentor);
    phone.write(1, vec![person(record(1), "Kari")]);
    phone.sync(&mut server);
    server.forge(DeviceId::from_bytes([8; 8]), |row| {
        row.server_changes =
            vec![ServerChange { record: record(1), epoch: 0, change: vec![0x85, 0x6f, 1, 2] }];
        row.parts = vec![LogPart {
            record: record(5),
            collection: Some("person".into()),
            epoch: 0,
            change: PartChange::Full(vec![1, 2, 3]),
        }];
    });
    other.write(2, vec![person(record(2), "Ola")]);
    other.sync(&mut server);
    let cursor = phone.store.cursor().expect("reads");
    phone.pull(&server, usize::MAX);
    assert_ne!(phone.store.cursor().expect("reads"), cursor);
    assert_eq!(phone.value(record(1), "name"), Some(text("Kari")));
    assert_eq!(phone.value(record(2), "name"), Some(text("Ola")));
    assert_eq!(phone.store.get(record(5)).expect("reads"), None);
    let notices = phone.store.notices().expect("reads");
    let told: Vec<_> = notices.iter().map(|notice| (notice.kind, notice.record)).collect();
    let quarantined = NoticeKind::Quarantined;
    assert_eq!(told, [(quarantined, Some(record(5))), (quarantined, Some(record(1)))]);
    assert_eq!(phone.store.quarantined().expect("reads"), [(record(1), 1), (record(5), 1)].into());
    assert_eq!(phone.digest(), server.digest());
    phone.assert_sound();
}

#[test]
fn what_would_make_a_record_too_large_is_quarantined_change_by_change() {
    let (mut server, phone, other) = two_phones(Role::Mentor);
    other.write(1, vec![activity(record(1), "walk")]);
    for n in 2..=7 {
        let note = set("note", text(&n.to_string().repeat(15_000)));
        other.write(n, vec![edit(record(1), "activity", vec![note])]);
    }
    for pushed in other.store.lease_batch(256, None).expect("leases").push {
        let part = pushed.parts.into_iter().next().expect("one");
        server.forge(other.device, |row| {
            row.parts = vec![LogPart {
                record: part.record,
                collection: part.collection,
                epoch: part.epoch,
                change: PartChange::Full(part.change),
            }];
        });
    }
    phone.store.apply_page(&phone.next_page(&server, usize::MAX)).expect("an honest page but for one record");
    assert_eq!(phone.value(record(1), "note"), Some(text(&"5".repeat(15_000))), "four fit into a record");
    let notices = phone.store.notices().expect("reads");
    let [notice] = &notices[..] else { panic!("one per record: {notices:?}") };
    assert_eq!((notice.kind, notice.record), (NoticeKind::Quarantined, Some(record(1))));
    phone.assert_sound();
}

#[test]
fn an_alarm_overtakes_a_thousand_edits_but_not_what_it_needs() {
    let (_, phone, _) = two_phones(Role::Mentor);
    for n in 1..=1000 {
        phone.write(n, vec![person(record(n), "p")]);
    }
    phone.write(1001, vec![edit(record(700), "person", vec![set("name", text("q"))])]);
    phone.write(
        1002,
        vec![create(record(2000), "alarm", vec![set("text", text("fall")), refer("person", record(700))])],
    );
    let mut declared = change_set(1003, vec![create(record(2001), "alarm", vec![set("text", text("x"))])]);
    declared.after = vec![id(1001)];
    phone.store.local_write(declared).expect("an edit");
    let waits = &phone.store.outbox().expect("reads")[1002].waits_for;
    assert_eq!(waits[..], [id(1001)]);
    let leased = phone.store.lease_batch(5, None).expect("leases");
    let sent: Vec<_> = leased.push.iter().map(|one| one.id).collect();
    assert_eq!(sent, [id(700), id(1002), id(1001), id(1003), id(1)]);
    assert!(leased.has_more);
    let again = phone.store.lease_batch(6, None).expect("leases");
    assert_eq!(again.push.len(), 6);
    assert_eq!(again.push[5].id, id(2), "what is under way goes first, in outbox order");
}

#[test]
fn what_the_schema_no_longer_allows_is_rejected_here_and_the_rest_goes_on() {
    let (mut server, mut phone, _) = two_phones(Role::Mentor);
    phone.write(1, vec![create(record(1), "alarm", vec![set("text", text("fall"))])]);
    phone.write(2, vec![person(record(2), "Kari")]);
    let mut smaller = Schema::from_json(SCHEMA).expect("checked");
    smaller.collections.remove("alarm");
    let elsewhere = tempfile::tempdir().expect("a folder");
    drop(std::mem::replace(&mut phone.store, open(elsewhere.path())));
    let key = HostKey::new(StoreKey::from_bytes([1; 32]));
    phone.store = Store::open(phone.folder.path(), Arc::new(smaller), &key).expect("opens");
    let leased = phone.store.lease_batch(256, None).expect("leases");
    assert_eq!((leased.push.len(), leased.has_more), (0, true));
    assert_eq!(rejection_of(&phone, 1).code, Code::Schema);
    phone.sync(&mut server);
    assert_eq!(phone.value(record(2), "name"), Some(text("Kari")));
}

#[test]
fn a_changed_schema_makes_rows_anew_and_loses_nothing() {
    let (mut server, mut phone, _) = two_phones(Role::Mentor);
    phone.write(1, vec![activity(record(1), "walk")]);
    phone.sync(&mut server);
    phone.write(2, vec![edit(record(1), "activity", vec![set("minutes", Value::Integer(7))])]);
    let before = phone.store.get(record(1)).expect("reads");
    let key = || HostKey::new(StoreKey::from_bytes([1; 32]));
    let mut smaller = Schema::from_json(SCHEMA).expect("checked");
    smaller.collections.get_mut("activity").expect("there").fields.remove("minutes");
    let Phone { store, folder, .. } = phone;
    drop(store);
    let store = Store::open(folder.path(), Arc::new(smaller), &key()).expect("opens");
    assert_eq!(
        store.get(record(1)).expect("reads").expect("a record").row.effective("title"),
        Some(&text("walk"))
    );
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.get(record(1)).expect("reads"), before);
    assert_eq!(store.check().expect("checks"), Vec::<String>::new());
}

#[test]
fn accepted_with_other_bytes_than_mine_takes_the_servers_and_authors_the_rest_anew() {
    let (mut server, mut phone, _) = two_phones(Role::Mentor);
    let restored = Phone::new(&mut Server::new(), 1, Role::Mentor);
    for one in [&phone, &restored] {
        one.write(1, vec![person(record(1), "Kari")]);
    }
    // The original sends its bytes; the copy authors others under the same change set, and chains an edit on them.
    phone.sync(&mut server);
    let other = change_set(9, vec![person(record(9), "x")]);
    restored.store.local_write(other).expect("an edit");
    let device = DeviceId::from_bytes([3; 8]);
    let principal = PrincipalId::new("user-1").expect("plain");
    server.register(device, &principal, Role::Mentor);
    let reply = haversack_protocol::DeviceReply { device, principal, role: Role::Mentor, push_ordinal: 0 };
    restored.store.bind("https://server", &reply).expect("the same principal");
    restored.write(2, vec![edit(record(1), "person", vec![set("name", text("Ola"))])]);
    restored.store.lease_batch(256, None).expect("leases");
    let page = server.page(device, 0, usize::MAX, false);
    let applied = restored.store.apply_page(&page).expect("an honest page");
    assert_eq!(applied.accepted, 1);
    assert_eq!(restored.value(record(1), "name"), Some(text("Ola")));
    restored.assert_sound();
    let leased = restored.store.lease_batch(256, None).expect("leases");
    server.push(device, &leased.push);
    let page = server.page(device, 0, usize::MAX, false);
    assert_eq!(restored.store.apply_page(&page).expect("an honest page").accepted, 2);
    assert_eq!(restored.digest(), server.digest());
    assert_ne!(Some(page.cursor_after), Cursor::new(vec![]));
}
