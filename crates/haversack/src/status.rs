//! How the store stands with the server.

use haversack_core::sync::Phase;
use haversack_protocol::UnixMillis;
use haversack_store::Counts;
use tokio::sync::watch;

/// Counts and sync state at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Records shown.
    pub records: u64,
    /// Change sets not sent yet.
    pub pending: u64,
    /// Change sets sent or being sent, without a verdict.
    pub sending: u64,
    /// Change sets the server refused whose input is kept.
    pub rejected: u64,
    /// Change sets taken back after repeated failure whose input is kept.
    pub parked: u64,
    /// Records with concurrent values.
    pub conflicts: u64,
    /// Notices not acknowledged.
    pub notices: u64,
    /// What the sync engine does.
    pub phase: Phase,
    /// When everything was last in step with the server.
    pub synced_at: Option<UnixMillis>,
    /// Why the last exchange failed; a word, never a value.
    pub last_error: Option<String>,
}

/// What a round trip did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Change sets accepted or refused during it.
    pub settled: u64,
    /// Requests it took.
    pub round_trips: u64,
    /// Change sets still without a verdict.
    pub unsettled: u64,
}

/// The sync side of a status, as the driver publishes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Progress {
    pub(crate) phase: Phase,
    pub(crate) synced_at: Option<UnixMillis>,
    pub(crate) last_error: Option<String>,
}

impl Progress {
    pub(crate) fn with(&self, counts: &Counts) -> Status {
        Status {
            records: counts.records,
            pending: counts.pending,
            sending: counts.sending,
            rejected: counts.rejected,
            parked: counts.parked,
            conflicts: counts.conflicts,
            notices: counts.notices,
            phase: self.phase,
            synced_at: self.synced_at,
            last_error: self.last_error.clone(),
        }
    }
}

/// A subscription to the sync state.
#[derive(Debug)]
pub struct StatusWatch(pub(crate) watch::Receiver<Progress>);

impl StatusWatch {
    /// Waits until the sync state changed; `None` when the store was closed.
    pub async fn changed(&mut self) -> Option<Phase> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().phase)
    }
}
