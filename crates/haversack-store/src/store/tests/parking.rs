//! Parking: what is taken back after repeated failure leaves the rows with what needs it, and waits for its user.

use haversack_core::outbox::EntryState;
use haversack_core::{ChangeSet, EditRefusal};
use haversack_protocol::limits::HOLDS_MAX;
use haversack_protocol::{Code, Hint, HintBody, Rejection, Role};

use super::server::Server;
use super::world::{Phone, change_set, create, edit, id, person, record, refer, set, text};
use crate::{NoticeKind, RecordState, StoreError};

fn phone(server: &mut Server) -> Phone {
    Phone::new(server, 1, Role::Mentor)
}

fn state_of(phone: &Phone, n: u64) -> EntryState {
    let mut all = phone.store.outbox().expect("reads").into_iter();
    all.find(|entry| entry.change_set.id == id(n)).expect("is in the outbox").state
}

/// A person, an activity that refers to it, an edit declared after that, and a person beside them.
fn write_a_family(phone: &Phone) {
    phone.write(1, vec![person(record(1), "Kari")]);
    phone.write(
        2,
        vec![create(record(2), "activity", vec![set("title", text("walk")), refer("person", record(1))])],
    );
    phone.write(3, vec![person(record(3), "Ola")]);
    let declared = change_set(4, vec![edit(record(3), "person", vec![set("name", text("Per"))])]);
    phone.store.local_write(ChangeSet { after: vec![id(2)], ..declared }).expect("an edit");
}

fn take_back(phone: &mut Phone, server: &mut Server, n: u64) {
    let leased = phone.store.lease_batch(0, Some(id(n))).expect("leases");
    assert_eq!((&leased.withdraw[..], leased.push.len()), (&[id(n)][..], 0), "it goes alone");
    server.withdraw(phone.device, &leased.withdraw);
    phone.pull(server, usize::MAX);
}

#[test]
fn what_was_taken_back_is_parked_with_what_needs_it_and_the_rest_goes_on() {
    let mut server = Server::new();
    let mut phone = phone(&mut server);
    write_a_family(&phone);
    phone.store.lease_batch(256, None).expect("leases");
    phone.store.note_failure(&[id(1)], "timeout", None).expect("notes");
    take_back(&mut phone, &mut server, 1);
    let EntryState::Parked(root) = state_of(&phone, 1) else { panic!("parked") };
    assert_eq!((root.code, root.root_cause), (Code::Withdrawn, None));
    for dependant in [2, 4] {
        let EntryState::Parked(reason) = state_of(&phone, dependant) else { panic!("parked with it") };
        assert_eq!((reason.code, reason.root_cause), (Code::DependencyRejected, Some(id(1))));
    }
    assert_eq!(phone.store.get(record(1)).expect("reads"), None, "it left the rows");
    assert_eq!(phone.value(record(3), "name"), Some(text("Ola")));
    assert_eq!(phone.store.get(record(3)).expect("reads").expect("shown").state, RecordState::Parked);
    let counts = phone.store.counts().expect("counts");
    assert_eq!((counts.parked, counts.rejected), (3, 0));
    let notices = phone.store.notices().expect("reads");
    let [told] = &notices[..] else { panic!("one, grouped by its cause: {notices:?}") };
    assert_eq!((told.kind, told.entries, told.cause.as_deref()), (NoticeKind::Parked, 3, Some("timeout")));
    phone.sync(&mut server);
    assert_eq!(phone.store.unsynced().expect("counts"), 3, "parked work counts as unsynced");
    assert_eq!(phone.digest(), server.digest());
    phone.assert_sound();
}

#[test]
fn parked_work_sent_again_under_new_ids_arrives_as_if_it_had_never_been_parked() {
    let mut server = Server::new();
    let mut phone = phone(&mut server);
    write_a_family(&phone);
    take_back(&mut phone, &mut server, 1);
    phone.sync(&mut server);
    let all = phone.store.outbox().expect("reads");
    let again = all.into_iter().map(|entry| entry.change_set).zip(11..).map(|(old, n)| {
        let after = old.after.iter().map(|_| id(12)).collect();
        (old.id, ChangeSet { id: id(n), after, ..old })
    });
    let again: Vec<_> = again.collect();
    assert_eq!(again.iter().map(|(old, _)| *old).collect::<Vec<_>>(), [id(1), id(2), id(4)]);
    phone.store.resubmit(again).expect("they fit what is here");
    phone.sync(&mut server);
    assert_eq!(phone.store.unsynced().expect("counts"), 0);
    assert_eq!(phone.value(record(3), "name"), Some(text("Per")));
    assert_eq!(phone.digest(), server.digest());
    phone.assert_sound();
}

