//! Every status a gateway may answer with, every code a server may refuse with: nothing is rolled back, nothing is lost, and
//! everything arrives once the way is clear.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use haversack::{Changes, Code, Error, ServerAddress, TenantId, TokenFuture, TokenProvider};
use haversack_protocol::{FrameKind, ProblemBody, encode_frame};
use haversack_tests::{Device, Step, World, eventually, plain_http};
use tokio::sync::Semaphore;

use crate::replies::{fails, recovers, waiting};

fn problem(code: Code) -> Vec<u8> {
    let mut bytes = vec![];
    let body = ProblemBody { code, detail: "no".into() };
    encode_frame(FrameKind::Problem, &body, &mut bytes).expect("small");
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_without_a_frame_of_ours_settles_nothing_and_stops_nothing() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    for status in
        [201, 204, 206, 400, 403, 404, 405, 408, 409, 410, 413, 418, 426, 451, 500, 501, 502, 504, 599, 999]
    {
        let answer = plain_http(&format!("{status} Whatever"), "content-type: text/html\r\n", b"<html>");
        let error = fails(&device, &gate, record, Step::Answer(answer)).await;
        assert!(error.is_retryable(), "{status}: {error}");
    }
    recovers(&world, &device, &gate, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_rolls_nothing_back_whatever_its_code() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    for code in Code::ALL {
        for status in ["200 OK", "409 Conflict", "413 Content Too Large", "500 Internal Server Error"] {
            gate.otherwise(Step::Answer(plain_http(status, "", &problem(*code))));
            device.store.set_online(true).expect("open");
            let error = device.try_sync().await.expect_err("refused");
            assert!(matches!(error, Error::Transport(_)), "{code}: {error}");
            device.store.set_online(false).expect("open");
            assert_eq!(device.outbox().await.len(), 1, "{code}: the entry stays");
            assert!(device.store.notices().await.expect("listed").is_empty(), "{code}");
        }
    }
    gate.otherwise(Step::Forward);
    device.connect(gate.address()).await;
    recovers(&world, &device, &gate, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_is_asked_for_in_seconds_and_every_other_form_is_no_number() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let seconds = |count| Some(Duration::from_secs(count));
    let forms = [
        ("retry-after: 120\r\n", seconds(120)),
        ("retry-after:   7  \r\n", seconds(7)),
        ("retry-after: 0\r\n", seconds(0)),
        ("retry-after: 4294967296\r\n", seconds(3600)),
        ("retry-after: 18446744073709551615\r\n", seconds(3600)),
        ("retry-after: 99999999999999999999999\r\n", None),
        ("retry-after: -5\r\n", None),
        ("retry-after: 1.5\r\n", None),
        ("retry-after: soon\r\n", None),
        ("retry-after: \r\n", None),
        ("retry-after: Wed, 21 Oct 2065 07:28:00 GMT\r\n", None),
        ("retry-after: \u{e5}\r\n", None),
        ("", None),
    ];
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        for (header, expected) in forms {
            gate.otherwise(Step::Answer(plain_http(status, header, b"")));
            device.store.set_online(true).expect("open");
            let error = device.try_sync().await.expect_err("busy");
            assert_eq!((error.retry_after(), error.is_retryable()), (expected, true), "{status} {header:?}");
            device.store.set_online(false).expect("open");
        }
    }
    assert_eq!(device.outbox().await.len(), 1);
    recovers(&world, &device, &gate, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_limit_shifts_gets_smaller_batches_until_everything_has_arrived() {
    let world = World::start().await;
    let gate = world.gate().await;
    let device = world.mentor("ola").await;
    for n in 0..40 {
        device.create("activity", Changes::new().set("title", format!("walk {n}"))).await;
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let limit = move |request: &haversack_protocol::SyncRequest| {
        let limits = [9, 9, 9, 9, 9, 9, 3, 3, 1, 20, 2];
        let limit = limits[asked.fetch_add(1, Ordering::Relaxed) / 2 % limits.len()];
        request.push.len() > limit
    };
    gate.otherwise(Step::answer_under(limit, plain_http("413 Content Too Large", "", b"<html>")));
    device.connect(gate.address()).await;
    eventually("everything has arrived", || async {
        drop(device.try_sync().await);
        device.outbox().await.is_empty()
    })
    .await;
    assert!(gate.sync_requests().iter().all(|request| request.withdraw.is_empty()), "nothing was parked");
    gate.otherwise(Step::Forward);
    assert_eq!(world.agrees_with(&[&device]).await.accepted, 40);
}

/// A provider whose second token takes as long as the test wants.
struct Slow {
    tokens: Arc<haversack_tests::Tokens>,
    may_renew: Semaphore,
}

impl TokenProvider for Slow {
    fn token(&self, renew: bool) -> TokenFuture<'_> {
        let token = self.tokens.token(renew);
        Box::pin(async move {
            if renew {
                let _ = self.may_renew.acquire().await;
            }
            token.await
        })
    }
}

async fn connect_slowly(device: &Device, address: std::net::SocketAddr) -> Arc<Slow> {
    let tokens = haversack_tests::Tokens::new("ola", &["expired", device.token()]).expect("a name");
    let slow = Arc::new(Slow { tokens, may_renew: Semaphore::new(0) });
    let server = ServerAddress::new(&format!("http://{address}"), TenantId::new("north").expect("plain"));
    device.store.connect(server.expect("loopback"), slow.clone()).await.expect("connected");
    slow
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_token_is_renewed_nothing_is_sent_and_work_goes_on() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let slow = connect_slowly(&device, gate.address()).await;
    device.store.set_online(true).expect("open");
    eventually("a fresh token is asked for", || async { slow.tokens.asked().contains(&true) }).await;
    let sent = gate.seen().len();
    let more = device.create("activity", Changes::new().set("title", "run")).await;
    assert_eq!(gate.seen().len(), sent, "the old token is not sent again");
    assert_eq!(
        device.store.status().await.expect("counted").pending,
        1,
        "one more waits beside the one under way"
    );
    slow.may_renew.add_permits(100);
    eventually("both have arrived", || async { device.outbox().await.is_empty() }).await;
    for one in [record, more] {
        assert_eq!(device.record(one).await.state, haversack::RecordState::Synced);
    }
    world.agrees_with(&[&device]).await;
}
