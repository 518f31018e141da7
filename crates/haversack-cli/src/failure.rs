//! Why a command failed, told to people and to programs.

use std::io;

use haversack::{EditRefusal, Error, Reference, SchemaRefusal, StoreError, TransportError};
use serde_json::{Value as Json, json};

use crate::exit::Exit;

/// Why a command failed. Messages hold names, never field values, keys or tokens.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The library refused or failed.
    #[error(transparent)]
    Library(#[from] Error),
    /// The schema file is no schema.
    #[error("the schema is refused: {0}")]
    Schema(#[from] SchemaRefusal),
    /// Nobody said where the store is.
    #[error("name the folder of the store: --store DIR, or the variable HAVERSACK_STORE")]
    NoFolder,
    /// The folder holds no schema and none was named.
    #[error("this folder holds no schema yet; name its file once with --schema FILE")]
    NoSchema,
    /// The schema given is older than the one remembered, or another one of the same version.
    #[error(
        "the store remembers version {remembered} of its schema; a changed schema needs a higher version than that"
    )]
    SchemaNotNewer {
        /// Version in the store's folder.
        remembered: u32,
    },
    /// A name that could not be one.
    #[error("{0:?} is neither a record id nor a server id")]
    NoName(String),
    /// No such record.
    #[error("record {0} is not on this device")]
    UnknownRecord(Reference),
    /// No such notice.
    #[error("there is no notice {0}")]
    UnknownNotice(i64),
    /// The reference server could not do what it was told.
    #[error(transparent)]
    Server(#[from] haversack_server::ServerError),
    /// A part of the command line that is no assignment or where clause.
    #[error("{0}")]
    Sentence(&'static str),
    /// Sets and counters have no single value to put.
    #[error("{0} holds no single value to put: +{0}=X adds X, -{0}=X takes X away")]
    NotPut(String),
    /// What the descriptor holds is no key.
    #[error("file descriptor {0} does not hold a key: 32 raw bytes, or 64 hexadecimal digits")]
    KeyForm(u32),
    /// The descriptor of the key cannot be read.
    #[error(
        "file descriptor {0} cannot be read; open it in the shell: haversack ... --key-fd {0} {0}<KEYFILE"
    )]
    KeyUnreadable(u32),
    /// The descriptor of the passphrase cannot be read.
    #[error(
        "file descriptor {0} cannot be read; open it in the shell: haversack ... --passphrase-fd {0} {0}<FILE"
    )]
    Passphrase(u32),
    /// The file of an organisation's public key holds something else.
    #[error("that file holds no X25519 public key: PEM as `openssl pkey -pubout` writes it, or 32 raw bytes")]
    PublicKey,
    /// The file of a derived secret holds something else.
    #[error("that file holds no derived secret: 32 raw bytes, as `openssl pkeyutl -derive` writes them")]
    SecretForm,
    /// The descriptor of the token cannot be read, or holds none.
    #[error(
        "file descriptor {0} holds no token; open it in the shell: haversack ... --token-fd {0} {0}<TOKENFILE"
    )]
    Token(u32),
    /// Nobody said which server, or only half of it.
    #[error("name the server wholly: --server, --tenant, --principal and --token-fd")]
    NoServer,
    /// The store belongs to nobody yet.
    #[error("this store belongs to nobody yet, so it cannot sign a mark; run `haversack sync` once")]
    NotBound,
    /// A file of the command line cannot be read or written.
    #[error("{what} cannot be read or written: {source}")]
    File {
        /// Which file.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The system gives no threads.
    #[error("the system gives this command no threads: {0}")]
    Threads(#[source] io::Error),
    /// Nobody reads the output any more, or it cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Library(error.into())
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        Self::Library(error.into())
    }
}

impl From<EditRefusal> for Failure {
    fn from(refusal: EditRefusal) -> Self {
        StoreError::from(refusal).into()
    }
}

impl Failure {
    /// Says whether the reader of the output went away, which is no failure of ours.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// How it ends the command.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Library(error) => Exit::of(error),
            Self::Schema(_)
            | Self::NoFolder
            | Self::NoSchema
            | Self::SchemaNotNewer { .. }
            | Self::NoName(_)
            | Self::Sentence(_)
            | Self::NotPut(_)
            | Self::NoServer => Exit::Usage,
            Self::UnknownRecord(_) | Self::UnknownNotice(_) => Exit::Refused,
            Self::KeyForm(_)
            | Self::KeyUnreadable(_)
            | Self::Passphrase(_)
            | Self::PublicKey
            | Self::SecretForm => Exit::Key,
            Self::Token(_) | Self::NotBound => Exit::Account,
            Self::File { .. } | Self::Output(_) | Self::Server(_) | Self::Threads(_) => Exit::Failed,
        }
    }

    /// The failure as programs read it.
    pub(crate) fn to_json(&self) -> Json {
        let (is_retryable, is_data_at_risk) = match self {
            Self::Library(error) => (error.is_retryable(), error.is_data_at_risk()),
            _ => (false, false),
        };
        json!({ "error": {
            "code": self.code(),
            "message": self.to_string(),
            "retryable": is_retryable,
            "data_at_risk": is_data_at_risk,
        } })
    }

    /// A stable word for programs.
    fn code(&self) -> &'static str {
        match self {
            Self::Library(error) => library_code(error),
            Self::Schema(_) | Self::SchemaNotNewer { .. } => "schema",
            Self::NoFolder => "no-store",
            Self::NoSchema => "no-schema",
            Self::NoName(_) | Self::Sentence(_) | Self::NotPut(_) | Self::NoServer => "usage",
            Self::UnknownRecord(_) => "unknown-record",
            Self::UnknownNotice(_) => "unknown-notice",
            Self::Server(_) => "server",
            Self::KeyForm(_) => "key-unusable",
            Self::KeyUnreadable(_) => "key-unreadable",
            Self::Passphrase(_) => "passphrase-unreadable",
            Self::PublicKey => "organisation-key-unusable",
            Self::SecretForm => "wrong-secret",
            Self::Token(_) => "token",
            Self::NotBound => "not-bound",
            Self::File { .. } => "file",
            Self::Threads(_) => "threads",
            Self::Output(_) => "output",
        }
    }
}

