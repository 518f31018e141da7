//! The history of a record, and of whom an export speaks.

use haversack_core::{EditRefusal, Intent, Origin, Reference, Standing, Value, Write};
use haversack_protocol::{PrincipalId, Role};

use super::server::Server;
use super::world::{Phone, activity, change_set, create, edit, person, record, refer, set, text};
use crate::{HistoryEntry, StoreError};

fn two_phones() -> (Server, Phone, Phone) {
    let mut server = Server::new();
    let ours = Phone::new(&mut server, 1, Role::Mentor);
    let theirs = Phone::new(&mut server, 2, Role::Mentor);
    (server, ours, theirs)
}

fn history(phone: &Phone, field: &str) -> Vec<HistoryEntry> {
    phone.store.history(record(1), Some(field)).expect("reads")
}

fn values(history: &[HistoryEntry]) -> Vec<(Option<Value>, Standing)> {
    let value = |entry: &HistoryEntry| match &entry.write {
        Write::Register { value, .. } => (value.clone(), entry.standing),
        other => panic!("not of a register: {other:?}"),
    };
    history.iter().map(value).collect()
}

#[test]
fn every_accepted_write_is_in_the_history_with_its_author_and_position_and_waiting_ones_come_last() {
    let (mut server, mut ours, mut theirs) = two_phones();
    ours.write(1, vec![activity(record(1), "walk")]);
    ours.sync(&mut server);
    theirs.sync(&mut server);
    for (phone, n, title) in [(&ours, 2, "run"), (&theirs, 3, "swim")] {
        phone.write(n, vec![edit(record(1), "activity", vec![set("title", text(title))])]);
    }
    ours.sync(&mut server);
    theirs.sync(&mut server);
    ours.sync(&mut server);
    let told = history(&ours, "title");
    assert_eq!(told, history(&theirs, "title"), "both are told the same");
    let expected = [("walk", Standing::Replaced), ("run", Standing::Beaten), ("swim", Standing::Shown)];
    assert_eq!(values(&told), expected.map(|(title, standing)| (Some(text(title)), standing)));
    let authors: Vec<_> = told.iter().map(|entry| entry.principal.clone()).collect();
    assert_eq!(authors, ["user-1", "user-1", "user-2"].map(|name| PrincipalId::new(name).ok()));
    let mut positions: Vec<_> = told.iter().map(|entry| entry.position.expect("known")).collect();
    assert!(told.iter().all(|entry| entry.at.is_some() && entry.skew_ms.is_some()));
    positions.dedup();
    assert_eq!(positions.len(), 3);

    ours.write(4, vec![edit(record(1), "activity", vec![set("title", text("both"))])]);
    let told = history(&ours, "title");
    assert_eq!(values(&told)[3], (Some(text("both")), Standing::Shown));
    assert!(told[..3].iter().all(|entry| entry.standing == Standing::Replaced));
    assert!(matches!(told[3].origin, Origin::Waiting { is_sending: false, .. }));
    ours.store.lease_batch(256, None).expect("leases");
    assert!(matches!(history(&ours, "title")[3].origin, Origin::Waiting { is_sending: true, .. }));
}

#[test]
fn a_field_s_history_holds_deletions_and_no_other_field() {
    let (mut server, mut phone, _) = two_phones();
    phone.write(1, vec![activity(record(1), "walk")]);
    phone.write(2, vec![edit(record(1), "activity", vec![set("minutes", Value::Integer(30))])]);
    phone.write(3, vec![edit(record(1), "activity", vec![Intent::Delete])]);
    phone.sync(&mut server);
    let told = history(&phone, "minutes");
    assert_eq!(told.len(), 2);
    assert_eq!((&told[1].write, told[1].standing), (&Write::Deleted(true), Standing::Shown));
    assert_eq!(phone.store.history(record(1), None).expect("reads").len(), 3);
    let unknown = phone.store.history(record(1), Some("weather"));
    assert!(matches!(unknown, Err(StoreError::Edit(EditRefusal::UnknownField { .. }))));
    assert!(matches!(phone.store.history(record(9), None), Err(StoreError::UnknownRecord(_))));
}

#[test]
fn a_history_names_records_by_the_ids_they_have_now() {
    let (mut server, mut phone, _) = two_phones();
    phone.write(1, vec![person(record(2), "Kari")]);
    phone.write(
        2,
        vec![create(record(1), "activity", vec![set("title", text("x")), refer("person", record(2))])],
    );
    phone.sync(&mut server);
    let server_id = phone.store.server_id(record(2)).expect("reads").expect("assigned");
    let told = history(&phone, "person");
    let named = Some(Value::Reference(Reference::Server(server_id)));
    assert!(!told.is_empty() && values(&told).iter().all(|(value, _)| *value == named), "{told:?}");
    assert_eq!(told.last().expect("one").standing, Standing::Shown);
}

#[test]
fn a_subject_is_a_record_with_all_that_refers_to_it_through_others_and_in_the_outbox_and_nobody_else() {
    let (mut server, mut phone, _) = two_phones();
    phone.write(1, vec![person(record(1), "subject"), person(record(2), "other")]);
    phone.sync(&mut server);
    let friend = |n: u64, of: u64| {
        create(record(n), "person", vec![set("name", text("p")), refer("friend", record(of))])
    };
    phone.write(2, vec![friend(3, 1), friend(4, 3), friend(5, 2)]);
    let visit = create(record(6), "activity", vec![set("title", text("x")), refer("person", record(4))]);
    phone.write(3, vec![visit]);
    phone.sync(&mut server);
    // The subject itself refers to the other one, who is no part of it for that.
    phone.write(4, vec![edit(record(1), "person", vec![refer("friend", record(2))])]);
    let subject = phone.store.subject(record(1)).expect("reads");
    assert_eq!(subject, [1, 3, 4, 6].map(record).into());
    let everybody: Vec<_> = (1..=6).map(record).collect();
    let mut read = vec![];
    while let Some(next) =
        phone.store.records_after(read.last().copied(), 4).ok().filter(|next| !next.is_empty())
    {
        read.extend(next.into_iter().map(|found| found.record));
    }
    assert_eq!(read, everybody);
    assert_eq!(phone.store.records_without_row().expect("counts"), 0);
}

#[test]
fn edits_stored_together_are_stored_all_or_none_and_a_rehearsal_stores_nothing() {
    let (_, phone, _) = two_phones();
    let good = |n: u64| change_set(n, vec![person(record(n), "p")]);
    let bad = change_set(9, vec![create(record(9), "person", vec![])]);
    phone.store.rehearse_all(vec![good(1), good(2)]).expect("would be stored");
    assert_eq!(phone.store.unsynced().expect("counts"), 0);
    for refused in [
        phone.store.rehearse_all(vec![good(1), bad.clone()]),
        phone.store.local_write_all(vec![good(1), bad]).map(drop),
    ] {
        assert!(matches!(refused, Err(StoreError::Edit(EditRefusal::Required { .. }))));
        assert_eq!(phone.store.get(record(1)).expect("reads"), None);
    }
    assert_eq!(phone.store.local_write_all(vec![good(1), good(2)]).expect("stored").records().count(), 2);
    assert_eq!(phone.store.unsynced().expect("counts"), 2, "each waits for a verdict of its own");
    phone.assert_sound();
}
