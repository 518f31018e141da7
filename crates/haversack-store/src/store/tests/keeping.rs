//! Letting go: what a device keeps of a collection that is kept for 30 days, and what brings a record back.

use std::sync::Arc;

use haversack_core::{ChangeSet, Intent};
use haversack_protocol::{EpochCause, Role, Schema, UnixMillis};

use super::erasure::{canary, count, readable};
use super::server::Server;
use super::world::{Phone, SCHEMA, change_set, create, edit, id, person, record, refer, set, text};
use crate::{HostKey, PageOutcome, Query, Store, StoreKey};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The server's clock so many days after every edit of these stories.
fn days(days: i64) -> UnixMillis {
    UnixMillis(1_005 + days * DAY_MS)
}

fn say(value: &str) -> Vec<Intent> {
    vec![set("text", text(value))]
}

fn let_go(phone: &Phone, now: UnixMillis) -> usize {
    let touched = phone.store.let_go_aged(now).expect("lets go");
    touched.records().count()
}

/// Records of the phone that are listed, ascending.
fn alarms(phone: &Phone) -> Vec<u64> {
    let mut listed: Vec<_> = phone.store.list(&Query::of("alarm")).expect("lists");
    listed.sort_by_key(|found| found.record);
    let number = |bytes: &[u8; 16]| u128::from_be_bytes(*bytes) as u64;
    listed.iter().map(|found| number(found.record.as_bytes())).collect()
}

/// Reads to the end of the log as a driver does: what is asked for anew is read anew.
fn read(phone: &mut Phone, server: &Server) -> usize {
    let (mut readings, mut in_full) = (1, false);
    loop {
        let page = phone.page_after_cursor(server, 2, in_full);
        if page.rows.is_empty() {
            return readings;
        }
        match phone.store.apply_page(&page).expect("an honest page").outcome {
            PageOutcome::Applied => in_full = false,
            PageOutcome::NeedsFullEcho => in_full = true,
            PageOutcome::ReadAnew => readings += 1,
        }
        assert!(readings < 9, "it comes to an end");
    }
}

#[test]
fn what_is_settled_and_old_leaves_the_device_to_the_last_byte_and_nothing_else_does() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Coordinator);
    for n in 1..=6 {
        phone.write(n, vec![create(record(n), "alarm", say(&canary(n as u32).repeat(300)))]);
    }
    phone.write(7, vec![person(record(7), "Ola")]);
    phone.sync(&mut server);
    for n in 1..=6 {
        phone.write(10 + n, vec![edit(record(n), "alarm", say("short"))]);
    }
    phone.sync(&mut server);
    // One waits, one was refused.
    server.refused.insert(id(21));
    phone.write(21, vec![edit(record(2), "alarm", say("refused"))]);
    phone.sync(&mut server);
    phone.write(22, vec![edit(record(1), "alarm", say("waits"))]);
    assert_eq!(let_go(&phone, days(30)), 0, "to the end of the last day");
    let unsynced = phone.store.unsynced().expect("counts");
    assert_eq!(let_go(&phone, UnixMillis(days(31).0 + 1)), 4);
    assert_eq!((alarms(&phone), phone.store.records_let_go().expect("counts")), (vec![1, 2], 4));
    assert_eq!(phone.store.unsynced().expect("counts"), unsynced);
    assert_eq!(phone.value(record(7), "name"), Some(text("Ola")));
    assert_eq!(phone.store.sweep_erased().expect("sweeps"), None, "nothing was erased");
    let pages = readable(&phone);
    let left: Vec<_> = (1..=6).filter(|n| count(&pages, &canary(*n)) > 0).collect();
    assert_eq!(left, [1, 2], "of what was let go no byte is left");
    phone.assert_sound();
    phone.sync(&mut server);
    assert_eq!(phone.value(record(1), "text"), Some(text("waits")));
}

