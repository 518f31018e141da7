//! Stories of live connections: what others do is seen without asking, and nothing depends on it.

use std::sync::Arc;
use std::time::Duration;

use haversack::{Changes, RecordId};
use haversack_server::LiveSettings;
use haversack_tests::{Device, Flood, Tokens, World, eventually};

async fn sees(device: &Device, record: RecordId) {
    eventually("the record is seen", async || device.store.get(record).await.expect("read").is_some()).await;
}

async fn is_held(world: &World, connections: usize) {
    eventually("the connections are held", async || world.live_connections() == connections).await;
}

/// A record that somebody else created and the server accepted.
async fn somebody_creates(somebody: &Device) -> RecordId {
    let record = somebody.create("activity", Changes::new().set("title", "walk").set("note", "north")).await;
    somebody.sync().await;
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_by_one_device_is_seen_by_another_without_its_asking() {
    let world = World::start().await;
    let (kari, ola) = (world.listener("kari").await, world.mentor("ola").await);
    for device in [&kari, &ola] {
        device.connect(world.address()).await;
    }
    is_held(&world, 1).await;
    for _ in 0..3 {
        sees(&kari, somebody_creates(&ola).await).await;
    }
    kari.store.clone().close().await.expect("closed");
    is_held(&world, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_goes_takes_the_live_connection_along_and_brings_it_back() {
    let world = World::start().await;
    let (kari, ola) = (world.listener("kari").await, world.mentor("ola").await);
    for device in [&kari, &ola] {
        device.connect(world.address()).await;
    }
    is_held(&world, 1).await;
    kari.store.set_online(false).expect("open");
    is_held(&world, 0).await;
    let missed = somebody_creates(&ola).await;
    kari.store.set_online(true).expect("open");
    is_held(&world, 1).await;
    sees(&kari, missed).await;
    sees(&kari, somebody_creates(&ola).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_token_is_renewed_and_the_live_connection_comes_back_with_the_new_one() {
    let lively = LiveSettings { heartbeat: Duration::from_millis(50), ..LiveSettings::default() };
    let world = World::start_with(lively).await;
    let (kari, ola) = (world.listener("kari").await, world.mentor("ola").await);
    let new = world.token("kari", haversack::Role::Mentor);
    let tokens = Tokens::new("kari", &[kari.token(), &new]).expect("a name");
    kari.connect_with(world.address(), tokens.clone()).await;
    ola.connect(world.address()).await;
    is_held(&world, 1).await;
    assert_eq!(tokens.asked(), [false]);
    world.withdraw(kari.token());
    eventually("a new token is asked for", async || tokens.asked() == [false, true]).await;
    is_held(&world, 1).await;
    sees(&kari, somebody_creates(&ola).await).await;
    assert_eq!(tokens.asked(), [false, true], "one renewal served both");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_live_connections_is_asked_once_and_serves_as_before() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (kari, ola) = (world.listener("kari").await, world.mentor("ola").await);
    kari.connect(gate.address()).await;
    ola.connect(world.address()).await;
    eventually("it is asked", async || gate.live_requests() == 1).await;
    for _ in 0..10 {
        let record = somebody_creates(&ola).await;
        kari.sync().await;
        assert!(kari.store.get(record).await.expect("read").is_some());
    }
    kari.store.set_online(false).expect("open");
    kari.store.set_online(true).expect("open");
    kari.sync().await;
    assert_eq!(gate.live_requests(), 1, "neither time nor the network brings it to ask again at once");
    assert!(gate.sync_requests().len() <= 14, "nor does a missing connection cause exchanges");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pokes_becomes_two_exchanges() {
    let world = World::start().await;
    let gate = world.gate().await;
    gate.intercept(Arc::new(Flood::of(500)));
    let kari = world.listener("kari").await;
    kari.connect(gate.address()).await;
    eventually("the pokes are answered", async || gate.sync_requests().len() == 3).await;
    kari.sync().await;
    assert_eq!(
        gate.sync_requests().len(),
        4,
        "at connecting, at the first poke, for all others, and this one"
    );
    assert_eq!(gate.live_requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_declines_the_live_connection_has_none() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (kari, ola) = (world.mentor("kari").await, world.mentor("ola").await);
    kari.connect(gate.address()).await;
    ola.connect(world.address()).await;
    let record = somebody_creates(&ola).await;
    kari.sync().await;
    assert!(kari.store.get(record).await.expect("read").is_some());
    assert_eq!(gate.live_requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_in_the_header_of_the_upgrade_and_never_in_its_path() {
    let world = World::start().await;
    let gate = world.gate().await;
    let kari = world.listener("kari").await;
    kari.connect(gate.address()).await;
    eventually("it is asked", async || gate.live_requests() == 1).await;
    let seen = gate.seen().into_iter().find(|seen| seen.path.ends_with("/live")).expect("seen");
    assert_eq!(seen.path, "/v1/t/north/live");
    assert_eq!(seen.authorization, Some(format!("Bearer {}", kari.token())));
}
