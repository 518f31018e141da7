//! Lines: what a connection can do besides carrying an honest request.

use std::net::SocketAddr;

use haversack_protocol::{Code, MEDIA_TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{framed, posting, sync_path};
use crate::support::{
    Response, ServerProcess, answer_to, answer_to_cut, create, integer, post_head, raw, text,
};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

const NO_REQUEST: &[u8] = b"x\r\n\r\n";

async fn opened(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(bytes).await.expect("sent");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_idle_and_half_begun_lines_cost_little_and_stop_nobody() {
    let server = ServerProcess::start().await;
    let mut phone = server.phone("ola").await;
    let watched = server.watch();
    let mut lines = vec![];
    for n in 0..400 {
        let begun: &[u8] = if n % 2 == 0 { b"" } else { b"POST /v1/t/rotary/sync HTTP/1.1\r\nx-slow: " };
        lines.push(opened(server.address(), begun).await);
    }
    for line in lines.iter_mut().skip(1).step_by(2) {
        line.write_all(b"x").await.expect("a byte more");
    }
    watched.survived("four hundred idle lines", &mut phone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_byte_by_byte_is_answered_like_any_other() {
    let server = ServerProcess::start().await;
    let phone = server.phone("ola").await;
    let bytes = posting(&phone, &framed(&phone.sync_request(vec![])));
    let mut stream = opened(server.address(), b"").await;
    stream.set_nodelay(true).expect("set");
    for byte in bytes {
        stream.write_all(&[byte]).await.expect("sent");
        tokio::task::yield_now().await;
    }
    let mut answer = vec![];
    stream.read_to_end(&mut answer).await.expect("answered");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_without_end_are_cut_off_and_hundreds_of_them_at_once_cost_little() {
    let server = ServerProcess::start().await;
    let mut phone = server.phone("ola").await;
    let watched = server.watch();
    let endless: [(&str, Vec<u8>); 4] = [
        ("one line", [&b"GET /"[..], &[b'x'; 1 << 20]].concat()),
        ("one value", [&b"GET / HTTP/1.1\r\nx: "[..], &[b'y'; 1 << 20]].concat()),
        ("many lines", [&b"GET / HTTP/1.1\r\n"[..], &b"a: b\r\n".repeat(100_000)].concat()),
        ("blank lines", b"\r\n".repeat(500_000)),
    ];
    for (what, bytes) in &endless {
        let response = answer_to(server.address(), bytes).await;
        assert!(response.is_none_or(|response| matches!(response.status, 400 | 414 | 431)), "{what}");
    }
    let mut lines = vec![];
    for _ in 0..400 {
        lines.push(opened(server.address(), &endless[1].1[..15 << 10]).await);
    }
    watched.survived("heads without end", &mut phone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_in_chunks_without_end_are_refused_at_the_limit() {
    let server = ServerProcess::start().await;
    let mut phone = server.phone("ola").await;
    let head = post_head(&sync_path(), &phone.token, "transfer-encoding: chunked\r\n");
    let chunks: [(&str, Vec<u8>); 6] = [
        ("large ones", [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat().repeat(200)),
        ("single bytes", b"1\r\nx\r\n".repeat(1 << 20)),
        ("a size beyond all", b"ffffffffffffffff\r\nxxxx".to_vec()),
        ("a size of many digits", [&[b'0'; 1 << 20][..], b"1\r\nx\r\n"].concat()),
        ("extensions", [&b"1;"[..], &[b'e'; 1 << 20]].concat()),
        ("trailers", [&b"0\r\n"[..], &b"t: u\r\n".repeat(200_000)].concat()),
    ];
    for (what, chunks) in chunks {
        let watched = server.watch();
        let response = answer_to_cut(server.address(), &[head.as_bytes(), &chunks].concat()).await;
        let is_refused = |response: Response| matches!(response.status, 400 | 413);
        assert!(response.is_none_or(is_refused), "{what}");
        watched.survived(what, &mut phone).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_behind_or_instead_of_a_request_ends_the_line_and_nothing_else() {
    let server = ServerProcess::start().await;
    let mut phone = server.phone("ola").await;
    let watched = server.watch();
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice();
    let instead: [&[u8]; 6] = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        tls,
        b"\0\0\0\0\0\0\0\0",
        b"HVSK",
        b"\r\n\r\n\r\n",
        &[0xff; 4096],
    ];
    for garbage in instead {
        let alone = answer_to_cut(server.address(), garbage).await;
        assert!(alone.is_none_or(|response| matches!(response.status, 400 | 505)));
        let behind =
            answer_to(server.address(), &[HEALTH, garbage, NO_REQUEST].concat()).await.expect("answered");
        assert_eq!(behind.status, 200, "the request before it counts");
    }
    let many =
        answer_to(server.address(), &[&HEALTH.repeat(20_000), NO_REQUEST].concat()).await.expect("answered");
    assert_eq!(many.status, 200);
    // Nobody reads these answers.
    let mut deaf = vec![];
    for _ in 0..20 {
        deaf.push(opened(server.address(), &HEALTH.repeat(500)).await);
    }
    watched.survived("garbage", &mut phone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_said_twice_or_too_often_never_make_a_request_of_somebody_else() {
    let server = ServerProcess::start().await;
    let mut phone = server.phone("ola").await;
    let kari = server.phone("kari").await;
    let body = framed(&phone.sync_request(vec![]));
    let watched = server.watch();
    let length = body.len();
    let send = async |lines: &str| {
        let head = post_head(&sync_path(), &phone.token, lines);
        answer_to(server.address(), &[head.as_bytes(), &body].concat()).await.expect("answered")
    };
    let second = format!("content-length: {length}\r\nauthorization: Bearer {}\r\n", kari.token);
    assert_eq!(send(&second).await.problem(), (401, Code::TokenExpired), "two tokens are none");
    let differing = format!("content-length: {length}\r\ncontent-length: 1\r\n");
    assert_eq!(send(&differing).await.status, 400);
    let both = format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n");
    assert!(matches!(send(&both).await.status, 400));
    let many = format!("content-length: {length}\r\n{}", "a: b\r\n".repeat(200));
    assert_eq!(send(&many).await.status, 431);
    for said in ["content-type: text/html\r\n", "content-type: \r\n", "content-encoding: gzip\r\n"] {
        let twice = format!("content-length: {length}\r\ncontent-type: {MEDIA_TYPE}\r\n{said}");
        assert_eq!(send(&twice).await.status, 200, "what is said of a frame counts for nothing: {said}");
    }
    watched.survived("headers", &mut phone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_stall_fill_a_bounded_room_and_the_rest_is_asked_for_patience() {
    let server = ServerProcess::start().await;
    let mut phone = server.phone("ola").await;
    let length = 1 << 20;
    let head = post_head(&sync_path(), &phone.token, &format!("content-length: {length}\r\n"));
    let most = [head.as_bytes(), &vec![b'H'; length - 1]].concat();
    let watched = server.watch();
    let mut stalled = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let (address, most) = (server.address(), most.clone());
        stalled
            .spawn(async move { answer_to(address, &most).await.is_some_and(|answer| answer.status == 503) });
    }
    // Some find room and are waited for; the others are told.
    for _ in 0..30 {
        let is_refused = stalled.join_next().await.expect("more than that many").expect("no panic");
        assert!(is_refused, "asked for patience");
    }
    stalled.shutdown().await;
    let idle = posting(&phone, &framed(&phone.sync_request(vec![])));
    while answer_to(server.address(), &idle).await.is_none_or(|response| response.status == 503) {}
    watched.survived("stalled bodies", &mut phone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_nobody_reads_fill_a_bounded_room() {
    let server = ServerProcess::start().await;
    let mut phone = server.phone("ola").await;
    let fresh = phone.sync_request(vec![]);
    for n in 0..60 {
        let note =
            (0..16_000u64).map(|at| char::from(b'!' + ((at * at * 7919 + n * 31 + at / 7) % 90) as u8));
        let note: String = note.collect();
        let fields = [
            ("title", text("t")),
            ("status", text("open")),
            ("minutes", integer(1)),
            ("language", text("norsk")),
        ];
        let (_, mut set) = create("activity", &fields);
        set.parts[0]
            .intents
            .push(haversack_core::Intent::Add { field: "tags".into(), element: note[..60].into() });
        phone.push(server.address(), &[set, create("team", &[("name", text(&note))]).1]).await;
    }
    let body = posting(&phone, &framed(&fresh));
    let watched = server.watch();
    let mut deaf = vec![];
    for _ in 0..200 {
        deaf.push(opened(server.address(), &body).await);
    }
    drop(deaf);
    let health = raw(server.address(), b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"");
    assert_eq!(health.await.status, 200);
    watched.survived("replies nobody reads", &mut phone).await;
}
