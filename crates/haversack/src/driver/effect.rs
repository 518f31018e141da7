//! The effects: registering, renewing a token, one exchange. The network is only ever awaited between transactions.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use haversack_core::sync::{Failure, Input, LiveLoss, Outcome, Sent};
use haversack_protocol::limits::{PAGE_BYTES_TARGET, TOKEN_WAIT_MAX_MS};
use haversack_protocol::{
    ChangeSetId, Code, DeviceId, DeviceRequest, PrincipalId, ProtocolRange, SyncRequest,
};
use haversack_store::{Leased, PageOutcome, Store, StoreError, Touched};

use crate::client::run_blocking;
use crate::clock::Clock;
use crate::transport::{LiveSocket, Reply, Token, TokenProvider, TokenRefusal, Transport, TransportError};
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
    /// Position of the last receipt for erasures that arrived.
    receipt_given: Option<u64>,
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

/// What an exchange applied.
struct Exchanged {
    settled: usize,
    /// Change sets sent or taken back.
    asked: usize,
    hinted: usize,
    more_to_read: bool,
    more_to_send: bool,
    /// It promised more, but nothing of it could be read: asking again at once would bring the same.
    is_stuck: bool,
    unsettled: u64,
}

impl Exchanged {
    /// It decided nothing of what was sent and brought nothing more: never ask again at once.
    fn is_useless(&self) -> bool {
        self.is_stuck || (self.asked > 0 && self.settled == 0 && !self.more_to_read)
    }

