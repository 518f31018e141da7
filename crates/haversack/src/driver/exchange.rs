//! One exchange without its network: what is sent, and what an answer does to the store, one unit of work at a time.
//!
//! Whoever carries requests calls these in turn and may be dropped between any two of them: the driver over HTTP, a
//! simulation over a network of its own.

use std::vec;

use haversack_core::sync::{Failure, Input, Outcome, Sent};
use haversack_protocol::limits::PAGE_BYTES_TARGET;
use haversack_protocol::{
    ChangeSetId, Code, Cursor, DeviceReply, HelloBody, HintBody, PageBody, PrincipalId, ProtocolRange,
    SyncRequest, UnixMillis,
};
use haversack_store::{PageOutcome, Store, StoreError, Touched};

use crate::transport::{Reply, TransportError};

/// A request whose bytes are stored.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// What is sent.
    pub request: SyncRequest,
    /// What leasing touched.
    pub touched: Touched,
}

/// Asks for a request.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Whom the token speaks for.
    pub principal: &'a PrincipalId,
    /// The device's clock.
    pub now: UnixMillis,
    /// Own changes are wanted in full.
    pub echo_in_full: bool,
    /// Change sets in the push.
    pub change_sets_max: usize,
    /// A change set to take back.
    pub withdraw: Option<ChangeSetId>,
}

impl Outgoing {
    /// Leases a batch and makes the request that carries it.
    ///
    /// # Errors
    /// [`TransportError::OtherPrincipal`] before any payload leaves, [`TransportError::NotStored`] among others.
    pub fn lease(store: &Store, asking: Asking<'_>) -> Result<Self, TransportError> {
        let identity = store.identity().map_err(not_stored)?;
        if identity.principal.as_ref() != Some(asking.principal) {
            return Err(TransportError::OtherPrincipal);
        }
        let device = identity.device.ok_or(TransportError::Incomplete)?;
        let leased = store.lease_batch(asking.change_sets_max, asking.withdraw).map_err(not_stored)?;
        let request = SyncRequest {
            protocol: ProtocolRange::OURS,
            device,
            principal: asking.principal.clone(),
            push_ordinal: leased.push_ordinal,
            now: asking.now,
            schema_version: store.schema().version,
            cursor: store.cursor().map_err(not_stored)?,
            page_bytes_max: u32::try_from(PAGE_BYTES_TARGET).unwrap_or(u32::MAX),
            echo_in_full: asking.echo_in_full,
            push: leased.push,
            withdraw: leased.withdraw,
            erased_position: receipt(store),
        };
        Ok(Self { request, touched: leased.changed })
    }

    /// Change sets it carries.
    pub fn pushed(&self) -> Vec<ChangeSetId> {
        self.request.push.iter().map(|change_set| change_set.id).collect()
    }
}

/// Binds the store to the device that a first contact gave.
///
/// # Errors
/// [`TransportError::OtherPrincipal`] when it is somebody else's; nothing is changed then.
pub fn bind(
    store: &Store,
    server: &str,
    principal: &PrincipalId,
    reply: &DeviceReply,
) -> Result<Touched, TransportError> {
    if reply.principal != *principal {
        return Err(TransportError::OtherPrincipal);
    }
    store.bind(server, reply).map_err(|error| match error {
        StoreError::OtherPrincipal => TransportError::OtherPrincipal,
        error => not_stored(error),
    })
}

/// Where an answer stands on its way into the store.
#[derive(Debug)]
enum Stage {
    Hello(HelloBody),
    Pages(vec::IntoIter<PageBody>),
    Aged,
    End,
    Done(Exchanged),
}

/// An answer on its way into the store.
#[derive(Debug)]
pub struct Applying {
    stage: Stage,
    pages: Vec<PageBody>,
    hints: HintBody,
    asked: usize,
    receipt_given: Option<u64>,
    cursor_before: Option<Cursor>,
    was_in_full: bool,
    echo_in_full: bool,
    /// The next request differs from this one although nothing was read.
    asks_otherwise: bool,
    /// The server's clock.
    server_now: UnixMillis,
    more_to_read: bool,
    settled: usize,
}

impl Applying {
    /// Begins with the answer to a request.
    pub fn new(reply: Reply, request: &SyncRequest) -> Self {
        Self {
            server_now: reply.hello.now,
            stage: Stage::Hello(reply.hello),
            pages: reply.pages,
            hints: reply.hints,
            asked: request.push.len() + request.withdraw.len(),
            receipt_given: request.erased_position,
            cursor_before: None,
            was_in_full: request.echo_in_full,
            echo_in_full: request.echo_in_full,
            asks_otherwise: false,
            more_to_read: reply.end.more,
            settled: 0,
        }
    }

    /// Does one unit of work and returns what it touched.
    ///
    /// # Errors
    /// [`TransportError::NotStored`]; what was done before stays.
    pub fn step(&mut self, store: &Store) -> Result<Option<Touched>, TransportError> {
        self.advance(store).map_err(not_stored)
    }

