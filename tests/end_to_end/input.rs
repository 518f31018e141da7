//! Names and ids an app may not say: refused on the spot and typed. (Values have a table of their own, with the command.)

use haversack::{Changes, EditRefusal, Error, ErrorKind, RecordId, ServerId, StoreError};
use haversack_tests::{Device, World};

async fn creates(device: &Device, changes: Changes) -> RecordId {
    let titled = changes.set("title", "walk");
    device.create("activity", titled).await
}

/// The refusal of an activity with these fields; nothing of it is stored.
async fn refusal(device: &Device, collection: &str, changes: Changes) -> EditRefusal {
    let before = device.store.status().await.expect("counted");
    let refused = device.store.collection(collection).create(changes).await.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(!refused.is_retryable() && !refused.is_data_at_risk());
    assert_eq!(device.store.status().await.expect("counted"), before, "nothing was stored");
    match refused {
        Error::Store(StoreError::Edit(refusal)) => refusal,
        other => panic!("refused as an edit: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_the_schema_does_not_have_are_refused_by_name() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let refused = refusal(&device, "nowhere", Changes::new().set("title", "walk")).await;
    assert_eq!(refused, EditRefusal::UnknownCollection("nowhere".into()));
    for odd in ["", "Title", "title ", "f:title", "title\0", "å"] {
        let refused = refusal(&device, "activity", Changes::new().set("title", "walk").set(odd, "x")).await;
        assert!(matches!(refused, EditRefusal::UnknownField { .. }), "{odd:?}: {refused}");
    }
    let refused = refusal(&device, "activity", Changes::new()).await;
    assert!(matches!(refused, EditRefusal::Required { .. }), "{refused}");
    let twice = Changes::new().set("title", "walk").set("title", "run");
    let refused = refusal(&device, "activity", twice).await;
    assert!(matches!(refused, EditRefusal::WrittenTwice { .. }), "{refused}");
    let record = creates(&device, Changes::new()).await;
    let nothing =
        device.store.collection("activity").edit(record, Changes::new()).await.expect_err("no edit");
    assert_eq!(nothing.edit_refusal(), Some(&EditRefusal::Parts));
    let as_person = device.store.collection("person").edit(record, Changes::new().set("name", "Kari")).await;
    assert!(as_person.expect_err("it is an activity").edit_refusal().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_nothing_are_refused_or_simply_not_there() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let nobody = RecordId::from_bytes([0xee; 16]);
    let edited = device.store.collection("activity").edit(nobody, Changes::new().set("note", "x")).await;
    let refused = edited.expect_err("there is none");
    assert_eq!(refused.edit_refusal(), Some(&EditRefusal::UnknownRecord(nobody)));
    let refused =
        refusal(&device, "activity", Changes::new().set("title", "walk").set("person", nobody)).await;
    assert!(matches!(refused, EditRefusal::UnknownReference { .. }), "{refused}");
    assert_eq!(device.store.get(nobody).await.expect("read"), None);
    let unknown = ServerId::new("P-000404").expect("plain");
    assert_eq!(device.store.get(unknown).await.expect("read"), None);
    assert!(device.store.conflicts(nobody).await.is_err());
    assert!(!device.store.acknowledge_notice(-1).await.expect("answered"));
    for bad in ["", "0", "0190-", "not an id", "\u{202e}"] {
        assert!(bad.parse::<RecordId>().is_err(), "{bad:?}");
    }
    for bad in ["", "a b", "a\0", "\u{e9}", "a/b"] {
        assert!(ServerId::new(bad).is_err(), "{bad:?}");
    }
}
