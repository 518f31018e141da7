//! The effects: registering, renewing a token, one exchange. The network is only ever awaited between transactions.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use haversack_core::sync::{Failure, Input, LiveLoss};
use haversack_protocol::limits::TOKEN_WAIT_MAX_MS;
use haversack_protocol::{ChangeSetId, DeviceRequest, ProtocolRange};
use haversack_store::{Identity, Store, Touched};

use super::exchange::{self, Applying, Asking, Exchanged, Outgoing};
use crate::client::run_blocking;
use crate::clock::Clock;
use crate::transport::{LiveSocket, Token, TokenProvider, TokenRefusal, Transport, TransportError};
use crate::watch::Commits;

/// What an effect came to.
pub(crate) struct Done {
    pub(crate) input: Input,
    pub(crate) error: Option<TransportError>,
    pub(crate) unsettled: u64,
}

impl Done {
    fn of(input: Input) -> Self {
        Self { input, error: None, unsettled: 0 }
    }
}

#[derive(Default)]
struct LinkState {
    token: Option<Token>,
    needs_renewal: bool,
    echo_in_full: bool,
}

/// The store, the server and the token: what effects work with.
pub(crate) struct Link {
    store: Arc<Store>,
    commits: Commits,
    transport: Transport,
    tokens: Arc<dyn TokenProvider>,
    clock: Arc<dyn Clock>,
    state: Mutex<LinkState>,
}

impl Link {
    pub(crate) fn new(
        store: Arc<Store>,
        commits: Commits,
        transport: Transport,
        tokens: Arc<dyn TokenProvider>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, commits, transport, tokens, clock, state: Mutex::default() }
    }

    fn with_state<T>(&self, work: impl FnOnce(&mut LinkState) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn token(&self) -> Result<Token, TransportError> {
        if let Some(token) = self.with_state(|state| state.token.clone()) {
            return Ok(token);
        }
        let renew = self.with_state(|state| std::mem::take(&mut state.needs_renewal));
        let patience = Duration::from_millis(TOKEN_WAIT_MAX_MS);
        let answer = tokio::time::timeout(patience, asked(&*self.tokens, renew)).await;
        let token = answer.ok().flatten().ok_or(TransportError::Token)?;
        self.with_state(|state| state.token = Some(token.clone()));
        Ok(token)
    }

    /// Asks the app for a fresh token.
    pub(crate) async fn renew_token(&self) -> Done {
        self.with_state(|state| (state.token, state.needs_renewal) = (None, true));
        let renewed = self.token().await;
        Done { error: renewed.as_ref().err().cloned(), ..Done::of(Input::TokenRenewed(renewed.is_ok())) }
    }

    /// Opens the live connection with the token at hand. Without one an exchange has to get it first.
    pub(crate) async fn open_live(&self) -> Result<LiveSocket, LiveLoss> {
        let token = self.with_state(|state| state.token.clone()).ok_or(LiveLoss::Token)?;
        let device = self.identity().await.ok().and_then(|identity| identity.device);
        let device = device.ok_or(LiveLoss::Broken { retry_after_ms: None })?;
        self.transport.open_live(&token, device).await
    }

    /// Registers this installation as a device of the token's principal.
    pub(crate) async fn register(&self) -> Done {
        match self.try_register().await {
            Ok(()) => Done::of(Input::Registered(Ok(()))),
            Err(error) => {
                let failure = Failure::from(error.clone());
                Done { error: Some(error), ..Done::of(Input::Registered(Err(failure))) }
            }
        }
    }

    async fn try_register(&self) -> Result<(), TransportError> {
        let token = self.token().await?;
        let identity = self.identity().await?;
        let request = DeviceRequest { protocol: ProtocolRange::OURS, installation: identity.installation };
        let reply = self.transport.register(&token, &request).await?;
        let server = self.transport.server();
        self.stored(self.telling(move |store| {
            let touched = exchange::bind(store, &server, &token.principal, &reply)?;
            Ok((touched.clone(), touched))
        }))
        .await
        .map(drop)
    }

    /// One round trip: lease and send, or take a change set back; read pages, apply each with its cursor.
    pub(crate) async fn exchange(&self, change_sets_max: usize, withdraw: Option<ChangeSetId>) -> Done {
        let mut pushed = Vec::new();
        let mut exchanged = self.try_exchange(change_sets_max, withdraw, &mut pushed).await;
        let unsettled = exchanged.as_ref().map_or(0, Exchanged::unsettled);
        let (mut input, mut error) = exchange::told(exchanged, &pushed);
        if let Some(failed) = error.clone() {
            let noted = pushed.clone();
            let noted = self.stored(move |store| exchange::note_failure(store, &noted, &failed)).await;
            if let Err(not_noted) = noted {
                exchanged = Err(not_noted);
                (input, error) = exchange::told(exchanged, &pushed);
            }
        }
        Done { input, error, unsettled }
    }

    async fn try_exchange(
        &self,
        change_sets_max: usize,
        withdraw: Option<ChangeSetId>,
        pushed: &mut Vec<ChangeSetId>,
    ) -> Result<Exchanged, TransportError> {
        let token = self.token().await?;
        let (principal, now) = (token.principal.clone(), self.clock.now());
        let echo_in_full = self.with_state(|state| state.echo_in_full);
        let lease = self.telling(move |store| {
            let asking = Asking { principal: &principal, now, echo_in_full, change_sets_max, withdraw };
            let mut outgoing = Outgoing::lease(store, asking)?;
            let touched = std::mem::take(&mut outgoing.touched);
            Ok((outgoing, touched))
        });
        let outgoing = self.stored(lease).await?;
        *pushed = outgoing.pushed();
        let reply = self.transport.sync(&token, &outgoing.request).await?;
        let mut applying = Applying::new(reply, &outgoing.request);
        loop {
            let step = self.telling(move |store| {
                let touched = applying.step(store)?;
                Ok((applying, touched.unwrap_or_default()))
            });
            applying = self.stored(step).await?;
            self.with_state(|state| state.echo_in_full = applying.echo_in_full());
            if let Some(exchanged) = applying.done() {
                return Ok(exchanged);
            }
        }
    }

    /// Work that tells watchers what it touched: from inside, so that they hear of it even when an exchange is dropped
    /// meanwhile.
    fn telling<T, W>(&self, work: W) -> impl FnOnce(&Store) -> Result<T, TransportError> + use<T, W>
    where
        W: FnOnce(&Store) -> Result<(T, Touched), TransportError>,
    {
        let commits = self.commits.clone();
        move |store| {
            let (done, touched) = work(store)?;
            commits.tell(&touched);
            Ok(done)
        }
    }

    async fn stored<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, TransportError> + Send + 'static,
    ) -> Result<T, TransportError> {
        let store = self.store.clone();
        run_blocking(move || work(&store)).await.map_err(|_| TransportError::NotStored)?
    }

    async fn identity(&self) -> Result<Identity, TransportError> {
        self.stored(|store| {
            store.identity().map_err(|error| {
                tracing::warn!(%error, "who the store speaks for could not be read");
                TransportError::NotStored
            })
        })
        .await
    }
}

/// Asks the app for a token. A provider that panics has none to give.
async fn asked(tokens: &dyn TokenProvider, renew: bool) -> Option<Token> {
    let mut asking = catch_unwind(AssertUnwindSafe(|| tokens.token(renew))).ok()?;
    let polled = poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| asking.as_mut().poll(context)));
        polled.unwrap_or(Poll::Ready(Err(TokenRefusal)))
    });
    polled.await.ok()
}
