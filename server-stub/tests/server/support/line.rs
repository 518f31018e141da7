//! The device's end of a live connection; it answers pings as it reads, and only then.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use haversack_protocol::{FrameKind, LIVE_PROTOCOL, LiveClose, PokeBody, decode_only_frame};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{PATIENCE, Phone, Response, TENANT, raw};

/// What came over a live connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Poke(u64),
    Heartbeat,
    Closed(Option<LiveClose>),
}

pub(crate) struct Line(WebSocketStream<TcpStream>);

impl Line {
    /// Opens one and reads the first poke.
    pub(crate) async fn open(address: SocketAddr, phone: &Phone) -> (Self, u64) {
        let mut line = Self::open_unread(address, phone).await;
        let Heard::Poke(position) = line.hear().await else { panic!("begins with a poke") };
        (line, position)
    }

    pub(crate) async fn open_unread(address: SocketAddr, phone: &Phone) -> Self {
        let mut request =
            format!("ws://{address}/v1/t/{TENANT}/live").into_client_request().expect("a request");
        let mut header =
            |name, value: String| request.headers_mut().insert(name, value.parse().expect("plain"));
        header("authorization", format!("Bearer {}", phone.token));
        header("haversack-device", phone.device.to_string());
        header("sec-websocket-protocol", LIVE_PROTOCOL.to_owned());
        let stream = TcpStream::connect(address).await.expect("connected");
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.expect("opened");
        Self(socket)
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        match self.0.next().await {
            Some(Ok(Message::Binary(bytes))) => {
                let frame = decode_only_frame(&bytes).expect("a frame of ours");
                assert_eq!(frame.kind, FrameKind::Poke);
                Heard::Poke(frame.read::<PokeBody>().expect("a poke").position)
            }
            Some(Ok(Message::Ping(_))) => Heard::Heartbeat,
            Some(Ok(Message::Close(Some(frame)))) => Heard::Closed(LiveClose::of(frame.code.into())),
            None | Some(Err(_)) => Heard::Closed(None),
            other => panic!("{other:?}"),
        }
    }

    /// The next that is no heartbeat.
    pub(crate) async fn hear_news(&mut self) -> Heard {
        let news = async {
            loop {
                match self.hear().await {
                    Heard::Heartbeat => {}
                    news => return news,
                }
            }
        };
        tokio::time::timeout(PATIENCE, news).await.expect("there is news")
    }

    pub(crate) async fn say(&mut self, message: Message) {
        self.0.send(message).await.expect("sent");
    }
}

/// The answer to a request for a live connection with these headers.
pub(crate) async fn opening(address: SocketAddr, headers: &str) -> Response {
    let head = format!("GET /v1/t/{TENANT}/live HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    raw(address, head.as_bytes(), b"").await
}
