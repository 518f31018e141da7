use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Bytes that pass every second until the line is cut, or until all have passed.
fn passes(bytes: u64, a_second: u64) -> bool {
    let begin = Instant::now();
    let mut pace = Pace::new(PATIENCE, begin);
    let mut now = begin;
    for _ in 0..bytes.div_ceil(a_second) {
        now += seconds(1);
        if now >= pace.ends_at() {
            return false;
        }
        pace.passed(Way::In, usize::try_from(a_second).expect("few"), now);
    }
    now < pace.ends_at()
}

#[test]
fn slow_is_normal_and_slower_than_any_phone_is_cut() {
    assert!(passes(200, 1), "an idle request at a byte a second");
    assert!(!passes(10_000, 1), "for hours at a byte a second");
    assert!(passes(1 << 20, 1100), "the largest request at nine kilobits a second");
    assert!(!passes(1 << 20, 900));
}

#[test]
fn a_line_without_a_byte_is_cut_after_a_minute_whatever_passed_before() {
    let begin = Instant::now();
    let mut pace = Pace::new(PATIENCE, begin);
    assert_eq!(pace.ends_at(), begin + seconds(60));
    pace.passed(Way::In, 1_000_000, begin + seconds(30));
    assert_eq!(pace.ends_at(), begin + seconds(90));
    pace.passed(Way::Out, 1, begin + seconds(80));
    assert_eq!(pace.ends_at(), begin + seconds(140));
}

#[test]
fn every_request_and_every_reply_has_its_own_time() {
    let begin = Instant::now();
    let mut pace = Pace::new(PATIENCE, begin);
    let mut now = begin;
    for _ in 0..100 {
        for way in [Way::In, Way::Out] {
            now += seconds(50);
            assert!(now < pace.ends_at());
            pace.passed(way, 10, now);
        }
    }
}

#[test]
fn a_head_ends_at_its_blank_line_however_it_is_cut_and_is_bounded() {
    for text in ["GET / HTTP/1.1\r\nhost: x\r\n\r\n", "\r\n\r\nGET / HTTP/1.1\nhost: x\n\n"] {
        for at in 0..text.len() {
            let mut head = Head::default();
            let (first, second) = text.as_bytes().split_at(at);
            assert!(head.read(first), "{at}");
            assert!(!head.has_ended, "{at}");
            assert!(head.read(second), "{at}");
            assert!(head.has_ended, "{at}");
        }
    }
    let mut head = Head::default();
    assert!(head.read(&[b'x'; HEAD_BYTES_MAX as usize]));
    assert!(!head.read(b"x"), "it never ends");
    let mut head = Head::default();
    assert!(head.read(b"GET / HTTP/1.1\r\n\r\n") && head.read(&[b'x'; 1 << 20]), "a body may be long");
    assert!(!Head::default().read(&b"\r\n".repeat(HEAD_BYTES_MAX as usize)), "nor does one of blank lines");
}

#[tokio::test]
async fn a_body_sent_on_invitation_is_no_head() {
    let (near, mut far) = duplex(1 << 20);
    let mut line = Line::new(near, PATIENCE, None);
    let request = b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\r\n";
    far.write_all(request).await.expect("sent");
    line.read_exact(&mut vec![0; request.len()]).await.expect("read");
    line.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.expect("invited");
    far.write_all(&[b'x'; 100_000]).await.expect("sent");
    line.read_exact(&mut [0; 100_000]).await.expect("a body of any length");
    line.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("answered");
    far.write_all(&[b'x'; 100_000]).await.expect("sent");
    line.read_exact(&mut [0; 100_000]).await.expect_err("a head of that length");
}

const HASTY: Patience =
    Patience { silence: Duration::from_millis(40), grace: Duration::from_millis(80), floor_bytes: 1024 };

fn line(patience: Patience) -> (Line<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(64);
    (Line::new(near, patience, None), far)
}

#[tokio::test]
async fn a_silent_client_is_cut_off_and_so_is_one_that_never_reads() {
    let (mut line, far) = line(HASTY);
    let cut = line.read_u8().await.expect_err("nothing came");
    assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
    drop(far);
    let (mut line, far) = self::line(HASTY);
    let cut = line.write_all(&[0; 1000]).await.expect_err("nobody reads");
    assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
    drop(far);
}

#[tokio::test]
async fn a_client_that_trickles_is_cut_off_although_it_is_never_silent() {
    let patience =
        Patience { silence: seconds(3600), grace: Duration::from_millis(80), floor_bytes: u64::MAX };
    let (mut line, mut far) = line(patience);
    let trickle = tokio::spawn(async move { while far.write_all(b"x").await.is_ok() {} });
    let cut = loop {
        if let Err(error) = line.read_u8().await {
            break error;
        }
        // How long a head may be is not the matter here.
        line.head = Head::default();
    };
    assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
    drop(line);
    trickle.await.expect("it was told");
}

#[tokio::test]
async fn who_finds_no_place_is_served_once_a_silent_one_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let door = Door { listener, places: Arc::new(Semaphore::new(2)), patience: HASTY };
    let serving =
        tokio::spawn(async { axum::serve(door, Router::new().route("/", get(|| async { "ok" }))).await });
    let mut silent = vec![];
    for _ in 0..6 {
        silent.push(TcpStream::connect(address).await.expect("queued"));
    }
    let mut patient = TcpStream::connect(address).await.expect("queued");
    patient.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    patient.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.ends_with("ok"), "{answer}");
    for mut one in silent {
        assert_eq!(one.read(&mut [0; 1]).await.expect("ended"), 0, "it was hung up on");
    }
    serving.abort();
}

#[tokio::test]
async fn a_line_that_becomes_a_live_connection_gives_its_place_to_another() {
    for (answer, is_freed) in [(&b"HTTP/1.1 200 OK\r\n"[..], false), (b"HTTP/1.1 101 Switching", true)] {
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).acquire_owned().await.expect("free");
        let (server, _phone) = duplex(64);
        let mut line = Line::new(server, PATIENCE, Some(place));
        line.write_all(answer).await.expect("written");
        assert_eq!(places.available_permits() == 1, is_freed);
    }
}
