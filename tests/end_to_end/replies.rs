//! Broken lines and broken servers: whatever answers, the outbox stays, the attempt is counted, and the next honest
//! answer settles everything once.

use std::sync::Arc;
use std::time::Duration;

use haversack::{Changes, Error, Phase, RecordId, RecordState, TransportError, Value};
use haversack_protocol::{
    ChangeHash, ChangeSetId, Code, DeviceId, EndBody, FrameKind, LogRow, PageBody, PartChange, ProblemBody,
    RejectedRow, Rejection, RowOrigin, UnixMillis, encode_frame,
};
use haversack_tests::{
    Answer, Device, Endless, Gate, Step, Tokens, World, empty_reply, eventually, plain_http, text,
};

/// A device with one activity at the server and a counter step that waits.
pub(crate) async fn waiting(world: &World, gate: &Gate) -> (Device, RecordId) {
    let device = world.mentor("ola").await;
    device.connect(gate.address()).await;
    let record = device.create("activity", Changes::new().set("title", "walk")).await;
    device.sync().await;
    device.store.set_online(false).expect("open");
    call(&device, record).await;
    (device, record)
}

async fn call(device: &Device, record: RecordId) {
    device.edit("activity", record, Changes::new().increment("calls", 1)).await;
}

/// Syncs against a gate that spoils every answer: the error, after the entry was found intact.
pub(crate) async fn fails(device: &Device, gate: &Gate, record: RecordId, step: Step) -> TransportError {
    gate.otherwise(step);
    let before = gate.pushes();
    device.store.set_online(true).expect("open");
    // A request spoilt in another way may still be under way: the second answer is of this one.
    device.try_sync().await.expect_err("spoilt");
    let error = device.try_sync().await.expect_err("spoilt");
    device.store.set_online(false).expect("open");
    assert!(error.is_retryable(), "{error}");
    let Error::Transport(error) = error else { panic!("of the transport: {error}") };
    let [entry] = &device.outbox().await[..] else { panic!("the entry stays") };
    assert!(entry.attempts >= 1 && entry.last_error.is_some());
    assert!(gate.pushes() > before);
    assert_eq!(device.row(record).await.fields["calls"], Value::Counter(1), "the edit is shown all the same");
    error
}

/// Lets the device through again and holds it to the server.
pub(crate) async fn recovers(world: &World, device: &Device, gate: &Gate, record: RecordId) {
    gate.otherwise(Step::Forward);
    device.store.set_online(true).expect("open");
    device.sync_after_trouble().await;
    is_settled(world, device, record).await;
}

/// Lets the device through; nothing it meets may disturb it.
pub(crate) async fn passes(world: &World, device: &Device, record: RecordId) {
    device.store.set_online(true).expect("open");
    device.sync().await;
    is_settled(world, device, record).await;
}

async fn is_settled(world: &World, device: &Device, record: RecordId) {
    assert!(device.outbox().await.is_empty());
    assert_eq!(device.row(record).await.fields["calls"], Value::Counter(1));
    assert_eq!(device.record(record).await.state, RecordState::Synced);
    assert_eq!(world.agrees_with(&[device]).await.accepted, 2);
}

