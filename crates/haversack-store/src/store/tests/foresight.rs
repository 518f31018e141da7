//! A pending value that will lose keeps showing what was typed, and says so.

use std::collections::BTreeSet;

use haversack_protocol::Role;

use super::server::Server;
use super::world::{Phone, activity, edit, record, set, text};

fn shadowed(phone: &Phone) -> BTreeSet<String> {
    phone.store.get(record(1)).expect("reads").expect("a record").row.shadowed
}

fn name(field: &str) -> BTreeSet<String> {
    [field.to_owned()].into()
}

/// Two phones with one activity; the second has edited its note twice, unseen by the first.
fn two_phones() -> (Server, Phone, Phone) {
    let mut server = Server::new();
    let mut first = Phone::new(&mut server, 1, Role::Mentor);
    let mut second = Phone::new(&mut server, 2, Role::Mentor);
    first.write(1, vec![activity(record(1), "walk")]);
    first.sync(&mut server);
    second.sync(&mut server);
    for n in [11, 12] {
        second.write(n, vec![edit(record(1), "activity", vec![set("note", text("theirs"))])]);
        second.sync(&mut server);
    }
    (server, first, second)
}

#[test]
fn a_pending_value_that_will_lose_is_flagged_when_the_other_arrives_and_keeps_showing() {
    let (mut server, mut first, mut second) = two_phones();
    first.write(
        2,
        vec![edit(record(1), "activity", vec![set("note", text("mine")), set("title", text("run"))])],
    );
    assert_eq!(shadowed(&first), BTreeSet::new());
    first.pull(&server, usize::MAX);
    assert_eq!(first.value(record(1), "note"), Some(text("mine")), "what was typed stays");
    assert_eq!(shadowed(&first), name("note"), "and only the field that loses is told");
    first.assert_sound();
    first.store.lease_batch(256, None).expect("leases");
    assert_eq!(shadowed(&first), name("note"), "being sent changes nothing");
    first.assert_sound();
    first.sync(&mut server);
    assert_eq!(first.value(record(1), "note"), Some(text("theirs")), "as foretold");
    assert_eq!(first.value(record(1), "title"), Some(text("run")));
    assert_eq!(shadowed(&first), BTreeSet::new());
    second.sync(&mut server);
    assert_eq!(first.digest(), second.digest());
}

#[test]
fn a_pending_value_that_will_win_is_not_flagged() {
    let (mut server, mut first, _) = two_phones();
    for n in 2..6 {
        first.write(n, vec![edit(record(1), "activity", vec![set("note", text(&format!("mine {n}")))])]);
    }
    first.pull(&server, usize::MAX);
    assert_eq!(shadowed(&first), BTreeSet::new());
    first.sync(&mut server);
    assert_eq!(first.value(record(1), "note"), Some(text("mine 5")), "as foretold");
}

#[test]
fn typing_anew_having_seen_the_other_value_takes_the_flag_away() {
    let (mut server, mut first, _) = two_phones();
    first.write(2, vec![edit(record(1), "activity", vec![set("note", text("mine"))])]);
    first.pull(&server, usize::MAX);
    assert_eq!(shadowed(&first), name("note"));
    first.write(3, vec![edit(record(1), "activity", vec![set("note", text("after all"))])]);
    assert_eq!(shadowed(&first), BTreeSet::new());
    first.assert_sound();
    first.sync(&mut server);
    assert_eq!(first.value(record(1), "note"), Some(text("after all")));
}

#[test]
fn the_flag_survives_reopening() {
    let (server, mut first, _) = two_phones();
    first.write(2, vec![edit(record(1), "activity", vec![set("note", text("mine"))])]);
    first.pull(&server, usize::MAX);
    let Phone { store, folder, .. } = first;
    store.close().expect("closes");
    let again = super::world::open(folder.path());
    assert_eq!(again.get(record(1)).expect("reads").expect("a record").row.shadowed, name("note"));
}
