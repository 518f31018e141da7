//! Live connections: who is poked and who is not, and how each of them ends.

use std::time::Duration;

use haversack_protocol::{Code, LIVE_PROTOCOL, LiveClose, Role};
use haversack_server::LiveSettings;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Heard, Line, Phone, TestServer, create, eventually, opening, text};

const LIVELY: LiveSettings =
    LiveSettings { heartbeat: Duration::from_millis(20), connections_max: 8, connections_per_device_max: 2 };

/// Pushes a record that is accepted and returns its position.
async fn accepted(server: &TestServer, phone: &mut Phone) -> u64 {
    let (_, set) = create("team", &[("name", text("nord"))]);
    phone.push(server.address(), std::slice::from_ref(&set)).await.position(set.id).expect("settled")
}

/// Pushes a record that is refused.
async fn refused(server: &TestServer, phone: &mut Phone) {
    let (_, set) = create("report", &[("body", text("ikke lov"))]);
    let reply = phone.push(server.address(), std::slice::from_ref(&set)).await;
    assert_eq!(reply.rejection(set.id).code, Code::Forbidden);
}

#[tokio::test]
async fn a_commit_pokes_everybody_but_its_author_and_a_refusal_pokes_nobody() {
    let server = TestServer::start().await;
    let mut kari = server.phone("kari", Role::Mentor).await;
    let mut ola = server.phone("ola", Role::Mentor).await;
    let (mut karis, _) = Line::open(server.address(), &kari).await;
    let (mut olas, _) = Line::open(server.address(), &ola).await;
    refused(&server, &mut kari).await;
    let by_kari = accepted(&server, &mut kari).await;
    assert_eq!(olas.hear_news().await, Heard::Poke(by_kari));
    refused(&server, &mut ola).await;
    let by_ola = accepted(&server, &mut ola).await;
    assert_eq!(karis.hear_news().await, Heard::Poke(by_ola), "the first news since it was opened");
    let (_, told) = Line::open(server.address(), &ola).await;
    assert_eq!(told, by_kari, "nobody is told of what she wrote herself");
}

#[tokio::test]
async fn what_happens_while_a_poke_is_unanswered_becomes_one_poke() {
    let server = TestServer::start().await;
    let kari = server.phone("kari", Role::Mentor).await;
    let mut ola = server.phone("ola", Role::Mentor).await;
    let (mut line, _) = Line::open(server.address(), &kari).await;
    let mut last = 0;
    for _ in 0..20 {
        last = accepted(&server, &mut ola).await;
    }
    assert_eq!(line.hear().await, Heard::Heartbeat, "the ping behind the first poke, not answered until now");
    assert_eq!(line.hear().await, Heard::Poke(last), "nineteen positions were never sent");
}

#[tokio::test]
async fn a_withdrawn_token_closes_the_connection() {
    let server = TestServer::start_with(LIVELY).await;
    let kari = server.phone("kari", Role::Mentor).await;
    let (mut line, _) = Line::open(server.address(), &kari).await;
    for _ in 0..3 {
        assert_eq!(line.hear().await, Heard::Heartbeat, "it stands while the token does");
    }
    server.withdraw_tokens();
    assert_eq!(line.hear_news().await, Heard::Closed(Some(LiveClose::Token)));
    eventually("its place is free", || server.running().live_connections() == 0).await;
}

#[tokio::test]
async fn who_does_not_read_is_dropped() {
    let server = TestServer::start_with(LIVELY).await;
    let kari = server.phone("kari", Role::Mentor).await;
    let line = Line::open_unread(server.address(), &kari).await;
    eventually("it is dropped", || server.running().live_connections() == 0).await;
    assert!(server.metrics().await.contains("haversack_live_closed_total{reason=\"slow\"} 1"));
    drop(line);
}

#[tokio::test]
async fn a_shutdown_closes_every_connection_and_says_so() {
    let mut server = TestServer::start().await;
    let kari = server.phone("kari", Role::Mentor).await;
    let (mut first, _) = Line::open(server.address(), &kari).await;
    let (mut second, _) = Line::open(server.address(), &kari).await;
    let (closed, also_closed, ()) = tokio::join!(first.hear_news(), second.hear_news(), server.restart());
    assert_eq!([closed, also_closed], [const { Heard::Closed(Some(LiveClose::Stopping)) }; 2]);
}

#[tokio::test]
async fn connections_are_bounded_per_device_by_replacing_and_in_all_by_patience() {
    let few = LiveSettings { connections_max: 3, connections_per_device_max: 2, ..LiveSettings::default() };
    let server = TestServer::start_with(few).await;
    let [kari, ola] = [server.phone("kari", Role::Mentor).await, server.phone("ola", Role::Mentor).await];
    let address = server.address();
    let (mut oldest, _) = Line::open(address, &kari).await;
    let _middle = Line::open(address, &kari).await;
    let _newest = Line::open(address, &kari).await;
    assert_eq!(oldest.hear_news().await, Heard::Closed(Some(LiveClose::Replaced)));
    drop(oldest);
    eventually("the oldest is gone", || server.running().live_connections() == 2).await;
    let _olas = Line::open(address, &ola).await;
    let upgrade = upgrade(&format!(
        "authorization: Bearer {}\r\nhaversack-device: {}\r\nsec-websocket-protocol: {LIVE_PROTOCOL}\r\n",
        ola.token, ola.device
    ));
    let response = opening(address, &upgrade).await;
    assert_eq!(response.problem(), (503, Code::Busy));
    assert!(response.head.contains("retry-after"));
}

fn upgrade(headers: &str) -> String {
    format!(
        "connection: upgrade, close\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}"
    )
}

#[tokio::test]
async fn a_connection_is_opened_for_a_good_token_its_own_device_and_a_known_protocol_only() {
    let server = TestServer::start().await;
    let [kari, ola] = [server.phone("kari", Role::Mentor).await, server.phone("ola", Role::Mentor).await];
    let protocol = format!("sec-websocket-protocol: {LIVE_PROTOCOL}\r\n");
    let token = format!("authorization: Bearer {}\r\n", kari.token);
    let device = format!("haversack-device: {}\r\n", kari.device);
    let cases = [
        (upgrade(&format!("{protocol}{device}")), (401, Code::TokenExpired)),
        (
            upgrade(&format!("{protocol}{token}haversack-device: {}\r\n", ola.device)),
            (403, Code::DeviceRevoked),
        ),
        (upgrade(&format!("{protocol}{token}")), (400, Code::Malformed)),
        (upgrade(&format!("sec-websocket-protocol: other\r\n{token}{device}")), (426, Code::Upgrade)),
        (format!("connection: close\r\n{token}{device}"), (400, Code::Malformed)),
    ];
    for (headers, expected) in cases {
        let response = opening(server.address(), &headers).await;
        assert_eq!(response.problem(), expected, "{headers}");
    }
    assert_eq!(server.running().live_connections(), 0);
}

#[tokio::test]
async fn a_device_that_talks_back_is_cut_off() {
    let server = TestServer::start().await;
    let kari = server.phone("kari", Role::Mentor).await;
    let messages = [Message::text("hei"), Message::binary(vec![0; 8])];
    for message in messages {
        let (mut line, _) = Line::open(server.address(), &kari).await;
        line.say(message).await;
        assert_eq!(line.hear_news().await, Heard::Closed(Some(LiveClose::Malformed)));
    }
    let (mut line, _) = Line::open(server.address(), &kari).await;
    line.say(Message::binary(vec![0; 1024 * 1024])).await;
    assert!(matches!(line.hear_news().await, Heard::Closed(_)), "nothing of that size is kept");
}
