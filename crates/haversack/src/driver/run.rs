//! The loop: one message, timer or finished effect at a time; at most one effect under way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use haversack_core::sync::{Effect, Engine, Failure, Input, Live, LiveEffect, LiveInput, Outcome, Phase};
use haversack_protocol::{Code, FrameRefusal, UnixMillis};
use haversack_store::Store;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::effect::{Done, Link};
use super::line::Line;
use crate::clock::{self, Clock};
use crate::error::Error;
use crate::status::{Progress, SyncReport};
use crate::transport::{ServerAddress, TokenProvider, Transport, TransportError};
use crate::watch::Commits;

/// What the handle tells the loop.
pub(crate) enum Message {
    Connect {
        server: ServerAddress,
        tokens: Arc<dyn TokenProvider>,
        ready: oneshot::Sender<Result<(), Error>>,
    },
    Disconnect,
    Input(Input),
    SyncOnce(oneshot::Sender<Result<SyncReport, Error>>),
    Close,
}

type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// Everything the loop owns.
pub(crate) struct Driver {
    store: Arc<Store>,
    commits: Commits,
    progress: watch::Sender<Progress>,
    clock: Arc<dyn Clock>,
    engine: Engine,
    link: Option<Arc<Link>>,
    work: Option<Work>,
    wake_at: Option<UnixMillis>,
    /// When to hold a live connection; `None` when the app wants none.
    live: Option<Live>,
    line: Line,
    live_wake_at: Option<UnixMillis>,
    /// The last answer voided the read position.
    was_reset: bool,
    waiting: Vec<(oneshot::Sender<Result<SyncReport, Error>>, SyncReport)>,
}

