//! Replies cut and flipped at every place, bombs, lies, and honest replies that belong elsewhere: nothing panics, no entry of
//! the outbox is lost, and the next honest answer settles everything once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use haversack::{Changes, Error, RecordState, TransportError, Value};
use haversack_protocol::limits::BODY_RAW_BYTES_MAX;
use haversack_protocol::{EndBody, FrameKind, HelloBody, ProtocolRange, Role, UnixMillis, encode_frame};
use haversack_tests::{Answer, Device, Gate, Step, World, eventually, noise, text};

use crate::crafting::{bombs, frame_claiming, lying_cbor, packed_frame, plain_frame};
use crate::replies::{fails, passes, recovers, waiting};

/// Hands the next reply on and keeps a copy.
fn catching() -> (Step, Arc<Mutex<Vec<u8>>>) {
    let caught = Arc::new(Mutex::new(vec![]));
    let place = caught.clone();
    let step = Step::alter(move |body| {
        *place.lock().expect("whole") = body.to_vec();
        body.to_vec()
    });
    (step, caught)
}

/// The reply to the push that waits, which the device does not get.
async fn caught_reply(device: &Device, gate: &Gate) -> Vec<u8> {
    let caught = Arc::new(Mutex::new(vec![]));
    let place = caught.clone();
    gate.otherwise(Step::alter(move |body| {
        let mut kept = place.lock().expect("whole");
        if kept.is_empty() {
            *kept = body.to_vec();
        }
        vec![]
    }));
    device.store.set_online(true).expect("open");
    device.try_sync().await.expect_err("spoilt");
    let reply = caught.lock().expect("whole").clone();
    assert!(!Answer::read(&reply).expect("a reply").pages.is_empty(), "it brings the verdict");
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_with_any_bit_flipped_or_cut_at_any_byte_settles_nothing() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let whole = caught_reply(&device, &gate).await;
    let cuts = whole.len();
    let spoilt = cuts + whole.len() * 8;
    let next = Arc::new(AtomicUsize::new(0));
    let count = next.clone();
    gate.otherwise(Step::alter(move |_| {
        let n = count.fetch_add(1, Ordering::Relaxed) % spoilt;
        if n < cuts {
            return whole[..n].to_vec();
        }
        let (mut flipped, bit) = (whole.clone(), n - cuts);
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    }));
    while next.load(Ordering::Relaxed) < spoilt {
        let error = device.try_sync().await.expect_err("spoilt");
        assert!(matches!(error, Error::Transport(_)), "{error}");
    }
    let [entry] = &device.outbox().await[..] else { panic!("the entry stays") };
    assert!(entry.attempts > 0);
    assert_eq!(device.row(record).await.fields["calls"], Value::Counter(1));
    recovers(&world, &device, &gate, record).await;
}

fn hello() -> Vec<u8> {
    let hello = HelloBody {
        protocol: ProtocolRange::OURS.max,
        now: UnixMillis(0),
        schema_version: 1,
        role: Role::Mentor,
    };
    let mut bytes = vec![];
    encode_frame(FrameKind::Hello, &hello, &mut bytes).expect("small");
    bytes
}