    fn advance(&mut self, store: &Store) -> Result<Option<Touched>, StoreError> {
        match &mut self.stage {
            Stage::Hello(hello) => {
                store.set_role(hello.role)?;
                self.cursor_before = store.cursor()?;
                self.stage = Stage::Pages(std::mem::take(&mut self.pages).into_iter());
                Ok(None)
            }
            Stage::Pages(pages) => {
                let Some(page) = pages.next() else {
                    self.stage = if self.more_to_read { Stage::End } else { Stage::Aged };
                    return Ok(None);
                };
                let applied = store.apply_page(&page)?;
                self.settled += applied.accepted + applied.rejected;
                self.echo_in_full = applied.outcome == PageOutcome::NeedsFullEcho;
                if self.echo_in_full {
                    // Nothing of the page was stored; it is asked for again with every byte.
                    (self.more_to_read, self.asks_otherwise) = (true, !self.was_in_full);
                    self.stage = Stage::End;
                }
                if applied.outcome == PageOutcome::ReadAnew {
                    (self.more_to_read, self.asks_otherwise) = (true, true);
                    self.stage = Stage::End;
                }
                Ok(Some(applied.changed))
            }
            Stage::Aged => {
                self.stage = Stage::End;
                // What cannot be let go now is let go another day.
                Ok(store.let_go_aged(self.server_now).ok())
            }
            Stage::End => {
                self.stage = Stage::Done(self.end(store)?);
                Ok(None)
            }
            Stage::Done(_) => Ok(None),
        }
    }

    fn end(&self, store: &Store) -> Result<Exchanged, StoreError> {
        if !self.more_to_read {
            store.note_end_of_log()?;
        }
        store.note_hints(&self.hints)?;
        let has_moved = store.cursor()? != self.cursor_before;
        let owes_receipt = receipt(store) > self.receipt_given;
        let counts = store.counts()?;
        Ok(Exchanged {
            settled: self.settled,
            asked: self.asked,
            hinted: self.hints.hints.len(),
            more_to_read: self.more_to_read || owes_receipt,
            is_stuck: self.more_to_read && !has_moved && !self.asks_otherwise,
            unsettled: counts.pending + counts.sending,
        })
    }

    /// Says whether own changes are wanted in full from now on.
    pub fn echo_in_full(&self) -> bool {
        self.echo_in_full
    }

    /// What came of it, once all is done.
    pub fn done(&self) -> Option<Exchanged> {
        match &self.stage {
            Stage::Done(exchanged) => Some(*exchanged),
            _ => None,
        }
    }
}

/// What an exchange applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchanged {
    settled: usize,
    /// Change sets sent or taken back.
    asked: usize,
    hinted: usize,
    more_to_read: bool,
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

    /// Entries that wait or may have reached the server.
    pub fn unsettled(&self) -> u64 {
        self.unsettled
    }

    fn outcome(&self, sent: Sent) -> (Outcome, Option<TransportError>) {
        if !self.is_useless() {
            let Self { settled, more_to_read, unsettled, .. } = *self;
            return (Outcome::Applied { settled, more_to_read, more_to_send: unsettled > 0 }, None);
        }
        if self.is_undecided() {
            return (Outcome::Failed { failure: Failure::Undecided, sent }, None);
        }
        let failure = Failure::Transient { retry_after_ms: None };
        (Outcome::Failed { failure, sent }, Some(TransportError::Incomplete))
    }
}

/// What the engine is told of an exchange that carried these change sets, with the error there was.
pub fn told(
    exchanged: Result<Exchanged, TransportError>,
    pushed: &[ChangeSetId],
) -> (Input, Option<TransportError>) {
    let sent = Sent::of(pushed);
    let (outcome, error) = match exchanged {
        Ok(exchanged) => exchanged.outcome(sent),
        Err(error) => {
            let failure = Failure::from(error.clone());
            (Outcome::Failed { failure, sent }, Some(error))
        }
    };
    (Input::Exchanged(outcome), error)
}

/// Keeps what an exchange failed by: the attempt of what it carried, and a read position the server voided.
///
/// # Errors
/// [`TransportError::NotStored`] when the read position could not be given up.
pub fn note_failure(
    store: &Store,
    pushed: &[ChangeSetId],
    error: &TransportError,
) -> Result<(), TransportError> {
    if matches!(error, TransportError::Refused { code: Code::CursorReset, .. }) {
        // The read position is void; the outbox and the documents stay.
        store.reset_cursor().map_err(not_stored)?;
    }
    // An expired token never counts as an attempt.
    if !pushed.is_empty() && Failure::from(error.clone()) != Failure::Token {
        // The attempt counter is for display; failing to keep it loses nothing.
        let _ = store.note_failure(pushed, error.word(), None);
    }
    Ok(())
}

/// What the server may be told of erasures. What cannot be swept now is swept and told with a later exchange.
fn receipt(store: &Store) -> Option<u64> {
    store.sweep_erased().ok().flatten()
}

fn not_stored(error: StoreError) -> TransportError {
    tracing::warn!(%error, "an exchange could not be stored");
    TransportError::NotStored
}
