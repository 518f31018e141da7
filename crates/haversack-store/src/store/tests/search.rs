//! Searching for words: what is found is what rows show, whatever wrote them.

use std::sync::Arc;

use haversack_core::{EditRefusal, Intent, Mark};
use haversack_protocol::limits::SEARCH_BYTES_MAX;
use haversack_protocol::{PrincipalId, RecordId, Role, Schema, UnixMillis};

use super::server::Server;
use super::world::{Phone, SCHEMA, create, edit, id, record, set, text};
use crate::{Direction, HostKey, Query, Store, StoreError, StoreKey};

fn visit(phone: &Phone, n: u64, place: &str, remark: &str) {
    let intents = vec![set("title", text("walk")), set("place", text(place)), set("remark", text(remark))];
    phone.write(n, vec![create(record(n), "activity", intents)]);
}

fn found_in(store: &Store, words: &str) -> Vec<RecordId> {
    let found = store.list(&Query::of("activity").search(words)).expect("searches");
    found.into_iter().map(|found| found.record).collect()
}

fn found(phone: &Phone, words: &str) -> Vec<RecordId> {
    let found = found_in(&phone.store, words);
    assert_eq!(phone.store.count(&Query::of("activity").search(words)).expect("counts"), found.len() as u64);
    found
}

fn three_visits() -> (Server, Phone) {
    let mut server = Server::new();
    let phone = Phone::new(&mut server, 1, Role::Coordinator);
    visit(&phone, 1, "Vålerenga", "Gikk tur i parken");
    visit(&phone, 2, "Grønland", "Kaffe, så tur langs elva. Tur igjen.");
    visit(&phone, 3, "Tøyen", "Parkering ble dyr");
    (server, phone)
}

#[test]
fn words_are_found_in_every_searched_field_all_of_them_and_the_last_as_a_beginning() {
    let (_server, phone) = three_visits();
    assert_eq!(found(&phone, "tur parken"), [record(1)]);
    assert_eq!(found(&phone, "valerenga"), [record(1)], "letters are found without their marks");
    assert_eq!(found(&phone, "GRØNLAND kaffe"), [record(2)], "over fields, in any case");
    assert_eq!(found(&phone, "park").len(), 2, "a beginning");
    assert_eq!(found(&phone, "park tur"), [], "all but the last are whole words");
    assert_eq!(found(&phone, "tur"), [record(2), record(1)], "the best fit first");
    assert_eq!(found(&phone, "walk"), [], "the title is not searched");
    for nothing in ["", "  ", "\"", "*", "-", "ski", "NOT tur"] {
        assert_eq!(found(&phone, nothing), [], "{nothing:?}");
    }
}

#[test]
fn a_search_is_filtered_and_sorted_like_any_listing_and_leaves_deleted_records_out() {
    let (_server, phone) = three_visits();
    for (n, minutes) in [(1, 30), (2, 60)] {
        let minutes = haversack_core::Value::Integer(minutes);
        phone.write(n + 10, vec![edit(record(n), "activity", vec![set("minutes", minutes)])]);
    }
    let sorted = Query::of("activity").search("tur").sorted("minutes", Direction::Ascending);
    let ids = |query: &Query| -> Vec<_> {
        phone.store.list(query).expect("lists").into_iter().map(|found| found.record).collect()
    };
    assert_eq!(ids(&sorted), [record(1), record(2)]);
    let long = sorted.clone().at_least("minutes", haversack_core::Value::Integer(45));
    assert_eq!(ids(&long), [record(2)]);
    assert_eq!(ids(&sorted.clone().page(1, 1)), [record(2)]);
    phone.write(20, vec![edit(record(2), "activity", vec![Intent::Delete])]);
    assert_eq!(ids(&sorted), [record(1)]);
    let plan = phone.store.explain(&sorted).expect("explains").join("; ");
    assert!(plan.contains("words:activity"), "{plan}");
}

#[test]
fn what_is_found_follows_edits_verdicts_overrides_and_pages() {
    let (mut server, mut phone) = three_visits();
    phone.sync(&mut server);
    phone.write(11, vec![edit(record(3), "activity", vec![set("remark", text("Sykkel"))])]);
    assert_eq!((found(&phone, "sykkel"), found(&phone, "parkering")), (vec![record(3)], vec![]));
    server.refused.insert(id(11));
    phone.push(&mut server);
    phone.pull(&server, usize::MAX);
    assert_eq!((found(&phone, "sykkel"), found(&phone, "parkering")), (vec![], vec![record(3)]));
    let mark = Mark {
        value: Some(text("Trikk")),
        by: PrincipalId::new("user-1").expect("plain"),
        role: Role::Coordinator,
        at: UnixMillis(1),
        reason: "as the timesheet says".into(),
    };
    phone.write(
        12,
        vec![edit(record(3), "activity", vec![Intent::Override { field: "remark".into(), mark }])],
    );
    assert_eq!((found(&phone, "trikk"), found(&phone, "parkering")), (vec![record(3)], vec![]));
    phone.sync(&mut server);
    let mut other = Phone::new(&mut server, 2, Role::Mentor);
    other.sync(&mut server);
    assert_eq!((found(&other, "trikk"), found(&other, "tur").len()), (vec![record(3)], 2));
    phone.assert_sound();
}

#[test]
fn a_schema_that_searches_other_fields_makes_the_index_of_words_anew() {
    let (_server, phone) = three_visits();
    let Phone { store, folder, .. } = phone;
    store.close().expect("closes");
    let open = |schema: &str| {
        let schema = Arc::new(Schema::from_json(schema).expect("sound"));
        Store::open(folder.path(), schema, &HostKey::new(StoreKey::from_bytes([1; 32]))).expect("opens")
    };
    let other =
        SCHEMA.replace(r#""place": {"kind": "text", "searched": true}"#, r#""place": {"kind": "text"}"#);
    let store = open(&other);
    assert_eq!((found_in(&store, "tøyen"), found_in(&store, "parkering")), (vec![], vec![record(3)]));
    store.close().expect("closes");
    let none = other.replace(r#", "searched": true"#, "");
    let store = open(&none);
    let refused = store.list(&Query::of("activity").search("tur"));
    assert!(matches!(refused, Err(StoreError::NotSearched { .. })));
    store.close().expect("closes");
    assert_eq!(found_in(&open(SCHEMA), "tøyen"), [record(3)]);
}

#[test]
fn a_search_that_asks_too_much_is_refused() {
    let (_server, phone) = three_visits();
    let long = "a".repeat(SEARCH_BYTES_MAX + 1);
    let refused = phone.store.list(&Query::of("activity").search(&long));
    assert!(matches!(refused, Err(StoreError::SearchTooLong)));
    let nowhere = phone.store.list(&Query::of("nowhere").search("tur"));
    assert!(matches!(nowhere, Err(StoreError::Edit(EditRefusal::UnknownCollection(_)))));
}