impl Driver {
    pub(crate) fn new(
        store: Arc<Store>,
        commits: Commits,
        progress: watch::Sender<Progress>,
        wants_live: bool,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            commits,
            progress,
            clock,
            engine: Engine::default(),
            link: None,
            work: None,
            wake_at: None,
            live: wants_live.then(Live::default),
            line: Line::Down,
            live_wake_at: None,
            was_reset: false,
            waiting: vec![],
        }
    }

    pub(crate) fn spawn(self, messages: mpsc::UnboundedReceiver<Message>) -> JoinHandle<()> {
        tokio::spawn(self.run(messages))
    }

    async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>) {
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    None | Some(Message::Close) => return,
                    Some(message) => self.receive(message).await,
                },
                done = under_way(&mut self.work) => {
                    self.work = None;
                    self.finish(done);
                }
                () = hour(&*self.clock, self.wake_at) => {
                    self.wake_at = None;
                    self.step(Input::Woken);
                }
                input = self.line.next() => self.live_step(input),
                () = hour(&*self.clock, self.live_wake_at) => self.live_step(LiveInput::Woken),
            }
            self.follow();
            self.publish();
        }
    }

    async fn receive(&mut self, message: Message) {
        match message {
            Message::Connect { server, tokens, ready } => {
                let connected = self.connect(server, tokens).await;
                // The caller may have stopped waiting.
                let _ = ready.send(connected);
            }
            Message::Disconnect => {
                (self.link, self.work, self.wake_at) = (None, None, None);
                self.step(Input::Disconnected);
                self.publish();
                self.tell_waiting(|_| Err(Error::NotConnected));
            }
            Message::Input(input) => {
                if input == Input::Online(false) {
                    // The network it went over is gone; waiting for its silence would only hold the next try up.
                    self.work = None;
                }
                self.step(input);
            }
            Message::SyncOnce(done) if self.link.is_none() => drop(done.send(Err(Error::NotConnected))),
            Message::SyncOnce(done) => {
                self.waiting.push((done, SyncReport::default()));
                self.step(Input::SyncNow);
                self.publish();
                if self.engine.phase() == Phase::Offline {
                    self.tell_waiting(|_| Err(Error::Transport(TransportError::Unreachable)));
                }
            }
            Message::Close => {}
        }
    }

    async fn connect(&mut self, server: ServerAddress, tokens: Arc<dyn TokenProvider>) -> Result<(), Error> {
        let transport = Transport::new(server)?;
        let store = self.store.clone();
        let identity = crate::client::run_blocking(move || store.identity()).await??;
        let registered = identity.device.is_some() && identity.server.as_deref() == Some(&transport.server());
        self.work = None;
        (self.line, self.live_wake_at) = (Line::Down, None);
        self.live = self.live.as_ref().map(|_| Live::default());
        self.link = Some(Arc::new(Link::new(
            self.store.clone(),
            self.commits.clone(),
            transport,
            tokens,
            self.clock.clone(),
        )));
        self.step(Input::Connected { registered });
        Ok(())
    }

    /// Gives the engine one input and starts what it asks for.
    fn step(&mut self, input: Input) {
        for effect in self.engine.step(self.clock.now(), input, clock::entropy()) {
            let Some(link) = self.link.clone() else { continue };
            self.work = match effect {
                Effect::WakeAt(at) => {
                    self.wake_at = Some(at);
                    continue;
                }
                Effect::RenewToken => Some(Box::pin(async move { link.renew_token().await })),
                Effect::Register => Some(Box::pin(async move { link.register().await })),
                Effect::Exchange { change_sets_max, withdraw } => {
                    Some(Box::pin(async move { link.exchange(change_sets_max, withdraw).await }))
                }
                _ => continue,
            };
        }
    }

    /// Lets the live connection follow what the engine knows of network and server.
    fn follow(&mut self) {
        let input = match self.engine.phase() {
            Phase::Disconnected | Phase::Offline | Phase::Blocked(_) => LiveInput::Severed,
            _ => LiveInput::InTouch(self.engine.is_in_touch()),
        };
        self.live_step(input);
    }

    /// Tells what happened to the live connection and does what follows.
    fn live_step(&mut self, input: LiveInput) {
        let Some(live) = &mut self.live else { return };
        self.live_wake_at = None;
        for effect in live.step(self.clock.now(), input, clock::entropy()) {
            match effect {
                LiveEffect::Open => {
                    let Some(link) = self.link.clone() else { continue };
                    self.line = Line::Opening(Box::pin(async move { link.open_live().await }));
                }
                LiveEffect::Drop => self.line = Line::Down,
                LiveEffect::Poke => self.step(Input::Poked),
                LiveEffect::WakeAt(at) => self.live_wake_at = Some(at),
            }
        }
    }

    fn finish(&mut self, done: Done) {
        if let Input::Exchanged(Outcome::Applied { settled, .. }) = &done.input {
            for (_, report) in &mut self.waiting {
                report.settled += *settled as u64;
                report.round_trips += 1;
            }
        }
        let error = done.error.clone();
        self.progress.send_if_modified(|progress| {
            let is_changed = progress.last_error != done.error.as_ref().map(|error| error.word().to_owned());
            progress.last_error = done.error.as_ref().map(|error| error.word().to_owned());
            is_changed
        });
        let is_token = matches!(
            done.input,
            Input::Exchanged(Outcome::Failed { failure: Failure::Token, .. })
                | Input::Registered(Err(Failure::Token))
        );
        let is_reset = matches!(error, Some(TransportError::Refused { code: Code::CursorReset, .. }));
        let was_reset = std::mem::replace(&mut self.was_reset, is_reset);
        let unsettled = done.unsettled;
        let is_undecided =
            matches!(done.input, Input::Exchanged(Outcome::Failed { failure: Failure::Undecided, .. }));
        self.step(done.input);
        // Whoever is told next must find the state as it is now.
        self.publish();
        // A refused token is asked for anew and a void position read anew before anybody is told; what is refused again is
        // told.
        let is_mended =
            is_reset && !was_reset || is_token && !matches!(self.engine.phase(), Phase::Waiting { .. });
        if let Some(error) = error.filter(|_| !is_mended) {
            self.tell_waiting(|_| Err(Error::Transport(error.clone())));
        } else if is_undecided {
            self.tell_waiting(|report| Ok(SyncReport { unsettled, ..report }));
        } else if self.engine.phase() == Phase::Idle {
            let now = self.clock.now();
            self.progress.send_modify(|progress| progress.synced_at = Some(now));
            self.tell_waiting(|report| Ok(SyncReport { unsettled, ..report }));
        }
    }

    fn tell_waiting(&mut self, answer: impl Fn(SyncReport) -> Result<SyncReport, Error>) {
        for (done, report) in self.waiting.drain(..) {
            // The caller may have stopped waiting.
            let _ = done.send(answer(report));
        }
    }

    fn publish(&mut self) {
        let phase = self.engine.phase();
        self.progress.send_if_modified(|progress| std::mem::replace(&mut progress.phase, phase) != phase);
    }
}

/// Waits until the hour has come, for ever when there is none.
async fn hour(clock: &dyn Clock, at: Option<UnixMillis>) {
    match at {
        Some(at) => clock.until(at).await,
        None => std::future::pending().await,
    }
}

async fn under_way(work: &mut Option<Work>) -> Done {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Refused { code, retry_after } => {
                let ms = retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                Self::of(code, ms)
            }
            TransportError::Token => Self::Token,
            // A kind of frame that must be understood and is not: only a newer version helps.
            TransportError::Answer(FrameRefusal::UnknownKind(_)) => Self::Blocked(Code::Upgrade),
            TransportError::OtherPrincipal | TransportError::Address | TransportError::Tls => {
                Self::Blocked(Code::Tenant)
            }
            _ => Self::Transient { retry_after_ms: None },
        }
    }
}
