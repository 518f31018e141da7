//! What an entry costs does not depend on how many there are. Counted in steps of SQLite's machine, not in time.

use haversack_protocol::Role;

use super::server::Server;
use super::world::{Phone, activity, edit, id, person, record, refer, set, text};
use crate::table::STEPS;

/// Steps an entry takes from its lease to its verdict in a phone with so many of them. One in ten is refused.
fn steps_per_entry(entries: u64) -> i64 {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    phone.write(1, vec![person(record(1), "Kari")]);
    for n in 2..=entries / 2 {
        phone.write(n, vec![activity(record(n), "walk")]);
        if n % 10 == 0 {
            server.refused.insert(id(n));
        }
    }
    for n in 2..=entries / 2 {
        let intents = vec![set("title", text("long walk")), refer("person", record(1))];
        phone.write(entries / 2 + n, vec![edit(record(n), "activity", intents)]);
    }
    STEPS.set(0);
    phone.sync(&mut server);
    STEPS.get() / i64::try_from(entries).expect("few")
}

#[test]
fn draining_an_entry_takes_as_much_work_in_a_long_outbox_as_in_a_short_one() {
    let (short, long) = (steps_per_entry(50), steps_per_entry(400));
    assert!(short > 100, "the work is counted: {short}");
    assert!(long < short + short / 2, "{short} steps each among 50 entries, {long} among 400");
}
