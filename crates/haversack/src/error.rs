//! What a call can fail with, and the questions to ask about it.

use std::time::Duration;

use haversack_core::{EditRefusal, TypeRefusal};
use haversack_protocol::Code;
use haversack_store::StoreError;

use crate::transport::TransportError;

/// Why a call failed. A refusal by the server is not an error: it is a rejected entry in the outbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed or refused the edit.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server could not be reached or understood.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A record and a type of the app do not fit each other; nothing was stored.
    #[error(transparent)]
    Type(#[from] TypeRefusal),
    /// No server was connected.
    #[error("no server is connected; call connect first")]
    NotConnected,
    /// The deadline passed before the round trip ended; it goes on in the background.
    #[error("the deadline passed; delivery goes on in the background")]
    Deadline,
    /// Work on this device has not reached the server.
    #[error("{count} change sets have not reached the server; keep or discard them explicitly")]
    Unsynced {
        /// How many.
        count: u64,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// Something inside a call panicked: the library's own code, or the app's key provider.
    #[error("the call failed inside and was rolled back; the store goes on")]
    Panicked,
}

/// What kind of thing went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's edit or question does not fit the schema or the state.
    Invalid,
    /// The key is missing, wrong or unreadable.
    Key,
    /// The file is missing, damaged, foreign or not accessible.
    Storage,
    /// The network or the server.
    Network,
    /// The token or the account.
    Account,
    /// The store is closed or open elsewhere.
    Unavailable,
    /// A defect; worth a report.
    Internal,
}

impl Error {
    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => store_kind(error),
            Self::Transport(TransportError::Refused {
                code: Code::TokenExpired | Code::Tenant | Code::DeviceRevoked,
                ..
            })
            | Self::Transport(TransportError::Token | TransportError::OtherPrincipal)
            | Self::Unsynced { .. } => ErrorKind::Account,
            Self::Transport(_) | Self::Deadline => ErrorKind::Network,
            Self::NotConnected | Self::Type(_) => ErrorKind::Invalid,
            Self::Closed => ErrorKind::Unavailable,
            Self::Panicked => ErrorKind::Internal,
        }
    }

    /// Says whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Transport(error) => error.is_retryable(),
            Self::Deadline => true,
            _ => false,
        }
    }

    /// How long the server asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Transport(TransportError::Refused { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }

    /// Says whether work on this device may be lost unless somebody acts.
    pub fn is_data_at_risk(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_data_at_risk())
    }

    /// The refusal of an edit, when that is what it is.
    pub fn edit_refusal(&self) -> Option<&EditRefusal> {
        match self {
            Self::Store(StoreError::Edit(refusal)) => Some(refusal),
            _ => None,
        }
    }
}

fn store_kind(error: &StoreError) -> ErrorKind {
    match error {
        StoreError::KeyMissing
        | StoreError::KeyTemporarilyUnavailable
        | StoreError::NoKeyStore
        | StoreError::KeyUnusable
        | StoreError::WrongKey
        | StoreError::RecoverySlotMissing
        | StoreError::RecoverySlotUnreadable
        | StoreError::RecoverySlotForeign
        | StoreError::RecoverySlotStale
        | StoreError::WrongPassphrase
        | StoreError::WrongSecret
        | StoreError::OrganisationKeyUnusable
        | StoreError::PassphraseLength { .. } => ErrorKind::Key,
        StoreError::AlreadyOpen | StoreError::Busy | StoreError::Closed => ErrorKind::Unavailable,
        StoreError::Edit(_)
        | StoreError::OutboxFull
        | StoreError::UnknownChangeSet(_)
        | StoreError::NotSetAside(_)
        | StoreError::UnknownRecord(_)
        | StoreError::NotIndexed { .. }
        | StoreError::NotSearched { .. }
        | StoreError::SearchTooLong => ErrorKind::Invalid,
        _ => ErrorKind::Storage,
    }
}
