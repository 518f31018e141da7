//! What a commit says it touched: all that may read differently afterwards, and no more.

use haversack_core::{ChangeSet, Intent, Mark, Reference, Value};
use haversack_protocol::{PrincipalId, Role, UnixMillis};

use super::server::Server;
use super::world::{Phone, activity, change_set, create, edit, id, person, record, refer, set, text};

fn phone(role: Role) -> (Server, Phone) {
    let mut server = Server::new();
    let phone = Phone::new(&mut server, 1, role);
    (server, phone)
}

#[test]
fn an_edit_touches_its_records_in_their_collections_and_nothing_else() {
    let (_, phone) = phone(Role::Mentor);
    let touched = phone.store.local_write(change_set(1, vec![person(record(1), "Kari")])).expect("an edit");
    assert_eq!(touched.records().collect::<Vec<_>>(), [record(1)]);
    assert!(touched.has_collection("person") && touched.has_record("person", record(1)));
    assert!(!touched.has_record("person", record(2)));
    assert!(!touched.has_collection("activity") && !touched.has_record("activity", record(1)));
}

#[test]
fn a_lease_and_a_verdict_touch_what_they_concern_also_where_nothing_is_left_of_it() {
    let (mut server, mut phone) = phone(Role::Mentor);
    phone.write(1, vec![person(record(1), "Kari")]);
    phone.write(2, vec![activity(record(2), "walk")]);
    server.refused.insert(id(2));
    let leased = phone.store.lease_batch(256, None).expect("leases");
    assert!(
        leased.changed.has_record("person", record(1)) && leased.changed.has_record("activity", record(2))
    );
    server.push(phone.device, &leased.push);
    let applied = phone.pull(&server, usize::MAX);
    assert_eq!(phone.store.get(record(2)).expect("reads"), None);
    assert!(applied.changed.has_record("activity", record(2)), "it was there");
    assert!(applied.changed.has_record("person", record(1)));
}

#[test]
fn discarding_touches_what_was_parked_for_its_sake_too() {
    let (mut server, mut phone) = phone(Role::Mentor);
    phone.write(1, vec![person(record(1), "Kari")]);
    phone.write(
        2,
        vec![create(record(2), "activity", vec![set("title", text("walk")), refer("person", record(1))])],
    );
    phone.write(3, vec![person(record(3), "Ola")]);
    let declared = change_set(4, vec![edit(record(3), "person", vec![set("name", text("Per"))])]);
    phone.store.local_write(ChangeSet { after: vec![id(2)], ..declared }).expect("an edit");
    let leased = phone.store.lease_batch(0, Some(id(1))).expect("leases");
    server.withdraw(phone.device, &leased.withdraw);
    phone.pull(&server, usize::MAX);
    let together = phone.store.set_aside_with(id(1)).expect("parked");
    assert_eq!(together.iter().map(|entry| entry.change_set.id).collect::<Vec<_>>(), [id(1), id(2), id(4)]);
    let alone = phone.store.set_aside_with(id(2)).expect("parked");
    assert_eq!(alone.len(), 1, "nothing is parked for its sake");
    let touched = phone.store.discard(id(1)).expect("parked");
    for (collection, n) in [("person", 1), ("activity", 2), ("person", 3)] {
        assert!(touched.has_record(collection, record(n)), "{n}");
    }
}

#[test]
fn an_assigned_id_touches_what_may_name_it_inside_a_mark() {
    let (mut server, mut phone) = phone(Role::Coordinator);
    phone.write(1, vec![activity(record(1), "walk")]);
    let mark = Mark {
        value: Some(Value::Reference(Reference::Record(record(9)))),
        by: PrincipalId::new("user-1").expect("plain"),
        role: Role::Coordinator,
        at: UnixMillis(0),
        reason: "checked".into(),
    };
    phone
        .write(2, vec![edit(record(1), "activity", vec![Intent::Override { field: "person".into(), mark }])]);
    phone.sync(&mut server);
    phone.write(3, vec![person(record(9), "Kari")]);
    phone.push(&mut server);
    let before = phone.value(record(1), "person");
    let applied = phone.pull(&server, usize::MAX);
    assert_ne!(phone.value(record(1), "person"), before, "it reads as the server's id now");
    assert!(applied.changed.has_record("activity", record(1)) && applied.changed.has_collection("person"));
    assert!(applied.changed.has_collection("alarm"), "it may name a person, too");
    phone.write(4, vec![activity(record(10), "run")]);
    phone.push(&mut server);
    let applied = phone.pull(&server, usize::MAX);
    assert!(!applied.changed.has_collection("person") && !applied.changed.has_record("activity", record(1)));
}
