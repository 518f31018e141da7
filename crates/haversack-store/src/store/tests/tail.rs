//! Edits that were written and not yet filed: they cost two pages, and nobody can tell them from filed ones.

use std::fs;

use haversack_protocol::Role;

use super::server::Server;
use super::world::{Phone, activity, change_set, edit, id, person, record, set, text};
use crate::{RecordState, StoreError};

/// A page of the log: 4096 bytes and a header.
const FRAME_BYTES: u64 = 4096 + 24;

fn phone() -> (Server, Phone) {
    let mut server = Server::new();
    let phone = Phone::new(&mut server, 1, Role::Mentor);
    (server, phone)
}

fn logged_pages(phone: &Phone, work: impl FnOnce(&Phone)) -> u64 {
    let log = || fs::metadata(phone.folder.path().join("store.db-wal")).expect("a log").len();
    let before = log();
    work(phone);
    (log() - before) / FRAME_BYTES
}

fn orders_and_ids(phone: &Phone) -> Vec<(i64, u64)> {
    let entries = phone.store.outbox().expect("reads").into_iter();
    let number = |id: haversack_protocol::ChangeSetId| u128::from_be_bytes(*id.as_bytes()) >> 64;
    entries.map(|entry| (entry.order, u64::try_from(number(entry.change_set.id)).expect("small"))).collect()
}

#[test]
fn an_edit_writes_the_page_of_its_row_and_the_page_of_its_entry() {
    let (_, phone) = phone();
    phone.write(1, vec![activity(record(1), "walk")]);
    let retitle =
        |phone: &Phone| phone.write(2, vec![edit(record(1), "activity", vec![set("note", text("x"))])]);
    assert_eq!(logged_pages(&phone, retitle), 2);
    let create = |phone: &Phone| phone.write(3, vec![person(record(2), "Kari")]);
    assert_eq!(
        logged_pages(&phone, create),
        5,
        "two more find the row by id and by collection, one by its name"
    );
}

#[test]
fn the_same_change_set_is_refused_wherever_the_first_one_lies() {
    let (_, phone) = phone();
    let write = |n: u64| phone.store.local_write(change_set(n, vec![person(record(n + 90), "p")]));
    let rename = || vec![set("name", text("q"))];
    let again =
        |n: u64| phone.store.local_write(change_set(n, vec![edit(record(n + 90), "person", rename())]));
    for n in [5, 7, 3, 4] {
        write(n).expect("an id that is new");
    }
    for n in [4, 3, 7, 5] {
        let refused = again(n);
        assert!(matches!(refused, Err(StoreError::Database { .. })), "{n}: {refused:?}");
    }
    assert_eq!(orders_and_ids(&phone), [(1, 5), (2, 7), (3, 3), (4, 4)]);
    phone.assert_sound();
}

#[test]
fn a_place_in_the_outbox_is_never_used_twice() {
    let (mut server, mut phone) = phone();
    for n in 1..=3 {
        phone.write(n, vec![person(record(n), "p")]);
        assert_eq!(orders_and_ids(&phone), [(i64::try_from(n).expect("small"), n)]);
        phone.sync(&mut server);
        assert_eq!(orders_and_ids(&phone), []);
    }
}

#[test]
fn a_long_tail_is_filed_and_nothing_of_it_is_lost() {
    let (_, phone) = phone();
    for n in 1..=1_002 {
        phone.write(n, vec![person(record(n), "p")]);
    }
    let expected: Vec<_> = (1..=1_002_i64).map(|n| (n, n.cast_unsigned())).collect();
    assert_eq!(orders_and_ids(&phone), expected);
    assert_eq!(phone.store.counts().expect("counts").pending, 1_002);
    phone.assert_waits();
    phone.assert_sound();
}

#[test]
fn a_record_says_how_it_stands_before_and_after_its_edits_are_filed() {
    let (mut server, mut phone) = phone();
    let state = |phone: &Phone| phone.store.get(record(1)).expect("reads").expect("a record").state;
    let rename = |name: &str| vec![edit(record(1), "person", vec![set("name", text(name))])];
    phone.write(1, vec![person(record(1), "Kari")]);
    assert_eq!(state(&phone), RecordState::LocalOnly);
    phone.sync(&mut server);
    assert_eq!(state(&phone), RecordState::Synced);
    phone.write(2, rename("Ola"));
    assert_eq!(state(&phone), RecordState::Pending);
    phone.push(&mut server);
    phone.write(3, rename("Per"));
    assert_eq!(state(&phone), RecordState::Sending);
    phone.pull(&server, usize::MAX);
    assert_eq!(state(&phone), RecordState::Pending);
    server.refused.insert(id(3));
    phone.sync(&mut server);
    assert_eq!(state(&phone), RecordState::Rejected);
    phone.write(4, rename("Åse"));
    assert_eq!(state(&phone), RecordState::Rejected);
    phone.store.discard(id(3)).expect("is rejected");
    assert_eq!(state(&phone), RecordState::Pending);
    phone.sync(&mut server);
    assert_eq!(state(&phone), RecordState::Synced);
}
