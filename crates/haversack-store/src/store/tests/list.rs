//! Listing: indexed fields, effective values, order and bounds.

use haversack_core::{Intent, Mark, Reference, Value};
use haversack_protocol::{PrincipalId, RecordId, Role, UnixMillis};

use super::server::Server;
use super::world::{Phone, create, edit, person, record, refer, set, text};
use crate::{Comparison, Direction, Filter, Query, StoreError};

fn activities() -> Query {
    Query {
        collection: "activity".into(),
        filters: vec![],
        sort: None,
        limit: 100,
        offset: 0,
        with_deleted: false,
        search: None,
    }
}

fn filter(field: &str, op: Comparison, value: Value) -> Filter {
    Filter { field: field.into(), op, value }
}

fn ids(phone: &Phone, query: &Query) -> Vec<RecordId> {
    phone.store.list(query).expect("lists").iter().map(|found| found.record).collect()
}

fn filled() -> (Server, Phone) {
    let mut server = Server::new();
    let phone = Phone::new(&mut server, 1, Role::Coordinator);
    phone.write(100, vec![person(record(100), "Kari")]);
    for (n, title, minutes, price) in [(1, "b", 30, "9.5"), (2, "a", 10, "10.25"), (3, "c", 20, "-1")] {
        let mut intents = vec![
            set("title", text(title)),
            set("minutes", Value::Integer(minutes)),
            set("price", Value::Decimal(price.into())),
        ];
        if n == 1 {
            intents.push(refer("person", record(100)));
        }
        phone.write(n, vec![create(record(n), "activity", intents)]);
    }
    (server, phone)
}

fn cover(phone: &Phone, n: u64, minutes: Option<i64>) {
    let mark = Mark {
        value: minutes.map(Value::Integer),
        by: PrincipalId::new("user-1").expect("plain"),
        role: Role::Coordinator,
        at: UnixMillis(0),
        reason: "checked".into(),
    };
    let intents = vec![Intent::Override { field: "minutes".into(), mark }];
    phone.write(200 + n, vec![edit(record(n), "activity", intents)]);
}

#[test]
fn filters_sort_and_limit_see_the_values_that_are_shown() {
    let (_, phone) = filled();
    assert_eq!(ids(&phone, &activities()), [record(1), record(2), record(3)]);
    let by = |field: &str, direction| Query { sort: Some((field.into(), direction)), ..activities() };
    assert_eq!(ids(&phone, &by("title", Direction::Ascending)), [record(2), record(1), record(3)]);
    assert_eq!(ids(&phone, &by("price", Direction::Descending)), [record(2), record(1), record(3)]);
    let longer =
        Query { filters: vec![filter("minutes", Comparison::Gt, Value::Integer(15))], ..activities() };
    assert_eq!(ids(&phone, &longer), [record(1), record(3)]);
    cover(&phone, 2, Some(60));
    cover(&phone, 3, None);
    assert_eq!(
        ids(&phone, &longer),
        [record(1), record(2)],
        "the mark's value counts, an empty one fulfils nothing"
    );
    assert_eq!(phone.store.count(&longer).expect("counts"), 2);
    let longest = Query { limit: 1, ..by("minutes", Direction::Descending) };
    assert_eq!(ids(&phone, &longest), [record(2)]);
    let second = Query { offset: 1, ..longest };
    assert_eq!(ids(&phone, &second), [record(1)]);
    let both = Query {
        filters: vec![
            filter("minutes", Comparison::Le, Value::Integer(60)),
            filter("title", Comparison::Eq, text("b")),
        ],
        ..activities()
    };
    assert_eq!(ids(&phone, &both), [record(1)]);
}

#[test]
fn deleted_records_are_listed_only_when_asked_for() {
    let (_, phone) = filled();
    phone.write(300, vec![edit(record(2), "activity", vec![Intent::Delete])]);
    assert_eq!(ids(&phone, &activities()), [record(1), record(3)]);
    assert_eq!(ids(&phone, &Query { with_deleted: true, ..activities() }).len(), 3);
}

#[test]
fn a_reference_is_found_by_either_name() {
    let (mut server, mut phone) = filled();
    let by = |to: Reference| Query {
        filters: vec![filter("person", Comparison::Eq, Value::Reference(to))],
        ..activities()
    };
    let temporary = Reference::Record(record(100));
    assert_eq!(ids(&phone, &by(temporary.clone())), [record(1)]);
    phone.sync(&mut server);
    let server_id = phone.store.server_id(record(100)).expect("reads").expect("assigned");
    assert_eq!(ids(&phone, &by(temporary)), [record(1)]);
    assert_eq!(ids(&phone, &by(Reference::Server(server_id))), [record(1)]);
}

#[test]
fn only_indexed_fields_can_be_asked_for() {
    let (_, phone) = filled();
    let by_note = Query { filters: vec![filter("note", Comparison::Eq, text("x"))], ..activities() };
    assert!(matches!(phone.store.list(&by_note), Err(StoreError::NotIndexed { .. })));
    assert!(matches!(phone.store.count(&by_note), Err(StoreError::NotIndexed { .. })));
    let sorted = Query { sort: Some(("calls".into(), Direction::Ascending)), ..activities() };
    assert!(matches!(phone.store.list(&sorted), Err(StoreError::NotIndexed { .. })));
    let wrong = Query { filters: vec![filter("minutes", Comparison::Eq, text("1"))], ..activities() };
    assert!(matches!(phone.store.list(&wrong), Err(StoreError::Edit(_))));
    let nowhere = Query { collection: "nowhere".into(), ..activities() };
    assert!(matches!(phone.store.list(&nowhere), Err(StoreError::Edit(_))));
}
