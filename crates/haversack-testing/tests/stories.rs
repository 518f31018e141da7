//! What an app's tests can make happen, told as stories an app developer would write.

use std::time::Duration;

use haversack::{Changes, Code, Error, Phase, RecordId, RecordState, Rejection, Schema, Value};
use haversack_testing::{Device, Rules, TestServer, TestingError, expect_eventually};

const DAY: Duration = Duration::from_secs(24 * 3600);

const SCHEMA: &str = r#"{ "version": 1, "collections": {
    "person": { "fields": { "name": { "kind": "text", "required": true } } },
    "visit": { "server_id_prefix": "VIS", "fields": {
        "person": { "kind": "reference", "target": "person" }, "note": { "kind": "text" },
        "minutes": { "kind": "integer" }, "calls": { "kind": "counter" } } } } }"#;

const RULES: &str = r#"{ "version": 1, "rules": [
    { "name": "minutes-in-a-day", "collection": "visit", "message_key": "minutes.range",
      "check": { "range": { "field": "minutes", "min": 1, "max": 720 } } } ] }"#;

async fn server() -> TestServer {
    let schema = Schema::from_json(SCHEMA).expect("a sound schema");
    let rules = Rules::from_json(RULES, &schema).expect("sound rules");
    TestServer::start(schema, rules).await.expect("started")
}

/// A mentor's device that is online.
async fn online(server: &TestServer, principal: &str) -> Device {
    let device = server.mentor(principal).await.expect("a device");
    device.go_online().await.expect("open");
    device
}

async fn visit(device: &Device, changes: Changes) -> RecordId {
    device.store.collection("visit").create(changes).await.expect("stored")
}

async fn edit(device: &Device, visit: RecordId, changes: Changes) {
    device.store.collection("visit").edit(visit, changes).await.expect("stored");
}

/// What a field of a visit shows.
async fn shown(device: &Device, visit: RecordId, field: &str) -> Option<Value> {
    let found = device.store.get(visit).await.expect("read").expect("here");
    found.row.effective(field).cloned()
}

async fn deliver(devices: &[&Device]) {
    for device in devices {
        device.deliver().await.expect("delivered");
    }
}

