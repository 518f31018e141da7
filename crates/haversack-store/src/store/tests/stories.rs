//! An edit on its way: shown, sent, acknowledged, referred to, read back.

use haversack_core::{EditRefusal, Intent, Reference, Value};
use haversack_protocol::{DeviceReply, PrincipalId, Role};

use super::server::Server;
use super::world::{Phone, activity, change_set, create, edit, id, open, person, record, refer, set, text};
use crate::{PageOutcome, RecordState, Store, StoreError};

fn phones(roles: &[Role]) -> (Server, Vec<Phone>) {
    let mut server = Server::new();
    let phones = (1..).zip(roles).map(|(n, role)| Phone::new(&mut server, n, *role)).collect();
    (server, phones)
}

fn phone() -> (Server, Phone) {
    let (server, mut phones) = phones(&[Role::Mentor]);
    (server, phones.remove(0))
}

#[test]
fn a_store_is_shared_between_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Store>();
}

#[test]
fn an_edit_is_shown_at_once_and_after_reopening() {
    let (_, phone) = phone();
    phone.write(1, vec![activity(record(1), "walk")]);
    phone.write(2, vec![edit(record(1), "activity", vec![set("minutes", Value::Integer(30))])]);
    assert_eq!(phone.value(record(1), "minutes"), Some(Value::Integer(30)));
    assert_eq!(phone.value(record(1), "calls"), Some(Value::Counter(0)));
    let installation = phone.store.identity().expect("reads").installation;
    let Phone { store, folder, .. } = phone;
    drop(store);
    let store = open(folder.path());
    let found = store.get(record(1)).expect("reads").expect("a record");
    assert_eq!(found.row.effective("minutes"), Some(&Value::Integer(30)));
    assert_eq!(found.state, RecordState::LocalOnly);
    assert_eq!(store.unsynced().expect("counts"), 2);
    assert_eq!(store.identity().expect("reads").installation, installation);
}

#[test]
fn a_refused_edit_leaves_nothing_behind() {
    let (_, phone) = phone();
    let good = activity(record(1), "walk");
    let bad = [
        edit(record(2), "activity", vec![set("title", text("x"))]),
        create(record(2), "activity", vec![set("title", text("x")), refer("person", record(9))]),
        create(record(2), "activity", vec![set("title", text("x")), refer("person", record(1))]),
        create(record(2), "activity", vec![]),
    ];
    for part in bad {
        let refused = phone.store.local_write(change_set(1, vec![good.clone(), part]));
        assert!(matches!(refused, Err(StoreError::Edit(_))), "{refused:?}");
        assert_eq!(phone.store.get(record(1)).expect("reads"), None);
    }
    assert_eq!(phone.store.unsynced().expect("counts"), 0);
    phone.write(1, vec![good.clone()]);
    assert!(matches!(
        phone.store.local_write(change_set(2, vec![good])),
        Err(StoreError::Edit(EditRefusal::UnknownRecord(_)))
    ));
}

#[test]
fn a_change_set_that_no_change_could_hold_is_refused_on_the_spot() {
    let (_, phone) = phone();
    phone.write(1, vec![activity(record(1), "walk")]);
    let adds = (0..200).map(|n| Intent::Add { field: "tags".into(), element: format!("tag {n}") });
    let refused = phone.store.local_write(change_set(2, vec![edit(record(1), "activity", adds.collect())]));
    assert!(matches!(refused, Err(StoreError::Edit(EditRefusal::TooLarge(_)))));
}

#[test]
fn a_full_outbox_refuses_new_edits_and_keeps_the_old() {
    let (_, phone) = phone();
    for n in 1..=3 {
        phone.store.write_bounded(change_set(n, vec![person(record(n), "p")]), 3).expect("room");
    }
    let refused = phone.store.write_bounded(change_set(4, vec![person(record(4), "p")]), 3);
    assert!(matches!(refused, Err(StoreError::OutboxFull)));
    assert_eq!(phone.store.counts().expect("counts").pending, 3);
}

