//! What is left as it is, and what is kept for so many days: restricted records and records let go, over the real server.

use std::time::Duration;

use haversack::{Changes, Code, EntryState, Schema};
use haversack_server::restrict;
use haversack_tests::{Device, World, schema, text};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn named(name: &str) -> Changes {
    Changes::new().set("name", name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_record_is_edited_by_nobody_until_that_is_lifted() {
    let world = World::start().await;
    let [ola, kari] = [world.mentor("ola").await, world.coordinator("kari").await];
    let person = ola.create("person", named("Ola")).await;
    for device in [&ola, &kari] {
        device.connect(world.address()).await;
        device.sync().await;
    }
    restrict(world.database(), &person.into(), true).expect("restricted");
    ola.edit("person", person, named("Ole")).await;
    ola.sync().await;
    kari.sync().await;
    let [entry] = &ola.outbox().await[..] else { panic!("its input is kept") };
    assert!(matches!(&entry.state, EntryState::Rejected(why) if why.code == Code::Restricted));
    for device in [&ola, &kari] {
        assert!(device.store.is_restricted(person).await.expect("read"));
        let refused = device.store.collection("person").edit(person, named("Oline")).await;
        assert!(refused.expect_err("refused").to_string().contains("is restricted"));
        assert_eq!(device.row(person).await.fields["name"], text("Ola"));
    }
    restrict(world.database(), &person.into(), false).expect("lifted");
    kari.sync().await;
    kari.edit("person", person, named("Karin")).await;
    kari.sync().await;
    ola.sync().await;
    assert_eq!(ola.row(person).await.fields["name"], text("Karin"));
    world.agrees_with(&[&ola, &kari]).await;
}

fn kept_for_30_days() -> Schema {
    let mut schema = schema();
    schema.collections.get_mut("person").expect("present").keep_days = Some(30);
    schema
}

async fn is_here(device: &Device, record: haversack::RecordId) -> bool {
    device.store.get(record).await.expect("read").is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_lets_old_records_go_keeps_what_waits_and_has_them_back_with_the_next_edit() {
    let schema = kept_for_30_days();
    let world = World::start_under(schema.clone(), r#"{"version": 1, "rules": []}"#).await;
    let ola = world.mentor_under("ola", &schema).await;
    // A device without keep_days has everything.
    let kari = world.coordinator("kari").await;
    ola.clock().set_back(DAY * 40);
    let [old, waits] = [ola.create("person", named("old")).await, ola.create("person", named("waits")).await];
    let walk = ola.create("activity", Changes::new().set("title", "walk").set("person", old)).await;
    ola.clock().advance(DAY * 40);
    let new = ola.create("person", named("new")).await;
    ola.connect(world.address()).await;
    kari.connect(world.address()).await;
    ola.sync().await;
    kari.sync().await;
    // The first look comes with the exchange that read them.
    assert!(!is_here(&ola, old).await && !is_here(&ola, waits).await);
    assert!(is_here(&ola, new).await && is_here(&ola, walk).await);
    assert_eq!(ola.store.with_store(|store| store.records_let_go()).await.expect("counted"), 2);
    assert_eq!(world.prove().records, 4, "the server keeps them");

    kari.edit("person", old, named("edited")).await;
    kari.sync().await;
    ola.sync().await;
    assert_eq!(ola.row(old).await.fields["name"], text("edited"));
    assert!(!is_here(&ola, waits).await);
    ola.edit("person", old, named("edited by ola")).await;
    ola.sync().await;
    kari.sync().await;
    assert_eq!(kari.row(old).await.fields["name"], text("edited by ola"));
    assert!(ola.outbox().await.is_empty() && ola.store.notices().await.expect("listed").is_empty());
}