fn text(value: &str) -> Option<Value> {
    Some(Value::Text(value.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_change_set_is_refused_and_all_that_a_refusal_means_comes_about() {
    let server = server().await;
    let ola = server.mentor("ola").await.expect("a device");
    let walk = visit(&ola, Changes::new().set("note", "first")).await;
    ola.go_online().await.expect("open");
    deliver(&[&ola]).await;
    ola.go_offline().expect("open");
    let reason = Rejection {
        message_key: Some("note.closed".into()),
        ..Rejection::of(Code::Rule).at("visit", "note")
    };
    ola.gate().refuse_next(reason.clone()).expect("final");
    edit(&ola, walk, Changes::new().set("note", "second")).await;
    edit(&ola, walk, Changes::new().increment("calls", 1)).await;
    ola.go_online().await.expect("open");
    deliver(&[&ola]).await;
    let [refused] = &ola.refused().await.expect("listed")[..] else { panic!("one was refused") };
    assert_eq!(refused.rejection, reason);
    assert_eq!(refused.entry.change_set.parts[0].intents.len(), 1, "the input is kept");
    assert_eq!(shown(&ola, walk, "note").await, text("first"), "and rolled back");
    assert_eq!(shown(&ola, walk, "calls").await, Some(Value::Counter(1)), "what stood behind it arrived");
    assert_eq!(ola.store.notices().await.expect("listed").len(), 1);
    let proof = server.expect_agreement(&[&ola]).await;
    assert_eq!((proof.accepted, proof.rejected), (2, 1), "the server remembers the refusal");
}

/// A visit of a person who is refused, delivered over a gate that `spoils`: what the app is told of either.
async fn told_of(value: i64, spoil: impl Fn(&Device)) -> Vec<(Rejection, usize)> {
    let server = server().await;
    let ola = server.mentor("ola").await.expect("a device");
    spoil(&ola);
    let too_long = Changes::new().set("minutes", value);
    let made = ola.store.transaction(|tx| (tx.id(), tx.create("visit", too_long))).await;
    let (root, walk) = made.expect("stored");
    let mut needs_it = vec![];
    for _ in 0..2 {
        let later = ola.store.transaction(|tx| {
            tx.after(root);
            tx.edit(walk, "visit", Changes::new().increment("calls", 1));
            tx.id()
        });
        needs_it.push(later.await.expect("stored"));
    }
    let alone = visit(&ola, Changes::new().set("note", "alone")).await;
    ola.go_online().await.expect("open");
    deliver(&[&ola]).await;
    assert_eq!(ola.store.get(walk).await.expect("read"), None, "rolled back");
    let other = ola.store.get(alone).await.expect("read").expect("here");
    assert_eq!(other.state, RecordState::Synced, "nothing else falls");
    server.expect_agreement(&[&ola]).await;
    let refused = ola.refused().await.expect("listed");
    let told = refused.into_iter().map(|refused| {
        let root_cause = refused.rejection.root_cause;
        assert!(root_cause.is_none_or(|cause| cause == root));
        let rejection = Rejection { root_cause: None, ..refused.rejection };
        (rejection, refused.entry.change_set.parts.len())
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_refusal_is_told_like_a_real_one() {
    let real = told_of(900, |_| {}).await;
    let reason = real[0].0.clone();
    assert_eq!((real.len(), reason.rule.as_deref()), (3, Some("minutes-in-a-day")));
    let ordered = told_of(90, |device| device.gate().refuse_next(reason.clone()).expect("final")).await;
    assert_eq!(ordered, real);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_no_server_gives_for_good_is_not_ordered() {
    let server = server().await;
    let ola = server.mentor("ola").await.expect("a device");
    for code in [Code::Busy, Code::TokenExpired, Code::Blocked] {
        let refused = ola.gate().refuse_next(Rejection::of(code));
        assert!(matches!(refused, Err(TestingError::NotFinal(named)) if named == code));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_whose_reply_is_lost_is_told_by_the_next_one() {
    let server = server().await;
    let ola = server.mentor("ola").await.expect("a device");
    visit(&ola, Changes::new()).await;
    ola.gate().refuse_next_by_rule("closed", "visit.closed");
    ola.gate().lose_next_reply();
    ola.go_online().await.expect("open");
    deliver(&[&ola]).await;
    let refused = ola.refused().await.expect("listed");
    assert_eq!(refused[0].rejection.rule.as_deref(), Some("closed"));
    assert_eq!(server.prove().expect("read").rejected, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_may_have_accepted_already_is_not_what_is_refused_next() {
    let server = server().await;
    let ola = online(&server, "ola").await;
    deliver(&[&ola]).await;
    ola.gate().hold_replies();
    let first = visit(&ola, Changes::new()).await;
    expect_eventually("the server has it", async || server.prove().expect("read").accepted == 1).await;
    ola.go_offline().expect("open");
    ola.gate().heal();
    ola.gate().refuse_next_by_rule("closed", "visit.closed");
    let second = visit(&ola, Changes::new()).await;
    ola.go_online().await.expect("open");
    deliver(&[&ola]).await;
    assert!(ola.store.get(first).await.expect("read").is_some());
    assert_eq!(ola.store.get(second).await.expect("read"), None);
    assert_eq!(ola.refused().await.expect("listed").len(), 1);
    server.expect_agreement(&[&ola]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_cut_reply_doubles_nothing() {
    let server = server().await;
    let ola = online(&server, "ola").await;
    deliver(&[&ola]).await;
    for (round, spoil) in [Device::lose as fn(&Device), Device::cut].into_iter().enumerate() {
        ola.go_offline().expect("open");
        let walk = visit(&ola, Changes::new().increment("calls", 1)).await;
        spoil(&ola);
        let before = ola.gate().pushes();
        ola.go_online().await.expect("open");
        expect_eventually("the server has it", async || {
            server.prove().expect("read").accepted == round as u64 + 1
        })
        .await;
        deliver(&[&ola]).await;
        assert!(ola.gate().pushes() > before + 1, "it was sent again");
        assert_eq!(shown(&ola, walk, "calls").await, Some(Value::Counter(1)));
        assert_eq!(server.expect_agreement(&[&ola]).await.accepted, round as u64 + 1);
    }
}

/// The words of this suite, to be listed.
trait Spoil {
    fn lose(&self);
    fn cut(&self);
}

impl Spoil for Device {
    fn lose(&self) {
        self.gate().lose_next_reply();
    }

    fn cut(&self) {
        self.gate().cut_next_reply(40);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_days_offline_are_over_in_a_moment() {
    let server = server().await;
    let (ola, kari) = (online(&server, "ola").await, online(&server, "kari").await);
    let walk = visit(&ola, Changes::new().set("note", "monday")).await;
    deliver(&[&ola, &kari]).await;
    ola.go_offline().expect("open");
    for day in ["tuesday", "wednesday", "thursday"] {
        ola.clock().advance(DAY);
        edit(&ola, walk, Changes::new().set("note", day)).await;
    }
    edit(&kari, walk, Changes::new().set("minutes", 45_i64)).await;
    deliver(&[&kari]).await;
    let entries = ola.store.outbox().list().await.expect("listed");
    let at: Vec<_> = entries.iter().map(|entry| entry.change_set.at.0).collect();
    let day_ms = i64::try_from(DAY.as_millis()).expect("small");
    assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= day_ms), "a day lies between any two edits");
    assert_eq!(ola.store.status().await.expect("counted").phase, Phase::Offline);
    ola.go_online().await.expect("open");
    deliver(&[&ola, &kari]).await;
    for device in [&ola, &kari] {
        assert_eq!(shown(device, walk, "note").await, text("thursday"));
        assert_eq!(shown(device, walk, "minutes").await, Some(Value::Integer(45)));
    }
    let synced_at = ola.store.status().await.expect("counted").synced_at.expect("in step");
    assert!(synced_at.0 >= at[2], "its own clock says when");
    server.expect_agreement(&[&ola, &kari]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_a_server_asked_for_ends_by_the_devices_clock() {
    let server = server().await;
    let ola = online(&server, "ola").await;
    deliver(&[&ola]).await;
    ola.gate().answer_next(1, 503, Some(Duration::from_secs(2 * 3600)));
    visit(&ola, Changes::new()).await;
    expect_eventually("it pauses", async || {
        matches!(ola.store.status().await.expect("counted").phase, Phase::Waiting { .. })
    })
    .await;
    let pushes = ola.gate().pushes();
    ola.clock().advance(Duration::from_secs(3600));
    assert_eq!(ola.gate().pushes(), pushes, "an hour is missing");
    ola.clock().advance(Duration::from_secs(3600));
    expect_eventually("it is delivered", async || {
        ola.store.outbox().list().await.expect("listed").is_empty()
    })
    .await;
    server.expect_agreement(&[&ola]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_phone_edits_the_same_field_meanwhile() {
    let server = server().await;
    let (ola, kari) = (online(&server, "ola").await, online(&server, "kari").await);
    let walk = visit(&ola, Changes::new().set("note", "both saw this")).await;
    deliver(&[&ola, &kari]).await;
    ola.go_offline().expect("open");
    edit(&ola, walk, Changes::new().set("note", "ola's")).await;
    edit(&kari, walk, Changes::new().set("note", "kari's")).await;
    deliver(&[&kari]).await;
    ola.go_online().await.expect("open");
    deliver(&[&ola, &kari]).await;
    let winner = shown(&ola, walk, "note").await;
    assert_eq!(shown(&kari, walk, "note").await, winner);
    let [conflict] = &ola.store.conflicts(walk).await.expect("read")[..] else { panic!("one field") };
    let values: Vec<_> = conflict.candidates.iter().map(|candidate| candidate.value.clone()).collect();
    assert!(values.contains(&text("ola's")) && values.contains(&text("kari's")), "{values:?}");
    server.expect_agreement(&[&ola, &kari]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_overrides_a_field_and_the_mentor_sees_it() {
    let server = server().await;
    let ola = online(&server, "ola").await;
    let siv = server.coordinator("siv").await.expect("a device");
    siv.go_online().await.expect("open");
    let walk = visit(&ola, Changes::new().set("minutes", 30_i64)).await;
    deliver(&[&ola, &siv]).await;
    let value = Some(Value::Integer(60));
    siv.store.override_field(walk, "minutes", value.clone(), "timesheet").await.expect("her right");
    deliver(&[&siv, &ola]).await;
    assert_eq!(shown(&ola, walk, "minutes").await, value);
    server.expect_agreement(&[&ola, &siv]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_of_a_gateway_are_seen_by_the_app_and_over_after_so_many_requests() {
    let server = server().await;
    let ola = server.mentor("ola").await.expect("a device");
    ola.go_online().await.expect("open");
    deliver(&[&ola]).await;
    ola.go_offline().expect("open");
    visit(&ola, Changes::new()).await;
    ola.gate().answer_next(2, 429, Some(Duration::from_secs(600)));
    ola.go_online().await.expect("open");
    let busy = loop {
        if let Err(error) = ola.sync().await {
            break error;
        }
    };
    assert_eq!(busy.retry_after(), Some(Duration::from_secs(600)));
    deliver(&[&ola]).await;
    ola.gate().answer_next(1, 401, None);
    visit(&ola, Changes::new()).await;
    deliver(&[&ola]).await;
    assert_eq!(server.expect_agreement(&[&ola]).await.accepted, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_can_be_looked_at_in_the_middle_of_a_sync_and_on_a_slow_line() {
    let server = server().await;
    let ola = online(&server, "ola").await;
    deliver(&[&ola]).await;
    ola.gate().hold_replies();
    let walk = visit(&ola, Changes::new()).await;
    expect_eventually("the server has it", async || server.prove().expect("read").accepted == 1).await;
    let state = ola.store.get(walk).await.expect("read").expect("here").state;
    assert_eq!(state, RecordState::Sending);
    assert_eq!(ola.store.status().await.expect("counted").phase, Phase::Busy);
    ola.gate().slow_down();
    ola.gate().release_replies();
    deliver(&[&ola]).await;
    edit(&ola, walk, Changes::new().set("note", "slowly")).await;
    deliver(&[&ola]).await;
    ola.gate().heal();
    server.expect_agreement(&[&ola]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_found_again_and_a_withdrawn_token_is_told() {
    let mut server = server().await;
    let ola = online(&server, "ola").await;
    deliver(&[&ola]).await;
    server.stop().await.expect("stopped");
    assert!(matches!(server.stop().await, Err(TestingError::Stopped)));
    visit(&ola, Changes::new()).await;
    assert!(ola.sync().await.expect_err("nobody answers").is_retryable());
    server.resume().await.expect("started");
    assert!(matches!(server.resume().await, Err(TestingError::Running)));
    deliver(&[&ola]).await;
    server.restart().await.expect("started");
    let ola = ola.reopen().await.expect("still there");
    ola.go_online().await.expect("open");
    deliver(&[&ola]).await;
    server.expect_agreement(&[&ola]).await;
    server.withdraw(ola.token()).expect("issued");
    let refused = ola.deliver().await.expect_err("nobody she is");
    assert!(matches!(&refused, Error::Transport(_)) && !refused.is_retryable(), "{refused}");
    assert!(matches!(server.withdraw(ola.token()), Err(TestingError::UnknownToken)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_put_back_to_an_older_state_is_read_anew_and_no_device_loses_what_it_holds() {
    let mut server = server().await;
    let (ola, kari) = (online(&server, "ola").await, online(&server, "kari").await);
    let before = visit(&ola, Changes::new().set("note", "before")).await;
    deliver(&[&ola, &kari]).await;
    let backup = server.back_up().await.expect("kept");
    let since = visit(&ola, Changes::new().set("note", "since")).await;
    deliver(&[&ola]).await;
    server.restore(&backup).await.expect("put back");
    assert_eq!(server.prove().expect("read").records, 1);
    deliver(&[&ola, &kari]).await;
    assert_eq!(shown(&ola, since, "note").await, text("since"), "it stays where it was made");
    edit(&kari, before, Changes::new().set("note", "after")).await;
    deliver(&[&kari, &ola]).await;
    assert_eq!(shown(&ola, before, "note").await, text("after"));
    server.expect_agreement(&[&kari]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_a_live_connection_sees_what_others_do_without_asking() {
    let mut server = server().await;
    let kari = server.device("kari", haversack::Role::Mentor, true).await.expect("a device");
    kari.go_online().await.expect("open");
    let ola = online(&server, "ola").await;
    expect_eventually("the line stands", async || server.live_connections().expect("running") == 1).await;
    let walk = visit(&ola, Changes::new()).await;
    deliver(&[&ola]).await;
    expect_eventually("it is seen", async || kari.store.get(walk).await.expect("read").is_some()).await;
    server.stop().await.expect("stopped");
    assert!(matches!(server.live_connections(), Err(TestingError::Stopped)));
}