#[test]
fn own_edits_chain_and_the_server_admits_them_all() {
    let (mut server, mut phone) = phone();
    phone.write(1, vec![activity(record(1), "walk")]);
    phone.write(2, vec![edit(record(1), "activity", vec![set("title", text("run"))])]);
    let leased = phone.store.lease_batch(256, None).expect("leases");
    assert_eq!((leased.push.len(), leased.push_ordinal, leased.has_more), (2, 1, false));
    assert_eq!(phone.store.get(record(1)).expect("reads").expect("a record").state, RecordState::Sending);
    let again = phone.store.lease_batch(256, None).expect("leases");
    assert_eq!(again.push, leased.push, "a retry sends the same bytes");
    assert_eq!(again.push_ordinal, 2);
    server.push(phone.device, &leased.push);
    let applied = phone.pull(&server, usize::MAX);
    assert_eq!((applied.accepted, applied.rejected), (2, 0));
    let found = phone.store.get(record(1)).expect("reads").expect("a record");
    assert_eq!((found.state, found.row.conflicts.len()), (RecordState::Synced, 0));
    assert_eq!(phone.digest(), server.digest());
    phone.write(3, vec![edit(record(1), "activity", vec![set("title", text("swim"))])]);
    phone.sync(&mut server);
    assert_eq!(phone.digest(), server.digest());
    phone.assert_sound();
}

#[test]
fn an_edit_made_before_the_last_one_was_accepted_still_stands_on_it() {
    let (mut server, mut phone) = phone();
    phone.write(1, vec![activity(record(1), "walk")]);
    phone.sync(&mut server);
    for (n, title) in [(2, "run"), (3, "swim")] {
        phone.write(n, vec![edit(record(1), "activity", vec![set("title", text(title))])]);
    }
    let leased = phone.store.lease_batch(1, None).expect("leases");
    server.push(phone.device, &leased.push);
    assert_eq!(phone.pull(&server, usize::MAX).accepted, 1);
    phone.sync(&mut server);
    assert_eq!(phone.value(record(1), "title"), Some(text("swim")));
    assert_eq!(phone.store.conflicts(record(1)).expect("reads"), [], "own edits never conflict");
}

#[test]
fn a_long_chain_of_edits_drains_in_one_batch() {
    let (mut server, mut phone) = phone();
    phone.write(1, vec![activity(record(1), "walk")]);
    for n in 2..=256 {
        phone.write(
            n,
            vec![edit(record(1), "activity", vec![Intent::Increment { field: "calls".into(), by: 1 }])],
        );
    }
    phone.push(&mut server);
    assert_eq!(phone.pull(&server, usize::MAX).accepted, 256);
    assert_eq!(phone.value(record(1), "calls"), Some(Value::Counter(255)));
    assert_eq!(phone.digest(), server.digest());
}

#[test]
fn an_assigned_id_reaches_rows_and_waiting_edits() {
    let (mut server, mut phone) = phone();
    phone.write(1, vec![person(record(1), "Kari")]);
    let leased = phone.store.lease_batch(256, None).expect("leases");
    phone.write(
        2,
        vec![create(record(2), "activity", vec![set("title", text("walk")), refer("person", record(1))])],
    );
    assert_eq!(phone.value(record(2), "person"), Some(Value::Reference(Reference::Record(record(1)))));
    server.push(phone.device, &leased.push);
    let applied = phone.pull(&server, usize::MAX);
    assert!(applied.changed.has_record("activity", record(2)));
    let server_id = phone.store.server_id(record(1)).expect("reads").expect("assigned");
    let resolved = Some(Value::Reference(Reference::Server(server_id.clone())));
    assert_eq!(phone.value(record(2), "person"), resolved);
    let entry = &phone.store.outbox().expect("reads")[0];
    assert_eq!(entry.change_set.references().next().expect("one").2, &Reference::Server(server_id.clone()));
    assert_eq!(phone.store.temporary_ids().expect("reads"), 0);
    for name in [Reference::Record(record(1)), Reference::Server(server_id)] {
        assert_eq!(phone.store.resolve(&name).expect("reads"), Some(record(1)));
    }
    phone.write(3, vec![edit(record(2), "activity", vec![refer("person", record(1))])]);
    assert_eq!(phone.value(record(2), "person"), resolved, "a late temporary id is rewritten at once");
    phone.sync(&mut server);
    assert_eq!(phone.digest(), server.digest());
    phone.assert_sound();
}