#[test]
fn discarding_what_was_parked_refuses_what_was_parked_for_its_sake() {
    let mut server = Server::new();
    let mut phone = phone(&mut server);
    write_a_family(&phone);
    take_back(&mut phone, &mut server, 1);
    phone.store.discard(id(1)).expect("parked");
    for dependant in [2, 4] {
        let EntryState::Rejected(reason) = state_of(&phone, dependant) else { panic!("refused with it") };
        assert_eq!((reason.code, reason.root_cause), (Code::DependencyRejected, Some(id(1))));
    }
    phone.assert_sound();
}

#[test]
fn nothing_new_may_stand_on_what_is_parked() {
    let mut server = Server::new();
    let mut phone = phone(&mut server);
    write_a_family(&phone);
    take_back(&mut phone, &mut server, 1);
    let on_it = change_set(7, vec![edit(record(1), "person", vec![set("name", text("Eva"))])]);
    assert!(matches!(phone.store.local_write(on_it), Err(StoreError::Edit(EditRefusal::UnknownRecord(_)))));
    let after_it = ChangeSet { after: vec![id(2)], ..change_set(8, vec![person(record(8), "Eva")]) };
    assert!(matches!(phone.store.local_write(after_it), Err(StoreError::Edit(EditRefusal::AfterRefused(_)))));
}

#[test]
fn a_withdrawal_that_comes_too_late_finds_the_change_set_accepted() {
    let mut server = Server::new();
    let mut phone = phone(&mut server);
    phone.write(1, vec![person(record(1), "Kari")]);
    phone.push(&mut server);
    take_back(&mut phone, &mut server, 1);
    assert_eq!(phone.store.unsynced().expect("counts"), 0);
    assert_eq!(phone.value(record(1), "name"), Some(text("Kari")));
    phone.assert_sound();
}

#[test]
fn a_verdict_on_what_is_parked_already_changes_nothing() {
    let mut server = Server::new();
    let mut phone = phone(&mut server);
    write_a_family(&phone);
    let sent = phone.store.lease_batch(256, None).expect("leases");
    take_back(&mut phone, &mut server, 1);
    // What was under way when its root was taken back arrives late and is refused for the root's sake.
    server.push(phone.device, &sent.push[3..]);
    phone.pull(&server, usize::MAX);
    assert!(
        matches!(state_of(&phone, 4), EntryState::Parked(Rejection { root_cause: Some(root), .. }) if root == id(1))
    );
    phone.assert_sound();
}

#[test]
fn what_the_server_holds_again_and_again_is_taken_back_by_itself() {
    let mut server = Server::new();
    let mut phone = phone(&mut server);
    phone.write(1, vec![person(record(1), "Kari")]);
    phone.write(2, vec![person(record(2), "Ola")]);
    let hint = |n, code| Hint { change_set: id(n), code, by: None, need: vec![], record: None };
    for _ in 0..HOLDS_MAX {
        let leased = phone.store.lease_batch(256, None).expect("leases");
        assert_eq!((leased.push.len(), leased.withdraw.len()), (2, 0));
        let hints = vec![hint(1, Code::DependencyMissing), hint(2, Code::Blocked)];
        phone.store.note_hints(&HintBody { settled: vec![], hints }).expect("notes");
    }
    let leased = phone.store.lease_batch(256, None).expect("leases");
    assert_eq!((&leased.withdraw[..], leased.push.len(), leased.has_more), (&[id(1)][..], 0, true));
    server.withdraw(phone.device, &leased.withdraw);
    phone.pull(&server, usize::MAX);
    assert!(matches!(state_of(&phone, 1), EntryState::Parked(_)));
    let notices = phone.store.notices().expect("reads");
    assert_eq!(notices[0].cause.as_deref(), Some("E_HELD"));
    phone.sync(&mut server);
    assert_eq!(phone.store.counts().expect("counts").parked, 1);
    assert_eq!(phone.digest(), server.digest());
}
