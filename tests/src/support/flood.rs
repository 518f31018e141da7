//! A live connection that pokes without measure, and holds sync replies back until all of it was read.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use haversack_protocol::{FrameKind, LIVE_PROTOCOL, PokeBody, encode_frame};
use haversack_testing::{Intercept, Meeting, Seen};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Longer than any story takes.
const FOR_EVER: Duration = Duration::from_secs(600);

/// Answers requests for live connections with so many pokes, each with a position of its own.
pub struct Flood {
    pokes: u64,
    is_rising: watch::Sender<bool>,
}

impl Flood {
    /// A flood of so many pokes.
    pub fn of(pokes: u64) -> Self {
        Self { pokes, is_rising: watch::Sender::new(false) }
    }

    /// Waits while pokes are being read.
    async fn ebbed(&self) {
        // The sender lives as long as this does.
        let _ = self.is_rising.subscribe().wait_for(|is_rising| !is_rising).await;
    }

    /// Answers the request for a live connection, and keeps it open once every poke was read.
    async fn pour(&self, request: &Seen, mut stream: TcpStream) -> Option<()> {
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
            socket.send(Message::binary(frame)).await.ok()?;
        }
        socket.send(Message::Ping(Vec::new().into())).await.ok()?;
        while !matches!(socket.next().await?.ok()?, Message::Pong(_)) {}
        self.is_rising.send_replace(false);
        tokio::time::sleep(FOR_EVER).await;
        Some(())
    }
}

impl Intercept for Flood {
    fn meet<'a>(&'a self, request: &'a Seen, stream: TcpStream) -> Meeting<'a> {
        Box::pin(async move {
            if request.path.ends_with("/live") {
                self.pour(request, stream).await;
                return None;
            }
            self.ebbed().await;
            Some(stream)
        })
    }
}
