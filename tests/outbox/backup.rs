//! Going back to a backup: nothing the server has is lost or doubled, and what was never sent lies in the store put aside.

use haversack::{Changes, EntryState, Query, Value, restore, salvage};
use haversack_tests::{Device, Gate, Step, World, text};

/// Titles of all activities on a device, sorted.
async fn titles(device: &Device) -> Vec<String> {
    let listed = device.store.list(Query::of("activity")).await.expect("listed");
    let title = |value: &Value| match value {
        Value::Text(title) => title.clone(),
        other => panic!("{other:?}"),
    };
    let mut titles: Vec<_> = listed.iter().map(|record| title(&record.row.fields["title"])).collect();
    titles.sort();
    titles
}

/// The counter of the activity with that title.
async fn calls(device: &Device, title: &str) -> Value {
    let listed = device.store.list(Query::of("activity")).await.expect("listed");
    let found = listed.iter().find(|record| record.row.fields["title"] == text(title));
    found.expect("it is here").row.fields["calls"].clone()
}

fn titled(title: &str) -> Changes {
    Changes::new().set("title", title)
}

/// A device whose backup holds a synced walk, a frozen edit whose bytes the server has, and two pending edits. All of that
/// was settled afterwards, and more was sent; one edit never was. Returns it with the backup's place.
async fn device_with_backup(world: &World, gate: &Gate) -> (Device, tempfile::TempDir) {
    let device = world.mentor("ola").await;
    let walk = device.create("activity", titled("walk")).await;
    device.connect(gate.address()).await;
    device.sync().await;
    gate.otherwise(Step::LoseReply);
    device.edit("activity", walk, Changes::new().increment("calls", 1)).await;
    drop(device.try_sync().await);
    device.store.set_online(false).expect("open");
    device.edit("activity", walk, Changes::new().increment("calls", 10)).await;
    device.create("activity", titled("pending")).await;
    let states: Vec<_> = device.outbox().await.into_iter().map(|entry| entry.state).collect();
    assert_eq!(states, [EntryState::Frozen, EntryState::Pending, EntryState::Pending]);
    let place = tempfile::tempdir().expect("a folder");
    device.store.back_up(place.path().join("backup")).await.expect("backed up");

    gate.otherwise(Step::Forward);
    device.store.set_online(true).expect("open");
    device.sync_after_trouble().await;
    device.create("activity", titled("after")).await;
    device.edit("activity", walk, Changes::new().increment("calls", 100)).await;
    device.sync().await;
    device.store.set_online(false).expect("open");
    device.create("activity", titled("never sent")).await;
    (device, place)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_goes_back_to_a_backup_doubles_nothing_and_loses_nothing_the_server_has() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, place) = device_with_backup(&world, &gate).await;
    let before = device.store.with_store(|store| store.identity()).await.expect("read");
    let accepted = world.prove().accepted;
    let (device, aside) = device.restore(&place.path().join("backup")).await;
    assert_eq!(titles(&device).await, ["pending", "walk"]);
    assert_eq!(device.outbox().await.len(), 3, "what was pending then is pending now");
    // An edit made before the device has heard of anything it missed.
    let listed = device.store.list(Query::of("activity")).await.expect("listed");
    let walk = listed.iter().find(|record| record.row.fields["title"] == text("walk")).expect("here").record;
    device.edit("activity", walk, Changes::new().increment("calls", 1000)).await;
    device.connect(gate.address()).await;
    device.sync().await;
    assert!(device.outbox().await.is_empty());
    assert_eq!(titles(&device).await, ["after", "pending", "walk"]);
    assert_eq!(calls(&device, "walk").await, Value::Counter(1111));
    let proof = world.agrees_with(&[&device]).await;
    assert_eq!((proof.accepted, proof.rejected), (accepted + 1, 0), "only the new edit was added to the log");
    let after = device.store.with_store(|store| store.identity()).await.expect("read");
    assert_eq!(after.principal, before.principal);
    assert!(after.device.is_some() && after.device != before.device, "it is another device");

    // What was never sent is in the store put aside, and finds its way home from there.
    let salvaged = place.path().join("salvaged");
    let report = salvage(&aside, &salvaged, &device.keys()).expect("salvaged");
    assert_eq!((report.entries.kept, report.entries.lost), (1, 0));
    let old = device.beside(&salvaged).await;
    old.connect(gate.address()).await;
    old.sync().await;
    device.sync().await;
    assert_eq!(titles(&device).await, ["after", "never sent", "pending", "walk"]);
    world.agrees_with(&[&device, &old]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_of_one_backup_and_the_store_it_was_made_of_are_three_devices_and_converge() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, place) = device_with_backup(&world, &gate).await;
    let mut stores = vec![];
    for name in ["one", "two"] {
        let folder = place.path().join(name);
        restore(&place.path().join("backup"), &folder, &device.keys()).expect("restored");
        let restored = device.beside(&folder).await;
        restored.create("activity", titled(name)).await;
        restored.connect(gate.address()).await;
        restored.sync().await;
        stores.push(restored);
    }
    device.store.set_online(true).expect("open");
    device.sync_after_trouble().await;
    stores.push(device);
    let mut devices = vec![];
    for store in &stores {
        store.sync().await;
        assert_eq!(titles(store).await, ["after", "never sent", "one", "pending", "two", "walk"]);
        assert_eq!(calls(store, "walk").await, Value::Counter(111));
        devices.push(store.store.with_store(|store| store.identity()).await.expect("read").device);
    }
    devices.sort();
    devices.dedup();
    assert_eq!(devices.len(), 3);
    world.agrees_with(&stores.iter().collect::<Vec<_>>()).await;
}