fn library_code(error: &Error) -> &'static str {
    match error {
        Error::Store(error) => store_code(error),
        Error::Transport(TransportError::Refused { code, .. }) => code.as_str(),
        Error::Transport(TransportError::Address) => "address",
        Error::Transport(TransportError::Unreachable) => "unreachable",
        Error::Transport(TransportError::Token) => "token",
        Error::Transport(TransportError::OtherPrincipal) => "other-principal",
        Error::Transport(_) => "transport",
        Error::NotConnected => "not-connected",
        Error::Deadline => "deadline",
        Error::Unsynced { .. } => "unsynced",
        Error::Closed => "closed",
        Error::Panicked => "panicked",
        Error::Type(_) => "type",
        _ => "failed",
    }
}

/// The stable word for a refusal of the store.
pub(crate) fn store_code(error: &StoreError) -> &'static str {
    match error {
        StoreError::StoreMissing => "store-missing",
        StoreError::KeyMissing => "key-missing",
        StoreError::KeyTemporarilyUnavailable => "key-locked",
        StoreError::NoKeyStore => "no-key-store",
        StoreError::KeyUnusable => "key-unusable",
        StoreError::WrongKey => "wrong-key",
        StoreError::NotEncrypted => "not-encrypted",
        StoreError::NotAStore => "not-a-store",
        StoreError::Corrupt => "corrupt",
        StoreError::SidecarUnreadable => "sidecar-unreadable",
        StoreError::MixedFiles => "mixed-files",
        StoreError::AlreadyOpen => "already-open",
        StoreError::Busy => "busy",
        StoreError::DiskFull => "disk-full",
        StoreError::ReadOnly => "read-only",
        StoreError::NoAccess => "no-access",
        StoreError::SchemaTooNew { .. } => "store-too-new",
        StoreError::Edit(refusal) => edit_code(refusal),
        StoreError::OutboxFull => "outbox-full",
        StoreError::UnknownChangeSet(_) => "unknown-change-set",
        StoreError::NotSetAside(_) => "not-set-aside",
        StoreError::UnknownRecord(_) => "unknown-record",
        StoreError::NotIndexed { .. } => "not-indexed",
        StoreError::NotSearched { .. } => "not-searched",
        StoreError::SearchTooLong => "search-too-long",
        StoreError::OtherPrincipal => "other-principal",
        StoreError::RecoverySlotMissing => "no-recovery-slot",
        StoreError::RecoverySlotUnreadable => "recovery-slot-unreadable",
        StoreError::RecoverySlotForeign => "recovery-slot-foreign",
        StoreError::RecoverySlotStale => "recovery-slot-stale",
        StoreError::WrongPassphrase => "wrong-passphrase",
        StoreError::PassphraseLength { .. } => "passphrase-length",
        StoreError::WrongSecret => "wrong-secret",
        StoreError::OrganisationKeyUnusable => "organisation-key-unusable",
        _ => "storage",
    }
}

/// A stable word for the refusal of an edit.
pub(crate) fn edit_code(refusal: &EditRefusal) -> &'static str {
    match refusal {
        EditRefusal::UnknownCollection(_) => "unknown-collection",
        EditRefusal::UnknownField { .. } => "unknown-field",
        EditRefusal::Value { .. } => "value",
        EditRefusal::WrongOperation { .. } => "wrong-operation",
        EditRefusal::Required { .. } => "required",
        EditRefusal::Forbidden { .. } => "forbidden",
        EditRefusal::UnknownRecord(_) => "unknown-record",
        EditRefusal::UnknownReference { .. } => "unknown-reference",
        EditRefusal::WrittenTwice { .. } => "written-twice",
        EditRefusal::TooLarge(_) => "too-large",
        _ => "edit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_learn_code_and_risk() {
        let failure = Failure::from(StoreError::WrongKey);
        assert_eq!(failure.exit(), Exit::Key);
        let json = failure.to_json();
        assert_eq!(json["error"]["code"], "wrong-key");
        assert_eq!(json["error"]["retryable"], false);
        assert_eq!(json["error"]["data_at_risk"], true);
    }

    #[test]
    fn only_a_reader_that_left_is_no_failure() {
        assert!(Failure::Output(io::ErrorKind::BrokenPipe.into()).is_broken_pipe());
        assert!(!Failure::Output(io::ErrorKind::StorageFull.into()).is_broken_pipe());
        assert!(!Failure::NoFolder.is_broken_pipe());
    }
}