#[test]
fn parent_and_child_sent_together_end_without_temporary_ids() {
    let (mut server, mut phones) = phones(&[Role::Mentor, Role::Mentor]);
    let child = create(record(2), "activity", vec![set("title", text("walk")), refer("person", record(1))]);
    phones[0].write(1, vec![child, person(record(1), "Kari")]);
    phones[0].sync(&mut server);
    phones[1].sync(&mut server);
    for phone in &phones {
        assert_eq!(phone.store.temporary_ids().expect("reads"), 0);
        assert_eq!(phone.digest(), server.digest());
        assert_eq!(phone.store.digest_from_documents().expect("reads").finish(), server.digest());
        phone.assert_sound();
    }
}

#[test]
fn a_remote_edit_that_arrives_while_one_waits_becomes_a_conflict_on_both_phones() {
    let (mut server, mut phones) = phones(&[Role::Mentor, Role::Mentor]);
    phones[0].write(1, vec![activity(record(1), "walk")]);
    phones[0].sync(&mut server);
    phones[1].sync(&mut server);
    phones[0].write(2, vec![edit(record(1), "activity", vec![set("title", text("mine"))])]);
    phones[1].write(3, vec![edit(record(1), "activity", vec![set("title", text("theirs"))])]);
    phones[1].sync(&mut server);
    phones[0].pull(&server, usize::MAX);
    assert_eq!(phones[0].value(record(1), "title"), Some(text("mine")), "own input is shown until settled");
    phones[0].sync(&mut server);
    phones[1].sync(&mut server);
    for phone in &phones {
        phone.assert_sound();
        assert_eq!(phone.digest(), server.digest());
        let conflicts = phone.store.conflicts(record(1)).expect("reads");
        let [conflict] = &conflicts[..] else { panic!("one field: {conflicts:?}") };
        assert_eq!((conflict.field.as_str(), conflict.candidates.len()), ("title", 2));
        let shown: Vec<_> = conflict.candidates.iter().filter(|one| one.is_shown).collect();
        assert_eq!((shown.len(), &shown[0].value), (1, &conflict.shown));
        let mut users: Vec<_> =
            conflict.candidates.iter().map(|one| one.principal.clone().expect("known").to_string()).collect();
        users.sort_unstable();
        assert_eq!(users, ["user-1", "user-2"]);
        assert!(conflict.candidates.iter().all(|one| one.at.is_some() && !one.reason.is_empty()));
        assert_eq!(phone.store.counts().expect("counts").conflicts, 1);
    }
}

#[test]
fn a_repeated_page_changes_nothing() {
    let (mut server, mut phone) = phone();
    phone.write(1, vec![person(record(1), "Kari")]);
    phone.write(2, vec![activity(record(2), "walk")]);
    server.refused.insert(id(2));
    phone.push(&mut server);
    let page = phone.next_page(&server, usize::MAX);
    phone.pull(&server, usize::MAX);
    phone.write(3, vec![edit(record(1), "person", vec![set("name", text("Ola"))])]);
    phone.push(&mut server);
    let state = |phone: &Phone| {
        (phone.digest(), phone.store.outbox().expect("reads"), phone.store.notices().expect("reads"))
    };
    let before = state(&phone);
    let applied = phone.store.apply_page(&page).expect("an honest page");
    assert_eq!((applied.changed.is_empty(), applied.accepted, applied.rejected), (true, 0, 0));
    assert_eq!(state(&phone), before);
    phone.sync(&mut server);
    assert_eq!(phone.digest(), server.digest());
}

