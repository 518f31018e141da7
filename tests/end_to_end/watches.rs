//! Watches: how often they ask the store, and what they tell.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use haversack::{Changes, Query, RecordState, Reference, Value};
use haversack_tests::{World, text};

fn titled(title: &str) -> Changes {
    Changes::new().set("title", title)
}

/// Lets a waiting call look at what was told meanwhile; it must go on waiting.
fn goes_on_waiting<F: Future>(call: std::pin::Pin<&mut F>) {
    assert!(matches!(call.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_run_for_commits_in_its_collection_alone_and_once_for_each() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let activities = device.store.collection("activity");
    let mut watch = activities.watch(Query::of("activity").page(1_000, 0));
    watch.next().await.expect("listed");
    let told = {
        let mut waiting = pin!(watch.next());
        for _ in 0..5 {
            device.create("team", Changes::new().set("name", "North")).await;
            goes_on_waiting(waiting.as_mut());
        }
        let hundred = (0..100).map(|n| (haversack::RecordId::from_bytes([n; 16]), titled("walk")));
        activities.create_all(hundred.collect()).await.expect("stored");
        waiting.await.expect("listed").expect("open")
    };
    assert_eq!((told.len(), watch.reads()), (100, 2), "once at the start, once for the hundred");
    goes_on_waiting(pin!(watch.next()));
    assert_eq!(watch.reads(), 2, "nothing else was committed");
    device.edit("activity", told[0].record, Changes::new().set("note", "x")).await;
    assert_eq!(watch.next().await.expect("listed").expect("open")[0].row.fields["note"], text("x"));
    assert_eq!(watch.reads(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_by_reference_is_asked_when_the_record_it_names_gets_its_id_and_tells_only_what_differs() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let kari = device.create("person", Changes::new().set("name", "Kari")).await;
    let walk = device.create("activity", titled("walk").set("person", kari)).await;
    let by_kari = Query::of("activity").equal("person", Value::Reference(Reference::Record(kari)));
    let mut watch = device.store.collection("activity").watch(by_kari);
    assert_eq!(watch.next().await.expect("listed").expect("open").len(), 1);
    device.edit("person", kari, Changes::new().set("name", "Kari Nordmann")).await;
    goes_on_waiting(pin!(watch.next()));
    assert_eq!(watch.reads(), 1, "how she is called is not what it shows");
    device.connect(world.address()).await;
    device.sync().await;
    let told = watch.next().await.expect("listed").expect("open");
    let server_id = device.record(kari).await.server_id.expect("assigned");
    assert_eq!(told[0].row.fields["person"], Value::Reference(Reference::Server(server_id)));
    let other = device.create("activity", titled("run")).await;
    assert_ne!(other, walk);
    goes_on_waiting(pin!(watch.next()));
    assert_eq!(watch.reads(), 3, "it was asked, and what it shows is the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_a_record_is_asked_when_that_record_was_touched_and_tells_of_its_whole_life() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let activities = device.store.collection("activity");
    let record = haversack::RecordId::from_bytes([7; 16]);
    let mut watch = activities.watch_record(record);
    assert_eq!(watch.next().await.expect("read"), Some(None), "it is not here yet");
    let other = device.create("activity", titled("another")).await;
    goes_on_waiting(pin!(watch.next()));
    assert_eq!(watch.reads(), 1);
    activities.create_all(vec![(record, titled("walk"))]).await.expect("stored");
    let told = watch.next().await.expect("read").expect("open").expect("here");
    assert_eq!(told.state, RecordState::LocalOnly);
    device.edit("activity", other, titled("a third")).await;
    goes_on_waiting(pin!(watch.next()));
    assert_eq!(watch.reads(), 2);
    device.connect(world.address()).await;
    device.sync().await;
    let told = watch.next().await.expect("read").expect("open").expect("here");
    assert_eq!(told.state, RecordState::Synced);
    let elsewhere = device.store.collection("team").watch_record(record).next().await.expect("read");
    assert_eq!(elsewhere, Some(None), "it is no team");
    device.store.clone().close().await.expect("closed");
    assert_eq!(watch.next().await.expect("told"), None);
    assert_eq!(watch.next().await.expect("told"), None, "however often one asks");
}
