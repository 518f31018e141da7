//! Stories of erasing over real stores and the real server: who holds what afterwards, and how the server learns of it.

mod canaries;
mod care;

use haversack::{Changes, NoticeKind, Query, RecordId, UnixMillis, Value};
use haversack_server::{compact, erase, erase_fields, erasures};
use haversack_tests::{Device, World, schema, text};

fn named(name: &str) -> Changes {
    Changes::new().set("name", name)
}

/// Who has yet to say that nothing is left there.
fn outstanding(world: &World) -> Vec<String> {
    let report = erasures(world.database()).expect("read");
    report.iter().flat_map(|one| &one.outstanding).map(|one| one.principal.to_string()).collect()
}

async fn is_erased(device: &Device, record: RecordId) -> bool {
    let is_erased = device.store.is_erased(record).await.expect("read");
    assert_eq!(device.store.get(record).await.expect("read").is_none(), is_erased);
    is_erased
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_record_leaves_every_device_with_its_next_exchange_and_the_server_has_their_word() {
    let world = World::start().await;
    let [ola, kari, per] =
        [world.mentor("ola").await, world.coordinator("kari").await, world.mentor("per").await];
    let person = ola.create("person", named("Ola")).await;
    let walk = Changes::new().set("title", "walk").set("person", person);
    let walk = ola.create("activity", walk).await;
    for device in [&ola, &kari, &per] {
        device.connect(world.address()).await;
        device.sync().await;
    }
    per.store.set_online(false).expect("open");
    erase(world.database(), &person.into()).expect("erased");
    assert_eq!(outstanding(&world), ["ola", "kari", "per"]);
    for device in [&ola, &kari] {
        device.sync().await;
        assert!(is_erased(device, person).await);
    }
    assert_eq!(outstanding(&world), ["per"], "who is out of reach is named");
    assert!(!is_erased(&per, person).await);
    per.store.set_online(true).expect("open");
    per.sync().await;
    assert!(is_erased(&per, person).await);
    assert_eq!(outstanding(&world), [""; 0]);
    let late = world.mentor("late").await;
    late.connect(world.address()).await;
    late.sync().await;
    world.agrees_with(&[&ola, &kari, &per, &late]).await;
    let shown = late.record(walk).await;
    let to = shown.row.fields["person"].clone();
    let Value::Reference(to) = to else { panic!("a reference") };
    assert_eq!(late.store.get(to).await.expect("read"), None, "what refers to it leads to nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_made_in_a_cellar_go_with_an_erased_record_and_those_beside_it_arrive() {
    let world = World::start().await;
    let [ola, kari] = [world.mentor("ola").await, world.coordinator("kari").await];
    let gone = ola.create("person", named("Ola")).await;
    let stays = ola.create("person", named("Kari")).await;
    for device in [&ola, &kari] {
        device.connect(world.address()).await;
        device.sync().await;
    }
    ola.store.set_online(false).expect("open");
    ola.edit("person", gone, named("Ole")).await;
    let both = ola.store.transaction(move |tx| {
        tx.edit(gone, "person", named("Oline"));
        tx.edit(stays, "person", named("Karin"));
    });
    both.await.expect("stored");
    erase(world.database(), &gone.into()).expect("erased");
    ola.store.set_online(true).expect("open");
    ola.sync().await;
    kari.sync().await;
    assert!(is_erased(&ola, gone).await && ola.outbox().await.is_empty());
    assert_eq!(kari.row(stays).await.fields["name"], text("Karin"));
    let notices = ola.store.notices().await.expect("listed");
    assert_eq!(
        notices.iter().map(|one| (one.kind, one.entries)).collect::<Vec<_>>(),
        [(NoticeKind::Erased, 2)]
    );
    assert_eq!(kari.store.list(Query::of("person")).await.expect("listed").len(), 1);
    world.agrees_with(&[&ola, &kari]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_done_offline_survives_the_erasure_of_another_field_and_a_compaction() {
    let world = World::start().await;
    let [ola, kari] = [world.mentor("ola").await, world.coordinator("kari").await];
    let walk = Changes::new().set("title", "walk").set("note", "secret").increment("calls", 1);
    let walk = ola.create("activity", walk).await;
    for device in [&ola, &kari] {
        device.connect(world.address()).await;
        device.sync().await;
    }
    ola.store.set_online(false).expect("open");
    ola.edit("activity", walk, Changes::new().set("note", "more secret")).await;
    ola.edit("activity", walk, Changes::new().set("minutes", 30_i64).increment("calls", 2)).await;
    let fields = ["note".to_owned()].into();
    erase_fields(world.database(), &schema(), &walk.into(), &fields, false).expect("erased");
    kari.sync().await;
    kari.edit("activity", walk, Changes::new().set("title", "long walk")).await;
    kari.sync().await;
    for n in 0..100 {
        kari.edit("activity", walk, Changes::new().set("size", n)).await;
    }
    kari.sync().await;
    let done = compact(world.database(), &schema(), UnixMillis(i64::MAX)).expect("compacted");
    assert_eq!(done.compacted, 1);
    ola.store.set_online(true).expect("open");
    ola.sync().await;
    kari.sync().await;
    let row = kari.row(walk).await;
    let values = ["title", "minutes", "calls"].map(|field| row.fields[field].clone());
    assert_eq!(values, [text("long walk"), Value::Integer(30), Value::Counter(3)]);
    assert!(!row.fields.contains_key("note") && row.conflicts.is_empty());
    assert!(ola.outbox().await.is_empty());
    let late = world.mentor("late").await;
    late.connect(world.address()).await;
    late.sync().await;
    world.agrees_with(&[&ola, &kari, &late]).await;
    assert_eq!(outstanding(&world), [""; 0]);
}
