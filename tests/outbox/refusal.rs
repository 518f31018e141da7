//! Refusals: rolled back, input kept, corrected and sent again; what needs it falls with it.

use haversack::{
    ChangeSetId, Changes, Code, EntryState, NoticeKind, RecordState, Reference, Rejection, Value,
};
use haversack_tests::{Device, World, text};

async fn rejection(device: &Device, id: ChangeSetId) -> Rejection {
    let entry = device.store.outbox().show(id).await.expect("read").expect("its input is kept");
    match entry.state {
        EntryState::Rejected(rejection) => rejection,
        state => panic!("{id} is {state:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_refused_by_a_rule_is_rolled_back_and_its_input_waits_with_the_name_of_the_rule() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    device.connect(world.address()).await;
    let activities = device.store.collection("activity");
    let walk =
        activities.create(Changes::new().set("title", "walk").set("minutes", 30_i64)).await.expect("stored");
    device.sync().await;
    activities.edit(walk, Changes::new().set("minutes", 900_i64)).await.expect("stored");
    device.sync().await;
    let shown = device.record(walk).await;
    assert_eq!(shown.row.fields["minutes"], Value::Integer(30));
    assert_eq!(shown.state, RecordState::Rejected);
    let [entry] = &device.outbox().await[..] else { panic!("one entry is kept") };
    let id = entry.change_set.id;
    let told = rejection(&device, id).await;
    assert_eq!((told.code, told.rule.as_deref()), (Code::Rule, Some("minutes-in-a-day")));
    assert_eq!(told.field.as_deref(), Some("activity.minutes"));
    assert_eq!(told.message_key.as_deref(), Some("minutes.range"));
    assert_eq!(entry.change_set.parts[0].intents.len(), 1, "the input is kept");
    let notices = device.store.notices().await.expect("listed");
    assert_eq!((notices.len(), notices[0].kind), (1, NoticeKind::Rejected));
    let corrected = |tx: &mut haversack::Transaction| {
        tx.edit(walk, "activity", Changes::new().set("minutes", 90_i64));
    };
    device.store.outbox().resubmit(id, corrected).await.expect("stored");
    assert_eq!(device.row(walk).await.fields["minutes"], Value::Integer(90));
    device.sync().await;
    assert_eq!(device.record(walk).await.state, RecordState::Synced);
    assert!(device.outbox().await.is_empty());
    world.agrees_with(&[&device]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_refers_to_a_refused_creation_falls_with_it_and_can_be_sent_again_after_the_correction() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let store = &device.store;
    let made = store.transaction(|tx| (tx.id(), tx.create("team", Changes::new().set("name", "Nobody"))));
    let (root, team) = made.await.expect("stored");
    let about_kari = Changes::new().set("name", "Kari").set("team", team);
    let made = store.transaction(|tx| (tx.id(), tx.create("person", about_kari.clone())));
    let (child, kari) = made.await.expect("stored");
    let about_walk = Changes::new().set("title", "walk").set("person", kari);
    let made = store.transaction(|tx| (tx.id(), tx.create("activity", about_walk.clone())));
    let (grandchild, walk) = made.await.expect("stored");
    let made = store.transaction(|tx| tx.create("activity", Changes::new().set("title", "alone")));
    let alone = made.await.expect("stored");
    device.connect(world.address()).await;
    device.sync().await;
    let told = rejection(&device, root).await;
    assert_eq!((told.code, told.rule.as_deref()), (Code::Rule, Some("no-team-named-nobody")));
    for dependant in [child, grandchild] {
        let told = rejection(&device, dependant).await;
        assert_eq!((told.code, told.root_cause), (Code::DependencyRejected, Some(root)));
    }
    for gone in [team, kari, walk] {
        assert_eq!(store.get(gone).await.expect("read"), None, "rolled back");
    }
    assert_eq!(device.record(alone).await.state, RecordState::Synced, "nothing else falls");
    world.agrees_with(&[&device]).await;

    let named = |name: &str| Changes::new().set("name", name);
    let north = named("North");
    store.outbox().resubmit(root, |tx| tx.create_as(team, "team", north)).await.expect("stored");
    store.outbox().retry(child).await.expect("stored");
    store.outbox().retry(grandchild).await.expect("stored");
    device.sync().await;
    assert!(device.outbox().await.is_empty());
    let server_id = device.record(kari).await.server_id.expect("assigned");
    assert_eq!(device.row(walk).await.fields["person"], Value::Reference(Reference::Server(server_id)));
    assert_eq!(device.row(team).await.fields["name"], text("North"));
    world.agrees_with(&[&device]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_refusal_is_gone_and_the_record_is_as_everybody_sees_it() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    device.connect(world.address()).await;
    let activities = device.store.collection("activity");
    let walk = activities.create(Changes::new().set("title", "walk")).await.expect("stored");
    activities.edit(walk, Changes::new().set("minutes", 0_i64)).await.expect("stored");
    activities.edit(walk, Changes::new().set("note", "kept")).await.expect("stored");
    device.sync().await;
    let [entry] = &device.outbox().await[..] else { panic!("one entry is kept") };
    device.store.outbox().discard(entry.change_set.id).await.expect("discarded");
    let shown = device.record(walk).await;
    assert_eq!((shown.state, shown.row.fields.get("minutes")), (RecordState::Synced, None));
    assert_eq!(shown.row.fields["note"], text("kept"), "the edit behind the refused one was authored anew");
    world.agrees_with(&[&device]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_is_authored_anew_is_not_overtaken_by_what_refers_to_it() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    device.connect(world.address()).await;
    let walk = device.create("activity", Changes::new().set("title", "walk")).await;
    device.sync().await;
    let store = &device.store;
    store.set_online(false).expect("open");
    device.edit("activity", walk, Changes::new().set("minutes", 900_i64)).await;
    // Stands on the refused edit, so it is authored anew; what refers to the person is not.
    let made = store.transaction(|tx| {
        tx.edit(walk, "activity", Changes::new().set("note", "with Kari"));
        tx.create("person", Changes::new().set("name", "Kari"))
    });
    let kari = made.await.expect("stored");
    let visit = device.create("activity", Changes::new().set("title", "visit").set("person", kari)).await;
    store.set_online(true).expect("open");
    device.sync().await;
    let [entry] = &device.outbox().await[..] else { panic!("only the refused edit is kept") };
    assert!(matches!(&entry.state, EntryState::Rejected(told) if told.code == Code::Rule));
    assert_eq!(device.record(visit).await.state, RecordState::Synced);
    assert_eq!(device.row(walk).await.fields["note"], text("with Kari"));
    world.agrees_with(&[&device]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_declared_after_a_refused_change_set_and_what_is_unknown_is_not_waited_for() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let store = &device.store;
    let nobody = Changes::new().set("name", "Nobody");
    let root = store.transaction(|tx| (tx.id(), tx.create("team", nobody)).0).await.expect("stored");
    device.connect(world.address()).await;
    device.sync().await;
    rejection(&device, root).await;
    let later = |after: ChangeSetId| {
        store.transaction(move |tx| {
            tx.after(after);
            tx.create("person", Changes::new().set("name", "Kari"))
        })
    };
    let refused = later(root).await.expect_err("it could never be sent");
    assert!(matches!(refused.edit_refusal(), Some(haversack::EditRefusal::AfterRefused(id)) if *id == root));
    store.outbox().discard(root).await.expect("discarded");
    later(root).await.expect("there is nothing to wait for");
    assert_eq!(device.sync().await.unsettled, 0);
    world.agrees_with(&[&device]).await;
}

/// Adds so many tags to a walk, from `first` on.
async fn tag(
    device: &Device,
    walk: haversack::RecordId,
    first: usize,
    count: usize,
) -> Result<(), haversack::Error> {
    let changes = (first..first + count).fold(Changes::new(), |all, n| all.add("tags", &format!("tag {n}")));
    device.store.collection("activity").edit(walk, changes).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_never_grows_past_its_limit_but_may_always_shrink() {
    let world = World::start().await;
    let (ola, kari) = (world.mentor("ola").await, world.mentor("kari").await);
    let walk = ola.create("activity", Changes::new().set("title", "walk")).await;
    ola.connect(world.address()).await;
    ola.sync().await;
    kari.connect(world.address()).await;
    kari.sync().await;
    tag(&ola, walk, 0, 100).await.expect("stored");
    let refused = tag(&ola, walk, 100, 29).await.expect_err("129 elements");
    assert!(refused.to_string().contains("more than 128 elements"), "{refused}");
    kari.store.set_online(false).expect("open");
    tag(&kari, walk, 200, 100).await.expect("her phone knows of no others");
    ola.sync().await;
    kari.store.set_online(true).expect("open");
    kari.sync().await;
    let [entry] = &kari.outbox().await[..] else { panic!("her edit came second and is kept") };
    let told = rejection(&kari, entry.change_set.id).await;
    assert_eq!((told.code, told.field.as_deref()), (Code::Limit, Some("activity.tags")));
    kari.store.outbox().discard(entry.change_set.id).await.expect("rejected");
    kari.edit("activity", walk, Changes::new().remove("tags", "tag 3")).await;
    kari.sync().await;
    ola.sync().await;
    world.agrees_with(&[&ola, &kari]).await;
}