#[test]
fn an_own_change_whose_bytes_are_gone_asks_for_the_full_echo() {
    let (mut server, mut phones) = phones(&[Role::Mentor, Role::Mentor]);
    for n in [2, 1] {
        phones[n - 1].write(n as u64, vec![person(record(n as u64), "Kari")]);
        phones[n - 1].sync(&mut server);
    }
    let phone = &phones[0];
    let lost = Phone::new(&mut Server::new(), 1, Role::Mentor);
    let page = server.page(phone.device, 0, usize::MAX, false);
    let applied = lost.store.apply_page(&page).expect("no failure");
    assert_eq!(applied.outcome, PageOutcome::NeedsFullEcho);
    assert_eq!(lost.store.cursor().expect("reads"), None, "nothing of the page was stored");
    assert_eq!(lost.store.server_id(record(2)).expect("reads"), None);
    assert_eq!(lost.store.get(record(2)).expect("reads"), None);
    lost.store.apply_page(&server.page(phone.device, 0, usize::MAX, true)).expect("an honest page");
    assert_eq!(lost.digest(), server.digest());
}

#[test]
fn a_store_serves_one_principal_at_one_server() {
    let (_, phone) = phone();
    let reply = |principal: &str| DeviceReply {
        device: phone.device,
        principal: PrincipalId::new(principal).expect("plain"),
        role: Role::Coordinator,
        push_ordinal: 7,
    };
    let other = phone.store.bind("https://server", &reply("somebody"));
    assert!(matches!(other, Err(StoreError::OtherPrincipal)));
    let other = phone.store.bind("https://elsewhere", &reply("user-1"));
    assert!(matches!(other, Err(StoreError::OtherPrincipal)));
    assert_eq!(phone.store.identity().expect("reads").role, Role::Mentor);
    phone.store.bind("https://server", &reply("user-1")).expect("the same");
    assert_eq!(phone.store.identity().expect("reads").role, Role::Coordinator);
    phone.write(1, vec![person(record(1), "Kari")]);
    assert_eq!(phone.store.lease_batch(1, None).expect("leases").push_ordinal, 8);
}

#[test]
fn a_new_device_id_authors_anew_what_the_old_one_had_not_settled() {
    let (mut server, mut phone) = phone();
    phone.write(1, vec![person(record(1), "Kari")]);
    let old = phone.store.lease_batch(256, None).expect("leases");
    let device = haversack_protocol::DeviceId::from_bytes([9; 8]);
    let principal = PrincipalId::new("user-1").expect("plain");
    server.register(device, &principal, Role::Mentor);
    let reply = DeviceReply { device, principal, role: Role::Mentor, push_ordinal: 0 };
    phone.store.bind("https://server", &reply).expect("the same principal");
    phone.device = device;
    let new = phone.store.lease_batch(256, None).expect("leases");
    assert_ne!(old.push[0].parts, new.push[0].parts);
    phone.sync(&mut server);
    assert_eq!(phone.digest(), server.digest());
}

#[test]
fn failures_and_hints_are_noted_without_losing_the_entry() {
    let (_, phone) = phone();
    phone.write(1, vec![person(record(1), "Kari")]);
    phone.store.note_failure(&[id(1)], "timeout", Some(haversack_protocol::UnixMillis(9))).expect("notes");
    let entry = &phone.store.outbox().expect("reads")[0];
    assert_eq!((entry.attempts, entry.last_error.as_deref()), (1, Some("timeout")));
    assert_eq!(entry.next_try, Some(haversack_protocol::UnixMillis(9)));
    let hint = haversack_protocol::Hint {
        change_set: id(1),
        code: haversack_protocol::Code::Blocked,
        by: None,
        need: vec![],
        record: None,
    };
    let hints = haversack_protocol::HintBody { settled: vec![], hints: vec![hint] };
    phone.store.note_hints(&hints).expect("notes");
    let entry = &phone.store.outbox().expect("reads")[0];
    assert_eq!((entry.attempts, entry.last_error.as_deref()), (1, Some("E_BLOCKED")));
}
