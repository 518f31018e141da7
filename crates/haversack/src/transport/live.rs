//! The live connection: one upgraded request through the same client, TLS and proxy as every other.

use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use haversack_core::sync::LiveLoss;
use haversack_protocol::limits::{LIVE_MESSAGE_BYTES_MAX, LIVE_SILENCE_MS_MAX};
use haversack_protocol::{
    DeviceId, FrameKind, LIVE_DEVICE_HEADER, LIVE_PROTOCOL, LiveClose, PokeBody, decode_frames,
};
use reqwest::header::{
    AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{Response, StatusCode, Upgraded};
use tokio::time::{Instant, Sleep, sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::auth::Token;
use super::http::{Transport, bearer, retry_after};

/// Bytes of the buffers; messages are a few dozen.
const BUFFER_BYTES: usize = 1024;
const SILENCE_MAX: Duration = Duration::from_millis(LIVE_SILENCE_MS_MAX);
const BROKEN: LiveLoss = LiveLoss::Broken { retry_after_ms: None };

/// An open live connection.
pub(crate) struct LiveSocket {
    socket: WebSocketStream<Upgraded>,
    silence: Pin<Box<Sleep>>,
}

impl Transport {
    /// Opens the live connection of a device.
    pub(crate) async fn open_live(&self, token: &Token, device: DeviceId) -> Result<LiveSocket, LiveLoss> {
        let key = generate_key();
        let endpoint = self.endpoint("live").map_err(|_| LiveLoss::Absent)?;
        let request = self
            .client()
            .get(endpoint)
            .header(AUTHORIZATION, bearer(token).map_err(|_| LiveLoss::Token)?)
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key)
            .header(SEC_WEBSOCKET_PROTOCOL, LIVE_PROTOCOL)
            .header(LIVE_DEVICE_HEADER, device.to_string());
        let response = request.send().await.map_err(|_| BROKEN)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(loss_of(&response));
        }
        let has = |name, expected: &str| response.headers().get(name).is_some_and(|value| value == expected);
        // Both are computed or named by the server for this very request; no cache or portal answers so.
        if !has(SEC_WEBSOCKET_ACCEPT, &derive_accept_key(key.as_bytes()))
            || !has(SEC_WEBSOCKET_PROTOCOL, LIVE_PROTOCOL)
        {
            return Err(BROKEN);
        }
        let upgraded = response.upgrade().await.map_err(|_| BROKEN)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(BUFFER_BYTES)
            .max_message_size(Some(LIVE_MESSAGE_BYTES_MAX))
            .max_frame_size(Some(LIVE_MESSAGE_BYTES_MAX));
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        Ok(LiveSocket { socket, silence: Box::pin(sleep(SILENCE_MAX)) })
    }
}

/// What an answer means that opens nothing.
fn loss_of(response: &Response) -> LiveLoss {
    match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => LiveLoss::Token,
        // The last three: something on the way took the upgrade out of the request, or the server speaks another.
        StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::NOT_IMPLEMENTED
        | StatusCode::BAD_REQUEST
        | StatusCode::UPGRADE_REQUIRED => LiveLoss::Absent,
        _ => {
            let wait = retry_after(response).and_then(|wait| u64::try_from(wait.as_millis()).ok());
            LiveLoss::Broken { retry_after_ms: wait }
        }
    }
}

impl LiveSocket {
    /// Waits for the next position the server tells, answering its heartbeats. Dropping the wait loses nothing.
    pub(crate) async fn next(&mut self) -> Result<u64, LiveLoss> {
        loop {
            let message = tokio::select! {
                message = self.socket.next() => message,
                () = self.silence.as_mut() => return Err(BROKEN),
            };
            self.silence.as_mut().reset(Instant::now() + SILENCE_MAX);
            match message {
                Some(Ok(Message::Binary(bytes))) => {
                    if let Some(position) = read_poke(&bytes)? {
                        return Ok(position);
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(Some(frame))))
                    if LiveClose::of(frame.code.into()) == Some(LiveClose::Token) =>
                {
                    return Err(LiveLoss::Token);
                }
                _ => return Err(BROKEN),
            }
        }
    }
}

/// The position of a poke; `None` for frames of kinds that may be skipped.
fn read_poke(bytes: &[u8]) -> Result<Option<u64>, LiveLoss> {
    let frames = decode_frames(bytes).map_err(|_| BROKEN)?;
    let pokes = frames.iter().filter(|frame| frame.kind == FrameKind::Poke);
    let positions: Result<Vec<_>, _> = pokes.map(|frame| frame.read::<PokeBody>()).collect();
    Ok(positions.map_err(|_| BROKEN)?.last().map(|poke| poke.position))
}