    /// It says of every change set sent what that waits for.
    fn is_undecided(&self) -> bool {
        !self.is_stuck && self.hinted >= self.asked
    }
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
        let identity = self.stored(Store::identity).await;
        let device = identity.ok().and_then(|identity| identity.device);
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
        let identity = self.stored(Store::identity).await?;
        let request = DeviceRequest { protocol: ProtocolRange::OURS, installation: identity.installation };
        let reply = self.transport.register(&token, &request).await?;
        if reply.principal != token.principal {
            return Err(TransportError::OtherPrincipal);
        }
        let server = self.transport.server();
        let bind = self.telling(move |store| store.bind(&server, &reply), |touched| touched);
        let bound = self.stored_or(bind).await?;
        bound.map(drop).map_err(|error| match error {
            StoreError::OtherPrincipal => TransportError::OtherPrincipal,
            _ => TransportError::NotStored,
        })
    }

    /// One round trip: lease and send, or take a change set back; read pages, apply each with its cursor.
    pub(crate) async fn exchange(&self, change_sets_max: usize, withdraw: Option<ChangeSetId>) -> Done {
        let mut pushed = Vec::new();
        let exchanged = self.try_exchange(change_sets_max, withdraw, &mut pushed).await;
        let sent = Sent::of(&pushed);
        let failed = |failure| Input::Exchanged(Outcome::Failed { failure, sent });
        match exchanged {
            Ok(done) if done.is_useless() && done.is_undecided() => {
                Done { input: failed(Failure::Undecided), error: None, unsettled: done.unsettled }
            }
            Ok(done) if done.is_useless() => {
                self.note_failure(pushed, &TransportError::Incomplete).await;
                let input = failed(Failure::Transient { retry_after_ms: None });
                Done { input, error: Some(TransportError::Incomplete), unsettled: done.unsettled }
            }
            Ok(done) => {
                let outcome = Outcome::Applied {
                    settled: done.settled,
                    more_to_read: done.more_to_read,
                    more_to_send: done.more_to_send,
                };
                Done { input: Input::Exchanged(outcome), error: None, unsettled: done.unsettled }
            }
            Err(error) => {
                self.note_failure(pushed, &error).await;
                let input = failed(Failure::from(error.clone()));
                Done { error: Some(error), ..Done::of(input) }
            }
        }
    }

    async fn try_exchange(
        &self,
        change_sets_max: usize,
        withdraw: Option<ChangeSetId>,
        pushed: &mut Vec<ChangeSetId>,
    ) -> Result<Exchanged, TransportError> {
        let token = self.token().await?;
        let identity = self.stored(Store::identity).await?;
        // Checked before any payload leaves.
        if identity.principal.as_ref() != Some(&token.principal) {
            return Err(TransportError::OtherPrincipal);
        }
        let device = identity.device.ok_or(TransportError::Incomplete)?;
        let lease = move |store: &Store| store.lease_batch(change_sets_max, withdraw);
        let leased = self.stored(self.telling(lease, |leased| &leased.changed)).await?;
        let request = self.request(device, token.principal.clone(), leased).await?;
        let receipt = request.erased_position;
        pushed.extend(request.push.iter().map(|change_set| change_set.id));
        let reply = match self.transport.sync(&token, &request).await {
            Err(TransportError::Refused { code: Code::CursorReset, retry_after }) => {
                // The read position is void; the outbox and the documents stay.
                self.stored(Store::reset_cursor).await?;
                return Err(TransportError::Refused { code: Code::CursorReset, retry_after });
            }
            answer => answer?,
        };
        self.with_state(|state| state.receipt_given = state.receipt_given.max(receipt));
        self.apply(reply, request.push.len() + request.withdraw.len()).await
    }

    async fn request(
        &self,
        device: DeviceId,
        principal: PrincipalId,
        leased: Leased,
    ) -> Result<SyncRequest, TransportError> {
        let cursor = self.stored(Store::cursor).await?;
        Ok(SyncRequest {
            protocol: ProtocolRange::OURS,
            device,
            principal,
            push_ordinal: leased.push_ordinal,
            now: self.clock.now(),
            schema_version: self.store.schema().version,
            cursor,
            page_bytes_max: u32::try_from(PAGE_BYTES_TARGET).unwrap_or(u32::MAX),
            echo_in_full: self.with_state(|state| state.echo_in_full),
            push: leased.push,
            withdraw: leased.withdraw,
            erased_position: self.receipt().await,
        })
    }

    /// What the server may be told of erasures. What cannot be swept now is swept and told with a later exchange.
    async fn receipt(&self) -> Option<u64> {
        self.stored(Store::sweep_erased).await.ok().flatten()
    }

    async fn apply(&self, reply: Reply, asked: usize) -> Result<Exchanged, TransportError> {
        let Reply { hello, pages, hints, end } = reply;
        self.stored(move |store| store.set_role(hello.role)).await?;
        let before = self.stored(Store::cursor).await?;
        let was_in_full = self.with_state(|state| state.echo_in_full);
        let (mut settled, mut more_to_read, mut asks_in_full) = (0, end.more, false);
        for page in pages {
            let apply = self.telling(move |store| store.apply_page(&page), |applied| &applied.changed);
            let applied = self.stored(apply).await?;
            settled += applied.accepted + applied.rejected;
            let needs_full = applied.outcome == PageOutcome::NeedsFullEcho;
            self.with_state(|state| state.echo_in_full = needs_full);
            if needs_full {
                // Nothing of the page was stored; it is asked for again with every byte.
                (more_to_read, asks_in_full) = (true, !was_in_full);
                break;
            }
        }
        if !more_to_read {
            self.stored(Store::note_end_of_log).await?;
        }
        let hinted = hints.hints.len();
        self.stored(move |store| store.note_hints(&hints)).await?;
        let has_moved = self.stored(Store::cursor).await? != before;
        let is_stuck = more_to_read && !has_moved && !asks_in_full;
        let owes_receipt = self.receipt().await > self.with_state(|state| state.receipt_given);
        let more_to_read = more_to_read || owes_receipt;
        let counts = self.stored(Store::counts).await?;
        let unsettled = counts.pending + counts.sending;
        Ok(Exchanged {
            settled,
            asked,
            hinted,
            more_to_read,
            more_to_send: unsettled > 0,
            is_stuck,
            unsettled,
        })
    }

    async fn note_failure(&self, sent: Vec<ChangeSetId>, error: &TransportError) {
        // An expired token never counts as an attempt.
        if sent.is_empty() || Failure::from(error.clone()) == Failure::Token {
            return;
        }
        let word = error.word();
        // The attempt counter is for display; failing to keep it loses nothing.
        let _ = self.stored(move |store| store.note_failure(&sent, word, None)).await;
    }

    /// Work that tells watchers what it touched: from inside, so that they hear of it even when an exchange is dropped
    /// meanwhile.
    fn telling<T, W>(
        &self,
        work: W,
        touched: fn(&T) -> &Touched,
    ) -> impl FnOnce(&Store) -> Result<T, StoreError> + use<T, W>
    where
        W: FnOnce(&Store) -> Result<T, StoreError>,
    {
        let commits = self.commits.clone();
        move |store| {
            let done = work(store)?;
            commits.tell(touched(&done));
            Ok(done)
        }
    }

    async fn stored<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, TransportError> {
        self.stored_or(work).await?.map_err(|error| {
            tracing::warn!(%error, "an exchange could not be stored");
            TransportError::NotStored
        })
    }

    async fn stored_or<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Result<T, StoreError>, TransportError> {
        let store = self.store.clone();
        run_blocking(move || work(&store)).await.map_err(|_| TransportError::NotStored)
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