fn frame(kind: FrameKind) -> Vec<u8> {
    let mut bytes = Vec::new();
    let problem = ProblemBody { code: Code::Busy, detail: String::new() };
    encode_frame(kind, &problem, &mut bytes).expect("small");
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_ours_settles_nothing() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let html = "content-type: text/html\r\n";
    let portal = b"<html>Welcome to the hotel. Accept our terms.</html>";
    let not_ours: Vec<(&str, Vec<u8>)> = vec![
        ("a captive portal", plain_http("200 OK", html, portal)),
        ("an empty success", plain_http("200 OK", "", b"")),
        ("a gateway's failure", plain_http("502 Bad Gateway", html, portal)),
        ("no HTTP at all", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        ("nothing", vec![]),
        ("a device reply", plain_http("200 OK", "", &frame(FrameKind::DeviceReply))),
        ("our own request", plain_http("200 OK", "", &frame(FrameKind::SyncRequest))),
        ("an end without a beginning", plain_http("200 OK", "", &frame(FrameKind::End))),
        ("a hello alone", plain_http("200 OK", "", &frame(FrameKind::Hello))),
    ];
    let count = u32::try_from(not_ours.len()).expect("few");
    for (what, bytes) in not_ours {
        let error = fails(&device, &gate, record, Step::Answer(bytes)).await;
        assert!(error.is_retryable(), "{what}: {error}");
    }
    assert!(device.outbox().await[0].attempts >= count, "each of them was an attempt");
    assert_eq!(world.prove().accepted, 1, "the server heard of none of it");
    recovers(&world, &device, &gate, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed_and_the_token_goes_nowhere_else() {
    let world = World::start().await;
    let (gate, elsewhere) = (world.gate().await, world.gate().await);
    let (device, record) = waiting(&world, &gate).await;
    for status in [
        "300 Multiple Choices",
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let location = format!("location: http://{}/v1/t/north/sync\r\n", elsewhere.address());
        let step = Step::Answer(plain_http(status, &location, b""));
        fails(&device, &gate, record, step).await;
    }
    assert!(elsewhere.seen().is_empty(), "nobody came by");
    assert!(gate.seen().iter().all(|seen| seen.authorization.is_some()));
    recovers(&world, &device, &gate, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_cut_anywhere_settles_nothing_and_the_next_one_settles_it_once() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    for at in [0, 1, 3, 4, 17, 18, 40, 60, 90, 120] {
        let error = fails(&device, &gate, record, Step::Cut(at)).await;
        assert_eq!(error, TransportError::Unreachable, "cut off after {at} bytes");
        let error = fails(&device, &gate, record, Step::alter(move |body| body[..at].to_vec())).await;
        assert!(matches!(error, TransportError::Answer(_) | TransportError::Incomplete), "{at}: {error}");
    }
    recovers(&world, &device, &gate, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_anywhere_settles_nothing() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    for eighth in 0..8 {
        let flip = move |body: &[u8]| {
            let mut bytes = body.to_vec();
            let at = bytes.len() * eighth / 8;
            bytes[at] ^= 0x10;
            bytes
        };
        let error = fails(&device, &gate, record, Step::alter(flip)).await;
        assert!(matches!(error, TransportError::Answer(_)), "{eighth}: {error}");
    }
    recovers(&world, &device, &gate, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_without_any_verdict_is_an_attempt_and_never_a_hot_loop() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let before = gate.pushes();
    let error = fails(&device, &gate, record, Step::alter(empty_reply)).await;
    assert_eq!(error, TransportError::Incomplete);
    device.store.set_online(true).expect("open");
    eventually("it pauses", || async {
        matches!(device.store.status().await.expect("counted").phase, Phase::Waiting { .. })
    })
    .await;
    device.store.set_online(false).expect("open");
    eventually("every request is counted", || async {
        device.outbox().await[0].attempts as usize == gate.pushes() - before
    })
    .await;
    recovers(&world, &device, &gate, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_promises_more_and_brings_nothing_is_never_a_hot_loop() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let promising = |body: &[u8]| {
        let end = EndBody { more: true };
        Answer { end, ..Answer::read(&empty_reply(body)).expect("a reply") }.write()
    };
    let error = fails(&device, &gate, record, Step::alter(promising)).await;
    assert_eq!(error, TransportError::Incomplete);
    recovers(&world, &device, &gate, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_change_the_device_never_made_is_asked_for_in_full_and_then_waited_for() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let before = gate.sync_requests().len();
    let never_made = |body: &[u8]| {
        let mut answer = Answer::read(body).expect("a reply");
        for row in answer.rows_mut() {
            let LogRow::Accepted(row) = row else { continue };
            row.parts[0].change = PartChange::Own(ChangeHash::from_bytes([3; 32]));
        }
        answer.write()
    };
    let error = fails(&device, &gate, record, Step::alter(never_made)).await;
    assert_eq!(error, TransportError::Incomplete);
    assert!(gate.sync_requests()[before..].iter().any(|request| request.echo_in_full));
    recovers(&world, &device, &gate, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_on_change_sets_nobody_sent_change_nothing() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let reply = |body: &[u8]| {
        let mut answer = Answer::read(body).expect("a reply");
        let origin = |n| RowOrigin {
            position: 1_000 + u64::from(n),
            change_set: ChangeSetId::from_bytes([n; 16]),
            device: DeviceId::from_bytes([n; 8]),
            at: UnixMillis(0),
            skew_ms: 0,
        };
        let refused = |n| RejectedRow { origin: origin(n), rejection: Rejection::of(Code::Rule) };
        answer.pages[0].rows.extend((1..5).map(|n| LogRow::Rejected(refused(n))));
        let hints = answer.hints.as_mut().expect("a push is answered");
        hints.settled.push((ChangeSetId::from_bytes([6; 16]), 7));
        answer.write()
    };
    gate.script([Step::alter(reply)]);
    passes(&world, &device, record).await;
    assert_eq!(device.store.notices().await.expect("listed"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_come_twice_count_once() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let twice = |body: &[u8]| {
        let mut answer = Answer::read(body).expect("a reply");
        answer.pages = answer.pages.iter().flat_map(|page| [page.clone(), page.clone()]).collect();
        answer.write()
    };
    gate.script([Step::alter(twice)]);
    passes(&world, &device, record).await;
    device.store.with_store(|store| store.reset_cursor()).await.expect("forgotten");
    passes(&world, &device, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_the_server_does_not_know_costs_no_work() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let foreign = haversack_protocol::Cursor::new(vec![9; 60]).expect("short");
    gate.script([Step::ask(move |request| request.cursor = Some(foreign.clone()))]);
    device.store.set_online(true).expect("open");
    // Told or not, the position is void now and the work is not.
    let _ = device.try_sync().await;
    recovers(&world, &device, &gate, record).await;
    let anew = gate.sync_requests().iter().filter(|request| request.cursor.is_none()).count();
    assert!(anew >= 2, "it was read from the beginning");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_renewed_at_once_and_is_no_attempt() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let tokens = Tokens::new("ola", &["expired", "expired as well"]).expect("a name");
    device.connect_with(gate.address(), tokens.clone()).await;
    device.store.set_online(true).expect("open");
    eventually("the app was asked twice", || async { tokens.asked().len() > 1 }).await;
    assert_eq!(tokens.asked()[..2], [false, true]);
    eventually("both were refused", || async { gate.pushes() > 2 }).await;
    let [entry] = &device.outbox().await[..] else { panic!("the entry stays") };
    assert_eq!((entry.attempts, entry.last_error.as_deref()), (0, None));
    let tokens = Tokens::new("ola", &["expired", device.token()]).expect("a name");
    device.connect_with(gate.address(), tokens.clone()).await;
    recovers(&world, &device, &gate, record).await;
    assert_eq!(tokens.asked(), [false, true]);
    assert!(gate.seen().iter().any(|seen| seen.authorization.as_deref() == Some("Bearer expired")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_patience_gets_it() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let busy = plain_http("503 Service Unavailable", "retry-after: 600\r\n", &frame(FrameKind::Problem));
    gate.otherwise(Step::Answer(busy));
    device.store.set_online(true).expect("open");
    let error = device.try_sync().await.expect_err("busy");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(600)));
    eventually("it pauses", || async {
        matches!(device.store.status().await.expect("counted").phase, Phase::Waiting { .. })
    })
    .await;
    let Phase::Waiting { until } = device.store.status().await.expect("counted").phase else {
        panic!("pausing")
    };
    let asked_at = gate.sync_requests().last().expect("one").now;
    assert!(until.0 - asked_at.0 >= 600_000, "never shortened");
    let pushed = gate.pushes();
    call(&device, record).await;
    assert_eq!(gate.pushes(), pushed, "a new edit does not shorten it");
    gate.otherwise(Step::Forward);
    device.sync_after_trouble().await;
    assert_eq!(device.row(record).await.fields["calls"], Value::Counter(2));
    world.agrees_with(&[&device]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_our_frames_is_still_believed_about_time_and_token() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let busy = plain_http("503 Service Unavailable", "retry-after: 600\r\n", b"<html>later</html>");
    let error = fails(&device, &gate, record, Step::Answer(busy)).await;
    let retry_after = Some(Duration::from_secs(600));
    assert_eq!(error, TransportError::Refused { code: Code::Busy, retry_after });
    gate.otherwise(Step::Answer(plain_http("401 Unauthorized", "", b"<html>who?</html>")));
    let tokens = Tokens::new("ola", &[device.token()]).expect("a name");
    device.connect_with(gate.address(), tokens.clone()).await;
    device.store.set_online(true).expect("open");
    eventually("a fresh token is asked for", || async { tokens.asked().contains(&true) }).await;
    recovers(&world, &device, &gate, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_with_a_useless_token_is_told_and_so_is_one_that_can_no_longer_end() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    device.connect_with(gate.address(), Tokens::new("ola", &["useless"]).expect("a name")).await;
    let asked = device.try_sync().await.expect_err("offline");
    assert!(matches!(asked, Error::Transport(TransportError::Unreachable)), "{asked:?}");
    device.store.set_online(true).expect("open");
    let asked = device.try_sync().await.expect_err("refused twice");
    assert!(
        matches!(asked, Error::Transport(TransportError::Refused { code: Code::TokenExpired, .. })),
        "{asked:?}"
    );
    let endless = Arc::new(Endless::default());
    gate.otherwise(endless.step());
    device.connect(gate.address()).await;
    let waiting = device.store.clone();
    let waiting = tokio::spawn(async move { waiting.sync_once(Duration::from_secs(600)).await });
    eventually("it is under way", || async { !endless.taken().is_empty() || waiting.is_finished() }).await;
    device.store.sign_out(haversack::SignOut::Keep).await.expect("kept");
    waiting.await.expect("no panic").expect_err("told, not left to its deadline");
    gate.otherwise(Step::Forward);
    device.connect(gate.address()).await;
    recovers(&world, &device, &gate, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_is_left_at_its_limit() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let endless = Arc::new(Endless::default());
    let error = fails(&device, &gate, record, endless.step()).await;
    assert_eq!(error, TransportError::Answer(haversack_protocol::FrameRefusal::TooLarge));
    eventually("the line is dropped", || async { !endless.taken().is_empty() }).await;
    assert!(endless.taken().iter().all(|taken| *taken < 64 << 20), "{:?}", endless.taken());
    recovers(&world, &device, &gate, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_of_one_bad_row_after_a_good_page_keeps_the_good_page() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let kari = world.mentor("kari").await;
    kari.connect(world.address()).await;
    let team = kari.create("team", Changes::new().set("name", "North")).await;
    kari.sync().await;
    // The second page hands an id of the first to another record.
    let contradicting = |body: &[u8]| {
        let mut answer = Answer::read(body).expect("a reply");
        let Some(cursor) = answer.pages.last().map(|page| page.cursor_after.clone()) else {
            return body.to_vec();
        };
        let mut rows: Vec<_> = answer.rows_mut().map(|row| row.clone()).collect();
        rows.retain(|row| matches!(row, LogRow::Accepted(row) if !row.assignments.is_empty()));
        for row in &mut rows {
            let LogRow::Accepted(row) = row else { continue };
            row.parts.clear();
            row.assignments[0].record = RecordId::from_bytes([0x77; 16]);
        }
        answer.pages.push(PageBody { rows, cursor_after: cursor });
        answer.write()
    };
    gate.otherwise(Step::alter(contradicting));
    device.store.set_online(true).expect("open");
    let error = device.try_sync().await.expect_err("refused");
    assert!(matches!(error, Error::Transport(TransportError::NotStored)), "{error}");
    device.store.set_online(false).expect("open");
    assert_eq!(device.row(team).await.fields["name"], text("North"), "the good page stays");
    assert_eq!(device.row(record).await.fields["calls"], Value::Counter(1));
    gate.otherwise(Step::Forward);
    device.store.set_online(true).expect("open");
    device.sync_after_trouble().await;
    kari.sync().await;
    world.agrees_with(&[&device, &kari]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_at_the_first_contact_is_no_registration() {
    let world = World::start().await;
    let gate = world.gate().await;
    let device = world.mentor("ola").await;
    let record = device.create("activity", Changes::new().set("title", "walk")).await;
    gate.spoil_registrations(Some(plain_http("200 OK", "content-type: text/html\r\n", b"<html>")));
    device.connect(gate.address()).await;
    device.try_sync().await.expect_err("not registered");
    let identity = device.store.with_store(|store| store.identity()).await.expect("read");
    assert_eq!((identity.device, identity.principal), (None, None));
    assert_eq!(gate.pushes(), 0);
    gate.spoil_registrations(None);
    eventually("it is delivered", || async { device.outbox().await.is_empty() }).await;
    assert_eq!(device.record(record).await.state, RecordState::Synced);
}
