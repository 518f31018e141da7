//! Delivery: pending work arrives without a new edit, once, in its order, however often the line breaks.

use haversack::{
    ChangeSetId, Changes, Error, Phase, RecordId, RecordState, Reference, SignOut, TransportError,
    UnixMillis, Value,
};
use haversack_core::{ChangeSet, Intent, Part};
use haversack_tests::{Device, Step, World, eventually, noise, plain_http, text};

async fn walk(device: &Device) -> RecordId {
    device.create("activity", Changes::new().set("title", "walk")).await
}

async fn call(device: &Device, record: RecordId) {
    device.edit("activity", record, Changes::new().increment("calls", 1)).await;
}

async fn is_drained(device: &Device) -> bool {
    device.outbox().await.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offline_edit_is_shown_at_once_survives_reopening_and_is_delivered_without_a_new_one() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let record = walk(&device).await;
    assert_eq!(device.record(record).await.state, RecordState::LocalOnly);
    let device = device.reopen().await;
    assert_eq!(device.row(record).await.fields["title"], text("walk"));
    assert_eq!(device.store.status().await.expect("counted").pending, 1);
    device.connect(world.address()).await;
    eventually("the edit is delivered", || is_drained(&device)).await;
    assert_eq!(device.record(record).await.state, RecordState::Synced);
    assert_eq!(world.agrees_with(&[&device]).await.accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_creations_three_references_deep_get_server_ids_and_both_names_resolve() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let store = &device.store;
    let north = store.collection("team").create(Changes::new().set("name", "North")).await.expect("stored");
    let about_kari = Changes::new().set("name", "Kari").set("team", north);
    let kari = store.collection("person").create(about_kari).await.expect("stored");
    let about_walk = Changes::new().set("title", "walk").set("person", kari);
    let first = store.collection("activity").create(about_walk).await.expect("stored");
    let about_run = Changes::new().set("title", "run").set("person", kari).set("previous", first);
    let second = store.collection("activity").create(about_run).await.expect("stored");
    device.connect(world.address()).await;
    let report = device.sync().await;
    assert_eq!((report.settled, report.unsettled), (4, 0));
    assert!(report.round_trips >= 1);
    for record in [north, kari, first, second] {
        let server_id = device.record(record).await.server_id.expect("assigned");
        for name in [Reference::Record(record), Reference::Server(server_id)] {
            assert_eq!(store.resolve_id(name).await.expect("resolved"), Some(record));
        }
    }
    let first_id = device.record(first).await.server_id.expect("assigned");
    assert!(first_id.as_str().starts_with("ACT"));
    assert_eq!(device.row(second).await.fields["previous"], Value::Reference(Reference::Server(first_id)));
    let reader = world.mentor("kari").await;
    reader.connect(world.address()).await;
    reader.sync().await;
    world.agrees_with(&[&device, &reader]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_doubles_nothing_and_changes_no_id() {
    let world = World::start().await;
    let gate = world.gate().await;
    let device = world.mentor("ola").await;
    let record = walk(&device).await;
    call(&device, record).await;
    gate.otherwise(Step::LoseReply);
    device.connect(gate.address()).await;
    let lost = device.try_sync().await.expect_err("no reply came");
    assert!(matches!(lost, Error::Transport(TransportError::Unreachable)), "{lost}");
    assert!(gate.pushes() >= 1);
    assert_eq!(world.prove().accepted, 2, "the server has it all the same");
    let reader = world.mentor("kari").await;
    reader.connect(world.address()).await;
    reader.sync().await;
    let assigned = reader.record(record).await.server_id;
    gate.otherwise(Step::Forward);
    device.sync_after_trouble().await;
    assert_eq!(device.row(record).await.fields["calls"], Value::Counter(1));
    assert_eq!(device.record(record).await.server_id, assigned);
    assert_eq!(world.agrees_with(&[&device, &reader]).await.accepted, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_urgent_creation_is_in_the_first_batch_although_five_thousand_edits_wait() {
    let world = World::start().await;
    let gate = world.gate().await;
    let device = world.mentor("ola").await;
    let record = walk(&device).await;
    let many = device.store.with_store(move |store| {
        for n in 0..5_000_u32 {
            let intents = vec![Intent::Increment { field: "calls".into(), by: 1 }];
            let part = Part { record, collection: "activity".into(), creates: false, intents };
            let id = ChangeSetId::from_bytes((u128::from(n) + 1).to_be_bytes());
            let at = UnixMillis(1);
            store.local_write(ChangeSet { id, at, schema_version: 1, after: vec![], parts: vec![part] })?;
        }
        Ok(())
    });
    many.await.expect("stored");
    let alarm = device.create("alarm", Changes::new().set("what", "a fall")).await;
    assert_eq!(device.store.status().await.expect("counted").pending, 5_002);
    gate.otherwise(Step::Answer(plain_http("503 Service Unavailable", "", b"")));
    device.connect(gate.address()).await;
    eventually("a batch is sent", || async { gate.pushes() > 0 }).await;
    let first = gate.sync_requests().into_iter().find(|request| !request.push.is_empty()).expect("seen");
    assert_eq!(first.push[0].parts[0].record, alarm);
    assert!(first.push.len() > 1, "the rest of the batch is filled with edits");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_is_delivered_after_the_server_was_away_without_a_new_edit() {
    let mut world = World::start().await;
    let gate = world.gate().await;
    let device = world.mentor("ola").await;
    device.connect(gate.address()).await;
    device.sync().await;
    world.stop().await;
    let record = walk(&device).await;
    assert!(device.try_sync().await.expect_err("nobody answers").is_retryable());
    assert_eq!(device.record(record).await.row.fields["title"], text("walk"));
    world.resume().await;
    eventually("the edit is delivered", || is_drained(&device)).await;
    world.agrees_with(&[&device]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_while_the_device_is_told_to_be_offline() {
    let world = World::start().await;
    let gate = world.gate().await;
    let device = world.mentor("ola").await;
    device.connect(gate.address()).await;
    device.sync().await;
    device.store.set_online(false).expect("open");
    eventually("it knows", || async {
        device.store.status().await.expect("counted").phase == Phase::Offline
    })
    .await;
    let before = gate.seen().len();
    for _ in 0..20 {
        walk(&device).await;
    }
    let asked = device.store.sync_once(std::time::Duration::from_millis(200)).await;
    assert!(matches!(asked, Err(Error::Transport(TransportError::Unreachable))), "told at once: {asked:?}");
    assert_eq!(gate.seen().len(), before);
    assert_eq!(device.store.status().await.expect("counted").pending, 20);
    device.store.set_online(true).expect("open");
    eventually("the edits are delivered", || is_drained(&device)).await;
    world.agrees_with(&[&device]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_in_the_middle_of_a_sync_loses_nothing_and_doubles_nothing() {
    let world = World::start().await;
    let gate = world.gate().await;
    let mut device = world.mentor("ola").await;
    let record = walk(&device).await;
    for round in 1..=3 {
        for _ in 0..40 {
            call(&device, record).await;
        }
        let before = gate.pushes();
        device.connect(gate.address()).await;
        eventually("a batch is under way", || async { gate.pushes() > before }).await;
        device = device.reopen().await;
        assert_eq!(device.row(record).await.fields["calls"], Value::Counter(round * 40));
    }
    device.connect(gate.address()).await;
    device.sync().await;
    assert_eq!(device.row(record).await.fields["calls"], Value::Counter(120));
    assert_eq!(world.agrees_with(&[&device]).await.accepted, 121);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_is_refused_with_the_count_while_work_has_not_arrived() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    walk(&device).await;
    walk(&device).await;
    let refused = device.store.sign_out(SignOut::Refuse).await;
    assert!(matches!(refused, Err(Error::Unsynced { count: 2 })), "{refused:?}");
    device.connect(world.address()).await;
    device.sync().await;
    device.store.sign_out(SignOut::Refuse).await.expect("all has arrived");
    let asked = device.try_sync().await;
    assert!(matches!(asked, Err(Error::NotConnected)), "{asked:?}");
    let record = walk(&device).await;
    device.store.sign_out(SignOut::Keep).await.expect("kept");
    assert_eq!(device.row(record).await.fields["title"], text("walk"));
    assert_eq!(device.store.status().await.expect("counted").pending, 1);
    let lost = device.store.sign_out(SignOut::Discard).await.expect("discarded");
    assert_eq!(lost.len(), 1, "what was lost is told");
    assert!(matches!(device.store.status().await, Err(Error::Closed)));
    let anew = device.open_again().await.expect("the folder is free");
    assert_eq!(anew.status().await.expect("counted").records, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_does_not_compress_is_split_so_that_every_part_of_it_fits_a_request() {
    let world = World::start().await;
    let gate = world.gate().await;
    let device = world.mentor("ola").await;
    for number in 0..90 {
        device.create("activity", Changes::new().set("title", "walk").set("raw", noise(number))).await;
    }
    device.connect(gate.address()).await;
    let report = device.sync().await;
    assert_eq!((report.settled, report.unsettled), (90, 0));
    assert_eq!(gate.pushes(), 2, "1.4 MiB in two requests, none tried in vain");
    assert!(device.outbox().await.is_empty());
    world.agrees_with(&[&device]).await;
}
