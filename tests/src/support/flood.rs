//! A live connection that pokes without measure, and holds sync replies back until all of it was read.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use haversack_protocol::{FrameKind, LIVE_PROTOCOL, PokeBody, encode_frame};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Live;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::http::Message;

/// Longer than any story takes.
const FOR_EVER: Duration = Duration::from_secs(600);

/// So many pokes, each with a position of its own.
pub(super) struct Flood {
    pokes: u64,
    is_rising: watch::Sender<bool>,
}

impl Flood {
    pub(super) fn of(pokes: u64) -> Self {
        Self { pokes, is_rising: watch::Sender::new(false) }
    }

    /// Waits while pokes are being read.
    pub(super) async fn ebbed(&self) {
        // The sender lives as long as this does.
        let _ = self.is_rising.subscribe().wait_for(|is_rising| !is_rising).await;
    }

    /// Answers the request for a live connection, and keeps it open once every poke was read.
    pub(super) async fn pour(&self, request: &Message, mut stream: TcpStream) -> Option<()> {
        let accept = derive_accept_key(request.header("sec-websocket-key")?.as_bytes());
        self.is_rising.send_replace(true);
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-protocol: {LIVE_PROTOCOL}\r\nsec-websocket-accept: {accept}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        for position in 1..=self.pokes {
            let mut frame = Vec::new();
            encode_frame(FrameKind::Poke, &PokeBody { position }, &mut frame).expect("one number");
            socket.send(Live::binary(frame)).await.ok()?;
        }
        socket.send(Live::Ping(Vec::new().into())).await.ok()?;
        while !matches!(socket.next().await?.ok()?, Live::Pong(_)) {}
        self.is_rising.send_replace(false);
        tokio::time::sleep(FOR_EVER).await;
        Some(())
    }
}