#[test]
fn what_was_let_go_stays_away_whatever_is_read_again_until_somebody_edits_it() {
    let mut server = Server::new();
    let mut ola = Phone::new(&mut server, 1, Role::Mentor);
    let mut kari = Phone::new(&mut server, 2, Role::Mentor);
    for n in 1..=3 {
        ola.write(n, vec![create(record(n), "alarm", say("first"))]);
    }
    ola.write(4, vec![person(record(4), "Per")]);
    ola.sync(&mut server);
    kari.sync(&mut server);
    ola.write(5, vec![edit(record(1), "alarm", vec![refer("person", record(4))])]);
    ola.sync(&mut server);
    kari.sync(&mut server);
    assert_eq!(let_go(&ola, days(31)), 3);
    assert_eq!(read(&mut ola, &server), 1);
    ola.store.reset_cursor().expect("resets");
    assert_eq!(read(&mut ola, &server), 1);
    server.begin_epoch(record(2), EpochCause::Compacted);
    assert_eq!(read(&mut ola, &server), 1);
    assert_eq!(alarms(&ola), [] as [u64; 0], "rows that were read before, and a new epoch, are passed over");
    let unknown = ola.store.local_write(change_set(8, vec![edit(record(1), "alarm", say("mine"))]));
    assert!(unknown.is_err(), "what is not here cannot be edited");

    kari.pull(&server, usize::MAX);
    for n in 1..=2 {
        kari.write(10 + n, vec![edit(record(n), "alarm", say("again"))]);
    }
    kari.sync(&mut server);
    assert_eq!(read(&mut ola, &server), 2, "the log is read anew once for a page with such edits");
    assert_eq!(alarms(&ola), [1, 2]);
    assert_eq!(ola.store.records_let_go().expect("counts"), 1);
    for n in 1..=2 {
        assert_eq!(ola.value(record(n), "text"), Some(text("again")));
        let shown = |phone: &Phone| phone.store.get(record(n)).expect("reads").expect("here").row;
        assert_eq!(shown(&ola), shown(&kari));
    }
    ola.write(20, vec![edit(record(1), "alarm", say("mine"))]);
    ola.push(&mut server);
    read(&mut ola, &server);
    assert_eq!(ola.store.unsynced().expect("counts"), 0, "own changes go on where they were");
    assert_eq!(ola.store.notices().expect("lists"), []);
    ola.assert_sound();
}

#[test]
fn a_record_in_a_new_epoch_is_as_old_as_its_last_edit() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    phone.write(1, vec![create(record(1), "alarm", say("first"))]);
    phone.sync(&mut server);
    server.begin_epoch(record(1), EpochCause::Erased(vec!["text".to_owned()]));
    phone.pull(&server, usize::MAX);
    assert_eq!(let_go(&phone, days(30)), 0);
    assert_eq!(let_go(&phone, UnixMillis(days(31).0 + 1)), 1);
}

#[test]
fn twins_written_on_different_days_are_let_go_on_different_days() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    for (n, at) in [(1, days(0)), (2, days(20))] {
        let part = vec![create(record(n), "alarm", say("fall"))];
        phone.store.local_write(ChangeSet { at, ..change_set(n, part) }).expect("stored");
        phone.sync(&mut server);
    }
    assert_eq!(let_go(&phone, days(31)), 1);
    assert_eq!(alarms(&phone), [2]);
    assert_eq!(let_go(&phone, days(51)), 1);
    assert_eq!(read(&mut phone, &server), 1);
    phone.store.reset_cursor().expect("resets");
    assert_eq!((read(&mut phone, &server), alarms(&phone)), (1, vec![]));
}

#[test]
fn of_what_was_kept_for_ever_the_days_are_counted_from_the_first_look() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    phone.write(1, vec![create(record(1), "alarm", say("first"))]);
    phone.sync(&mut server);
    let Phone { store, folder, .. } = phone;
    let turn_to = |store: Store, schema: &str| {
        store.close().expect("closes");
        let schema = Arc::new(Schema::from_json(schema).expect("sound"));
        let key = HostKey::new(StoreKey::from_bytes([1; 32]));
        Store::open(folder.path(), schema, &key).expect("opens")
    };
    let let_go = |store: &Store, now| store.let_go_aged(now).expect("lets go").records().count();
    let store = turn_to(store, &SCHEMA.replace("\"keep_days\": 30, ", ""));
    assert_eq!(let_go(&store, days(100)), 0, "nothing is kept for so many days only");
    let store = turn_to(store, SCHEMA);
    assert_eq!([100, 130, 132].map(|day| let_go(&store, days(day))), [0, 0, 1]);
}

#[test]
fn records_are_looked_at_once_a_day_and_many_are_let_go_in_steps() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    let alarm = |n| create(record(n), "alarm", say("old"));
    for n in 0..10 {
        phone.write(n + 1, (n * 30 + 1..=n * 30 + 30).map(alarm).collect());
    }
    phone.sync(&mut server);
    assert_eq!(let_go(&phone, days(29)), 0);
    assert_eq!(let_go(&phone, UnixMillis(days(30).0 - 1)), 0, "it was looked today");
    assert_eq!(let_go(&phone, days(31)), 300);
    assert_eq!(let_go(&phone, days(-400)), 0, "a clock that was set back lets nothing go");
    assert_eq!(phone.digest(), Server::new().digest());
    phone.assert_sound();
}
