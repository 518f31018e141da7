//! Stories of several people: overrides, conflicts, watching, and whose store it is.

use haversack::{
    Changes, Error, NoticeKind, Origin, Phase, PrincipalId, Query, RecordId, Standing, StoreError,
    TransportError, Value,
};
use haversack_tests::{Device, Tokens, World, text};

/// Devices that are offline and share one activity.
async fn sharing(world: &World, devices: &[&Device]) -> RecordId {
    for device in devices {
        device.connect(world.address()).await;
    }
    let walk = Changes::new().set("title", "walk").set("note", "as agreed");
    let record = devices[0].store.collection("activity").create(walk).await.expect("stored");
    for device in devices {
        device.sync().await;
        device.store.set_online(false).expect("open");
    }
    record
}

async fn note(device: &Device, record: RecordId, value: &str) {
    device.edit("activity", record, Changes::new().set("note", value)).await;
}

async fn meet(devices: &[&Device]) {
    for device in devices.iter().chain(devices) {
        device.store.set_online(true).expect("open");
        device.sync().await;
    }
}

async fn shown(device: &Device, record: RecordId) -> Option<Value> {
    device.row(record).await.effective("note").cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_stands_above_a_concurrent_edit_until_it_is_released() {
    let world = World::start().await;
    let (ola, siv) = (world.mentor("ola").await, world.coordinator("siv").await);
    let record = sharing(&world, &[&ola, &siv]).await;
    let set_right = Some(text("set right"));
    siv.store.override_field(record, "note", set_right.clone(), "heard it").await.expect("stored");
    note(&ola, record, "mine").await;
    let asked = ola.store.override_field(record, "note", None, "no").await.expect_err("a mentor may not");
    assert!(matches!(asked.edit_refusal(), Some(haversack::EditRefusal::Forbidden { .. })), "{asked}");
    meet(&[&siv, &ola]).await;
    for device in [&ola, &siv] {
        assert_eq!(shown(device, record).await, set_right);
        assert_eq!(device.row(record).await.fields["note"], text("mine"), "kept beneath");
    }
    let notices = ola.store.notices().await.expect("listed");
    let told: Vec<_> = notices.iter().map(|notice| (notice.kind, notice.record)).collect();
    assert_eq!(told, [(NoticeKind::Shadowed, Some(record))], "the mentor is told");
    assert!(ola.store.acknowledge_notice(notices[0].id).await.expect("acknowledged"));
    assert_eq!(ola.store.notices().await.expect("listed"), []);
    siv.store.release_override(record, "note").await.expect("stored");
    meet(&[&siv, &ola]).await;
    for device in [&ola, &siv] {
        assert_eq!(shown(device, record).await, Some(text("mine")));
    }
    world.agrees_with(&[&ola, &siv]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_names_author_device_time_and_what_is_shown_and_an_ordinary_edit_settles_it() {
    let world = World::start().await;
    let (ola, kari) = (world.mentor("ola").await, world.mentor("kari").await);
    let record = sharing(&world, &[&ola, &kari]).await;
    note(&ola, record, "ola").await;
    note(&kari, record, "kari").await;
    meet(&[&ola, &kari]).await;
    let seen_by_ola = ola.store.conflicts(record).await.expect("listed");
    assert_eq!(seen_by_ola, kari.store.conflicts(record).await.expect("listed"), "all see the same");
    let [conflict] = &seen_by_ola[..] else { panic!("one field: {seen_by_ola:?}") };
    assert_eq!((conflict.field.as_str(), conflict.candidates.len()), ("note", 2));
    assert_eq!(conflict.shown, shown(&ola, record).await);
    for candidate in &conflict.candidates {
        let Some(Value::Text(author)) = &candidate.value else { panic!("a text") };
        assert_eq!(candidate.principal, PrincipalId::new(author.as_str()).ok(), "each wrote his own name");
        assert_eq!(candidate.is_shown, candidate.value == conflict.shown);
        assert!(candidate.at.is_some() && candidate.device.is_some() && !candidate.reason.is_empty());
    }
    assert_ne!(conflict.candidates[0].device, conflict.candidates[1].device);
    assert_eq!(ola.store.status().await.expect("counted").conflicts, 1);
    note(&ola, record, "both").await;
    meet(&[&ola, &kari]).await;
    for device in [&ola, &kari] {
        assert_eq!(device.store.conflicts(record).await.expect("listed"), []);
        assert_eq!(shown(device, record).await, Some(text("both")));
    }
    world.agrees_with(&[&ola, &kari]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_a_field_is_one_and_the_same_for_everybody_and_ends_with_what_waits() {
    let world = World::start().await;
    let (ola, siv) = (world.mentor("ola").await, world.coordinator("siv").await);
    let record = sharing(&world, &[&ola, &siv]).await;
    note(&ola, record, "mine").await;
    siv.store.override_field(record, "note", Some(text("set right")), "heard it").await.expect("stored");
    meet(&[&ola, &siv]).await;
    siv.store.release_override(record, "note").await.expect("stored");
    meet(&[&siv, &ola]).await;
    let told = ola.store.history(record, "note").await.expect("listed");
    assert_eq!(told, siv.store.history(record, "note").await.expect("listed"));
    let who = |entry: &haversack::HistoryEntry| entry.principal.clone().map(|who| who.as_str().to_owned());
    let mut standings: Vec<_> = told
        .iter()
        .map(|entry| (who(entry).unwrap_or_default(), entry.standing == Standing::Shown))
        .collect();
    assert_eq!(
        (standings[0].0.as_str(), standings[3].0.as_str()),
        ("ola", "siv"),
        "creation first, release last"
    );
    // The edit and the mark between them are concurrent: their order is the devices'.
    standings.sort();
    let expected = [("ola", false), ("ola", true), ("siv", false), ("siv", true)];
    assert_eq!(standings, expected.map(|(who, is_shown)| (who.to_owned(), is_shown)));
    note(&ola, record, "after all").await;
    let waiting = ola.store.history(record, "note").await.expect("listed").pop().expect("one");
    assert!(matches!(waiting.origin, Origin::Waiting { .. }), "{waiting:?}");
    assert_eq!(waiting.principal, PrincipalId::new("ola").ok());
    assert!(ola.store.record_history(record).await.expect("listed").len() > told.len() + 1, "the title, too");
    let unknown = ola.store.history(record, "weather").await.expect_err("no such field");
    assert_eq!(unknown.kind(), haversack::ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_of_different_fields_are_both_kept_and_are_no_conflict() {
    let world = World::start().await;
    let (ola, kari) = (world.mentor("ola").await, world.mentor("kari").await);
    let record = sharing(&world, &[&ola, &kari]).await;
    note(&ola, record, "ola").await;
    let minutes = Changes::new().set("minutes", 45_i64).add("tags", "outdoors").increment("calls", 2);
    kari.edit("activity", record, minutes).await;
    ola.edit("activity", record, Changes::new().add("tags", "rain")).await;
    meet(&[&ola, &kari]).await;
    for device in [&ola, &kari] {
        let row = device.row(record).await;
        assert_eq!((&row.fields["note"], &row.fields["minutes"]), (&text("ola"), &Value::Integer(45)));
        assert_eq!(row.fields["tags"], Value::Set(["outdoors".to_owned(), "rain".to_owned()].into()));
        assert_eq!(device.store.conflicts(record).await.expect("listed"), []);
    }
    world.agrees_with(&[&ola, &kari]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_once_of_every_commit_that_changes_its_outcome_and_of_no_other() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let mut watch = device.store.collection("activity").watch(Query::of("activity"));
    assert_eq!(watch.next().await.expect("listed"), Some(vec![]));
    let waiting = tokio::spawn(async move { (watch.next().await.expect("listed"), watch) });
    for _ in 0..20 {
        device.create("team", Changes::new().set("name", "North")).await;
    }
    assert!(!waiting.is_finished(), "teams are none of its business");
    let walk = Changes::new().set("title", "walk");
    let record = device.create("activity", walk).await;
    let (told, mut watch) = waiting.await.expect("no panic");
    assert_eq!(told.expect("open").len(), 1);
    for value in ["first", "second"] {
        note(&device, record, value).await;
        let told = watch.next().await.expect("listed").expect("open");
        assert_eq!(told[0].row.fields["note"], text(value));
    }
    note(&device, record, "second").await;
    let after = watch.next();
    device.store.clone().close().await.expect("closed");
    // The state of the record was the same before; only the closing is told.
    assert_eq!(after.await.expect("listed"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_of_what_others_did() {
    let world = World::start().await;
    let (ola, kari) = (world.mentor("ola").await, world.mentor("kari").await);
    let record = sharing(&world, &[&ola, &kari]).await;
    let mut watch = kari.store.collection("activity").watch(Query::of("activity"));
    watch.next().await.expect("listed");
    note(&ola, record, "news").await;
    meet(&[&ola]).await;
    let waiting = tokio::spawn(async move { watch.next().await.expect("listed").expect("open") });
    meet(&[&kari]).await;
    assert_eq!(waiting.await.expect("no panic")[0].row.fields["note"], text("news"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_opened_by_one_at_a_time() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let second = device.open_again().await.map(|_| ()).expect_err("already open");
    assert!(matches!(second, Error::Store(StoreError::AlreadyOpen)), "{second}");
    assert!(second.is_retryable());
    device.reopen().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_persons_token_sends_nothing_of_this_store() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (ola, kari) = (world.mentor("ola").await, world.mentor("kari").await);
    ola.connect(gate.address()).await;
    ola.sync().await;
    ola.store.set_online(false).expect("open");
    let record = ola.create("activity", Changes::new().set("title", "walk")).await;
    let before = gate.seen().len();
    ola.connect_with(gate.address(), Tokens::new("kari", &[kari.token()]).expect("a name")).await;
    ola.store.set_online(true).expect("open");
    let refused = ola.try_sync().await.expect_err("not her store");
    assert!(matches!(refused, Error::Transport(TransportError::OtherPrincipal)), "{refused}");
    assert_eq!(refused.kind(), haversack::ErrorKind::Account);
    assert_eq!(gate.seen().len(), before, "nothing was sent");
    let status = ola.store.status().await.expect("counted");
    assert!(matches!(status.phase, Phase::Blocked(_)), "{status:?}");
    // A provider that lies about whose token it is gets no further than the server.
    ola.connect_with(gate.address(), Tokens::new("ola", &[kari.token()]).expect("a name")).await;
    let refused = ola.try_sync().await.expect_err("the server knows");
    assert!(matches!(refused, Error::Transport(TransportError::Refused { .. })), "{refused}");
    ola.connect(gate.address()).await;
    ola.sync().await;
    assert_eq!(ola.record(record).await.state, haversack::RecordState::Synced);
    world.agrees_with(&[&ola]).await;
}
