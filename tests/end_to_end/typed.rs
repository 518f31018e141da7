//! Records as types of the app: what is read, and that an edit writes only what it changed.

use std::collections::BTreeSet;

use haversack::{Changes, Error, Query, RecordId, StoreError, TypeRefusal, Value};
use haversack_tests::World;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Activity {
    title: String,
    minutes: Option<i64>,
    person: Option<RecordId>,
    #[serde(default)]
    calls: i64,
    tags: BTreeSet<String>,
}

fn walk() -> Activity {
    Activity {
        title: "walk".into(),
        minutes: Some(30),
        person: None,
        calls: 0,
        tags: ["tur".to_owned()].into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_phones_edit_one_typed_record_and_each_writes_only_what_it_changed() {
    let world = World::start().await;
    let (ola, kari) = (world.mentor("ola").await, world.mentor("kari").await);
    let activities = ola.store.collection("activity");
    let record = activities.create_from(&walk()).await.expect("stored");
    assert_eq!(activities.get_as::<Activity>(record).await.expect("fits").expect("here").value, walk());
    for device in [&ola, &kari] {
        device.connect(world.address()).await;
        device.sync().await;
    }
    ola.store.set_online(false).expect("open");
    kari.store.set_online(false).expect("open");
    let is_changed = activities
        .edit_as(record, |activity: &mut Activity| {
            activity.minutes = Some(45);
            activity.calls += 2;
        })
        .await;
    assert!(is_changed.expect("stored"));
    let hers = kari.store.collection("activity");
    let edited = hers.edit_as(record, |activity: &mut Activity| {
        activity.title = "long walk".into();
        activity.calls += 3;
        activity.tags = ["skog".to_owned()].into();
    });
    assert!(edited.await.expect("stored"));
    for device in [&ola, &kari, &ola] {
        device.store.set_online(true).expect("open");
        device.sync().await;
    }
    world.agrees_with(&[&ola, &kari]).await;
    let merged = Activity {
        title: "long walk".into(),
        minutes: Some(45),
        calls: 5,
        tags: ["skog".to_owned()].into(),
        ..walk()
    };
    let listed = hers.list_as::<Activity>(Query::of("activity")).await.expect("fits");
    assert_eq!(listed.into_iter().map(|typed| typed.value).collect::<Vec<_>>(), [merged]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_changes_nothing_is_no_edit_and_one_that_does_not_fit_stores_nothing() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let activities = device.store.collection("activity");
    let record = activities.create_from(&walk()).await.expect("stored");
    assert!(!activities.edit_as(record, |_: &mut Activity| {}).await.expect("nothing to store"));
    assert_eq!(device.outbox().await.len(), 1);

    #[derive(Serialize, Deserialize)]
    struct Wrong {
        title: i64,
    }
    let refused = activities.get_as::<Wrong>(record).await.err().expect("a text is no number");
    assert!(matches!(refused, Error::Type(TypeRefusal::Form(field)) if field == "title"));
    let refused = activities.create_from(&Wrong { title: 1 }).await.expect_err("a number is no text");
    assert!(matches!(refused, Error::Type(TypeRefusal::Value { .. })), "{refused:?}");
    let nobody = RecordId::from_bytes([9; 16]);
    let refused = activities.edit_as(nobody, |_: &mut Activity| {}).await.expect_err("nobody there");
    assert!(matches!(refused, Error::Store(StoreError::UnknownRecord(_))), "{refused:?}");
    assert_eq!(device.outbox().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_reads_an_overridden_field_as_overridden() {
    let world = World::start().await;
    let coordinator = world.coordinator("eva").await;
    let record =
        coordinator.create("activity", Changes::new().set("title", "walk").set("minutes", 30_i64)).await;
    coordinator.connect(world.address()).await;
    coordinator.sync().await;
    let store = &coordinator.store;
    store.override_field(record, "minutes", Some(Value::Integer(60)), "timesheet").await.expect("her right");
    let found = store.collection("activity").get_as::<Activity>(record).await.expect("fits").expect("here");
    assert_eq!(found.value.minutes, Some(60));
    assert_eq!(found.stored.row.fields["minutes"], Value::Integer(30), "what lies beneath is there, too");
}