/// A reply with this frame in its middle.
fn around(frame: &[u8]) -> Vec<u8> {
    let mut end = vec![];
    encode_frame(FrameKind::End, &EndBody { more: true }, &mut end).expect("small");
    [hello(), frame.to_vec(), end].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_inflates_or_lies_settles_nothing() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let page = FrameKind::Page as u8;
    let raw_max = u32::try_from(BODY_RAW_BYTES_MAX).expect("small");
    let mut spoilt: Vec<(&str, Vec<u8>)> = vec![];
    for (what, packed, raw_len) in bombs(raw_max) {
        spoilt.push((what, around(&packed_frame(page, &packed, raw_len))));
    }
    for kind in [FrameKind::Hello, FrameKind::Page, FrameKind::Hints, FrameKind::End] {
        spoilt.extend(
            lying_cbor().into_iter().map(|(what, body)| (what, around(&plain_frame(kind as u8, &body)))),
        );
    }
    for (body_len, raw_len) in [(u32::MAX, 1), (1, u32::MAX), (1 << 20, 4 << 20), (0, 1), (2, 1)] {
        spoilt.push(("a length", around(&frame_claiming(page, 0, &[0xa0], body_len, raw_len))));
    }
    spoilt.push(("a thousand pages", around(&plain_frame(page, &[0xa0]).repeat(1000))));
    spoilt.push(("two beginnings", around(&hello())));
    for (what, bytes) in spoilt {
        let error = fails(&device, &gate, record, Step::alter(move |_| bytes.clone())).await;
        assert!(matches!(error, TransportError::Answer(_) | TransportError::Incomplete), "{what}: {error}");
    }
    recovers(&world, &device, &gate, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_comes_a_byte_at_a_time_is_as_good_as_any() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    gate.otherwise(Step::Trickle);
    passes(&world, &device, record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_reply_that_comes_again_takes_nothing_back() {
    let world = World::start().await;
    let gate = world.gate().await;
    let device = world.mentor("ola").await;
    let (step, older) = catching();
    gate.script([step]);
    device.connect(gate.address()).await;
    let record = device.create("activity", Changes::new().set("title", "walk")).await;
    device.sync().await;
    device.edit("activity", record, Changes::new().set("title", "run")).await;
    device.sync().await;
    device.store.set_online(false).expect("open");
    device.edit("activity", record, Changes::new().increment("calls", 1)).await;
    let older = older.lock().expect("whole").clone();
    gate.otherwise(Step::alter(move |_| older.clone()));
    device.store.set_online(true).expect("open");
    drop(device.try_sync().await);
    device.store.set_online(false).expect("open");
    let row = device.row(record).await;
    assert_eq!(row.fields["title"], text("run"), "nothing is taken back");
    assert_eq!(row.fields["calls"], Value::Counter(1));
    gate.otherwise(Step::Forward);
    device.store.set_online(true).expect("open");
    device.sync_after_trouble().await;
    assert!(device.outbox().await.is_empty());
    world.agrees_with(&[&device]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_for_another_device_settles_nothing_of_this_one() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (device, record) = waiting(&world, &gate).await;
    let other_gate = world.gate().await;
    let (other, _) = waiting(&world, &other_gate).await;
    let of_other = caught_reply(&other, &other_gate).await;
    gate.otherwise(Step::alter(move |_| of_other.clone()));
    device.store.set_online(true).expect("open");
    drop(device.try_sync().await);
    device.store.set_online(false).expect("open");
    assert_eq!(device.outbox().await.len(), 1, "the entry stays");
    assert_eq!(device.row(record).await.fields["calls"], Value::Counter(1));
    for (one, gate) in [(&device, &gate), (&other, &other_gate)] {
        gate.otherwise(Step::Forward);
        one.store.set_online(true).expect("open");
        one.sync_after_trouble().await;
        one.sync().await;
    }
    device.sync().await;
    assert_eq!(device.record(record).await.state, RecordState::Synced);
    world.agrees_with(&[&device, &other]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_in_another_order_or_with_a_foreign_cursor_are_read_anew_in_the_end() {
    let world = World::start().await;
    let gate = world.gate().await;
    let author = world.mentor("kari").await;
    author.connect(world.address()).await;
    let mut records = vec![];
    for number in 0..50 {
        let record =
            author.create("activity", Changes::new().set("title", "walk").set("raw", noise(number))).await;
        records.push(record);
    }
    for record in &records {
        author.edit("activity", *record, Changes::new().increment("calls", 1)).await;
    }
    author.sync().await;
    let reader = world.mentor("ola").await;
    let turned = Arc::new(AtomicUsize::new(0));
    let count = turned.clone();
    gate.script([Step::alter(move |body| {
        let mut answer = Answer::read(body).expect("a reply");
        count.fetch_add(usize::from(answer.pages.len() > 1), Ordering::Relaxed);
        answer.pages.reverse();
        answer.write()
    })]);
    reader.connect(gate.address()).await;
    drop(reader.try_sync().await);
    assert_eq!(turned.load(Ordering::Relaxed), 1, "there was more than one page");
    reader.sync_after_trouble().await;
    reader.sync().await;
    world.agrees_with(&[&reader, &author]).await;
    let foreign = haversack_protocol::Cursor::new(vec![7; 70]).expect("short");
    gate.script([Step::alter(move |body| {
        let mut answer = Answer::read(body).expect("a reply");
        answer.pages.iter_mut().for_each(|page| page.cursor_after = foreign.clone());
        answer.write()
    })]);
    let record = reader.create("activity", Changes::new().set("title", "swim")).await;
    reader.sync_after_trouble().await;
    reader.sync().await;
    assert_eq!(reader.record(record).await.state, RecordState::Synced);
    author.sync().await;
    world.agrees_with(&[&reader, &author]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_reaches_a_server_on_this_machine() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    device.create("activity", Changes::new().set("title", "walk")).await;
    device.connect(world.address()).await;
    device.sync().await;
    world.agrees_with(&[&device]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_in_the_environment_is_not_used_on_this_machine() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy = format!("http://{}", listener.local_addr().expect("bound"));
    let met = Arc::new(AtomicUsize::new(0));
    let count = met.clone();
    let proxying = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut command = tokio::process::Command::new(std::env::current_exe().expect("running"));
    command.args(["--exact", "wire::work_reaches_a_server_on_this_machine"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(name, &proxy);
    }
    let ended = command.output().await.expect("ran");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(met.load(Ordering::Relaxed), 0, "nobody came by the proxy");
    proxying.abort();
    eventually("it is over", || async { proxying.is_finished() }).await;
}
