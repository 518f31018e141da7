//! Counters and sets that a newer schema adds to records which were created without them.

use haversack::{Changes, RecordId, Value};
use haversack_tests::{Device, World};
use serde_json::{Value as Json, json};

use super::town::{Town, changed, first, schema, title, titled, visit};

/// The schema with two counters and a set more.
fn counting() -> Json {
    let with_calls = changed(&first(), "/visit/fields/calls", json!({ "kind": "counter", "indexed": true }));
    let with_miles = changed(&with_calls, "/visit/fields/miles", json!({ "kind": "counter" }));
    changed(&with_miles, "/visit/fields/tags", json!({ "kind": "set" }))
}

async fn count(device: &Device, record: RecordId, field: &str) -> Option<Value> {
    device.row(record).await.fields.get(field).cloned()
}

async fn step(device: &Device, record: RecordId, field: &str, by: i64) {
    device.edit("visit", record, Changes::new().increment(field, by)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_two_devices_on_a_counter_the_record_was_created_without_all_count() {
    let mut town = Town::under(&first()).await;
    let (mut ola, mut kari) = (town.mentor("ola", &first()).await, town.mentor("kari", &first()).await);
    let old = town.mentor("old", &first()).await;
    let record = visit(&ola).await;
    kari.sync().await;
    old.sync().await;
    town.turn_to(&counting()).await;
    for device in [&mut ola, &mut kari] {
        town.update(device, &counting()).await;
        device.store.set_online(false).expect("open");
        assert_eq!(count(device, record, "calls").await, Some(Value::Counter(0)), "a new counter shows zero");
    }
    for by in [2, 3] {
        step(&ola, record, "calls", by).await;
        step(&kari, record, "calls", by * 10).await;
    }
    ola.edit("visit", record, Changes::new().increment("miles", 7).add("tags", "far")).await;
    kari.edit("visit", record, Changes::new().add("tags", "wet")).await;
    assert_eq!(count(&ola, record, "calls").await, Some(Value::Counter(5)), "shown at once");
    for device in [&ola, &kari, &ola, &kari] {
        device.store.set_online(true).expect("open");
        device.sync().await;
    }
    for device in [&ola, &kari] {
        assert!(device.outbox().await.is_empty(), "{:?}", device.outbox().await);
        assert_eq!(count(device, record, "calls").await, Some(Value::Counter(55)));
        assert_eq!(count(device, record, "miles").await, Some(Value::Counter(7)));
        let both = Value::Set(["far".to_owned(), "wet".to_owned()].into());
        assert_eq!(count(device, record, "tags").await, Some(both));
    }
    town.world.agrees_with(&[&ola, &kari]).await;
    // A device of the old schema keeps what it cannot show, edits beside it, and shows it once it is updated.
    let mut old = old;
    old.sync().await;
    old.edit("visit", record, titled("run")).await;
    old.sync().await;
    town.update(&mut old, &counting()).await;
    for device in [&ola, &old] {
        device.sync().await;
    }
    assert_eq!(count(&old, record, "calls").await, Some(Value::Counter(55)));
    assert_eq!(title(&ola, record).await, title(&old, record).await);
    town.world.agrees_with(&[&ola, &old]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_on_a_record_that_waits_since_the_schema_before_counts_whatever_the_server_has() {
    for server_first in [true, false] {
        let mut town = Town::under(&first()).await;
        let mut ola = town.mentor("ola", &first()).await;
        ola.sync().await;
        ola.store.set_online(false).expect("open");
        let pending = ola.create("visit", titled("walk")).await;
        if server_first {
            town.turn_to(&counting()).await;
        }
        town.update(&mut ola, &counting()).await;
        ola.store.set_online(false).expect("open");
        assert_eq!(count(&ola, pending, "calls").await, Some(Value::Counter(0)));
        if !server_first {
            // What was made under the schema of the server must not wait for its update.
            ola.store.set_online(true).expect("open");
            ola.sync().await;
            assert!(ola.record(pending).await.server_id.is_some(), "{:?}", ola.outbox().await);
            ola.store.set_online(false).expect("open");
        }
        step(&ola, pending, "calls", 4).await;
        step(&ola, pending, "calls", 1).await;
        town.turn_to(&counting()).await;
        ola.store.set_online(true).expect("open");
        ola.sync().await;
        assert!(ola.outbox().await.is_empty(), "{:?}", ola.outbox().await);
        assert_eq!(count(&ola, pending, "calls").await, Some(Value::Counter(5)));
        let reader = town.mentor("kari", &counting()).await;
        reader.sync().await;
        town.world.agrees_with(&[&ola, &reader]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_steps_survive_a_lost_reply_a_restart_and_a_refusal_before_them() {
    let mut town = Town::under(&first()).await;
    let mut ola = town.mentor("ola", &first()).await;
    let record = visit(&ola).await;
    let narrow = changed(&counting(), "/visit/fields/minutes", json!({ "kind": "integer", "max": 10 }));
    town.turn_to(&narrow).await;
    town.update(&mut ola, &counting()).await;
    ola.store.set_online(false).expect("open");
    ola.edit("visit", record, Changes::new().set("minutes", 99_i64).increment("calls", 100)).await;
    step(&ola, record, "calls", 1).await;
    step(&ola, record, "miles", 2).await;
    town.gate.script([haversack_tests::Step::LoseReply]);
    ola.store.set_online(true).expect("open");
    drop(ola.try_sync().await);
    let ola = ola.reopen().await;
    ola.connect(town.gate.address()).await;
    ola.sync_after_trouble().await;
    assert_eq!(ola.outbox().await.len(), 1, "the refused one is kept");
    assert_eq!(count(&ola, record, "calls").await, Some(Value::Counter(1)), "as if it had never been");
    assert_eq!(count(&ola, record, "miles").await, Some(Value::Counter(2)));
    assert_eq!(ola.store.check().await.expect("checked"), Vec::<String>::new());
    let proof = town.world.prove();
    assert_eq!(proof.from_rows, proof.from_documents);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_turns_to_another_schema_and_back_shows_what_its_documents_say() {
    let mut world = World::start_under(schema(&first()), r#"{ "version": 1, "rules": [] }"#).await;
    let ola = world.mentor_under("ola", &schema(&first())).await;
    ola.connect(world.address()).await;
    ola.create("visit", Changes::new().set("title", "walk").set("note", "wet").set("minutes", 3_i64)).await;
    ola.create("club", Changes::new().set("name", "chess")).await;
    ola.sync().await;
    let before = world.prove();
    for path in ["/visit/fields/note", "/visit/fields/minutes", "/club"] {
        let smaller = changed(&counting(), path, Json::Null);
        world.turn_to(schema(&smaller)).await;
        let proof = world.prove();
        assert_eq!(proof.from_rows, proof.from_documents, "{path}");
        assert_eq!(proof.records + proof.records_without_schema, 2, "{path}");
    }
    world.turn_to(schema(&first())).await;
    assert_eq!(world.prove(), before, "nothing was lost");
}
