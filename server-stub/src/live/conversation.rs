//! One live connection from its first poke to its end.
//!
//! A ping follows every poke and every heartbeat, and until it is answered nothing more is sent: whatever happens
//! meanwhile becomes one poke, and who does not read is dropped.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use haversack_protocol::{FrameKind, LiveClose, PokeBody, encode_frame};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::Place;
use crate::log::Head;
use crate::metrics::Metrics;

/// Heartbeats that may pass before a ping is answered.
const HEARTBEATS_UNANSWERED_MAX: u32 = 2;
/// How long the other side may take to answer that the connection is closed.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);

/// What one connection works with.
pub(crate) struct Conversation<T> {
    pub(crate) place: Place,
    pub(crate) heartbeat: Duration,
    pub(crate) moved: watch::Receiver<Head>,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) metrics: Arc<Metrics>,
    /// Says whether the token is still good.
    pub(crate) is_admitted: T,
}

/// Why a conversation ended.
enum End {
    /// The device hung up or its line broke.
    Gone,
    /// The server ends it.
    Closed(LiveClose),
}

/// A ping that waits for its answer.
#[derive(Default)]
struct Ping {
    is_unanswered: bool,
    heartbeats: u32,
}

enum Event {
    Heard(Option<Result<Message, axum::Error>>),
    Heartbeat,
    Moved,
    Ended(LiveClose),
}

impl<T: Fn() -> bool> Conversation<T> {
    /// Pokes until either side ends it. The place is given back with the connection.
    pub(crate) async fn hold(mut self, mut socket: WebSocket) {
        let end = self.converse(&mut socket).await;
        let reason = match end {
            End::Gone => "gone",
            End::Closed(reason) => {
                within(FAREWELL_TIME_MAX, farewell(&mut socket, reason)).await;
                reason.as_str()
            }
        };
        self.metrics.live_closed.count(reason);
    }

    async fn converse(&mut self, socket: &mut WebSocket) -> End {
        let mut beat = interval_at(Instant::now() + self.heartbeat, self.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut told, mut ping) = (None, Ping::default());
        loop {
            if !ping.is_unanswered {
                let position = self.moved.borrow_and_update().for_device(self.place.device());
                if told.replace(position) != Some(position) {
                    self.metrics.live_pokes.add(1);
                    if !self.send(socket, poke(position)).await || !self.ping(socket, &mut ping).await {
                        return End::Closed(LiveClose::Slow);
                    }
                }
            }
            let event = tokio::select! {
                biased;
                () = stopped(&mut self.stopping) => Event::Ended(LiveClose::Stopping),
                () = self.place.lost() => Event::Ended(LiveClose::Replaced),
                heard = socket.recv() => Event::Heard(heard),
                _ = beat.tick() => Event::Heartbeat,
                changed = self.moved.changed(), if !ping.is_unanswered => match changed {
                    Ok(()) => Event::Moved,
                    Err(_) => Event::Ended(LiveClose::Stopping),
                },
            };
            match event {
                Event::Ended(reason) => return End::Closed(reason),
                Event::Heard(Some(Ok(Message::Pong(_)))) => ping = Ping::default(),
                Event::Heard(Some(Ok(Message::Ping(_)))) | Event::Moved => {}
                Event::Heard(Some(Ok(Message::Text(_) | Message::Binary(_)))) => {
                    return End::Closed(LiveClose::Malformed);
                }
                Event::Heard(_) => return End::Gone,
                Event::Heartbeat if !(self.is_admitted)() => return End::Closed(LiveClose::Token),
                Event::Heartbeat if ping.is_unanswered => {
                    ping.heartbeats += 1;
                    if ping.heartbeats == HEARTBEATS_UNANSWERED_MAX {
                        return End::Closed(LiveClose::Slow);
                    }
                }
                Event::Heartbeat => {
                    if !self.ping(socket, &mut ping).await {
                        return End::Closed(LiveClose::Slow);
                    }
                }
            }
        }
    }

    async fn ping(&self, socket: &mut WebSocket, ping: &mut Ping) -> bool {
        *ping = Ping { is_unanswered: true, heartbeats: 0 };
        self.send(socket, Message::Ping(Bytes::new())).await
    }

    /// Sends a few bytes; false when the line does not take even those.
    async fn send(&self, socket: &mut WebSocket, message: Message) -> bool {
        timeout(self.heartbeat, socket.send(message)).await.is_ok_and(|sent| sent.is_ok())
    }
}

fn poke(position: u64) -> Message {
    let mut frame = Vec::new();
    encode_frame(FrameKind::Poke, &PokeBody { position }, &mut frame).expect("a poke is one number");
    Message::Binary(frame.into())
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A sender that is gone stops the server too.
    let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
}

async fn within(time_max: Duration, work: impl Future<Output = ()>) {
    // The connection is dropped either way.
    let _ = timeout(time_max, work).await;
}

/// Says why, and reads on until the other side has heard it.
async fn farewell(socket: &mut WebSocket, reason: LiveClose) {
    let frame = CloseFrame { code: reason.code(), reason: reason.as_str().into() };
    if socket.send(Message::Close(Some(frame))).await.is_ok() {
        while let Some(Ok(_)) = socket.recv().await {}
    }
}
