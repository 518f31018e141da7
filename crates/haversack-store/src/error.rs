//! What can go wrong with a store, and the questions callers ask about it.

use std::io;

use haversack_core::id_map::AssignmentRefusal;
use haversack_core::outbox::FreezeRefusal;
use haversack_core::{DocumentRefusal, EditRefusal};
use haversack_protocol::{ChangeSetId, RecordId};

/// Why the store could not do what was asked. Never holds SQL, a path, a key or a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store file is gone although its sidecar is there; only an explicit call starts anew.
    #[error("the store file is missing although its sidecar is there; restore it, or start anew explicitly")]
    StoreMissing,
    /// The file is there but the key store has no key for it. Nothing was created or touched.
    #[error("the key of this store is missing from the key store; nothing was changed")]
    KeyMissing,
    /// The key cannot be read right now: locked phone, no daemon.
    #[error("the key store cannot be read right now; try again when the device is unlocked")]
    KeyTemporarilyUnavailable,
    /// There is no key store on this machine.
    #[error(
        "this machine has no key store: start its Secret Service, or hand the key in over a file descriptor"
    )]
    NoKeyStore,
    /// What the key store gave is no key of ours.
    #[error("what the key store holds is not a key of this store")]
    KeyUnusable,
    /// The key is not this file's.
    #[error(
        "the key does not open this store; it belongs to another one, or the file was restored from elsewhere"
    )]
    WrongKey,
    /// The file is a database that is not encrypted.
    #[error("the file is a database without encryption, so it is not a store of ours; it was not touched")]
    NotEncrypted,
    /// The file is something else.
    #[error("the file is not a store of ours; it was not touched")]
    NotAStore,
    /// The right key, but damaged pages.
    #[error("the store is damaged; it was not touched, keep the file")]
    Corrupt,
    /// Another process or handle has it open.
    #[error("the store is already open in this or another process")]
    AlreadyOpen,
    /// Another writer holds it too long.
    #[error("the store is busy; try again")]
    Busy,
    /// No space left. What was stored before is safe.
    #[error("no space is left on the device; nothing was stored")]
    DiskFull,
    /// The folder or file cannot be written.
    #[error("the store cannot be written: the folder or file is read-only")]
    ReadOnly,
    /// No permission, or too many open files.
    #[error("the store cannot be opened: no access, or too many open files")]
    NoAccess,
    /// Made by a newer version of the library.
    #[error("the store was made by a newer version (format {found}, this one reads up to {known})")]
    SchemaTooNew {
        /// Format of the file.
        found: i64,
        /// Newest format known here.
        known: i64,
    },
    /// The disk or the file system failed.
    #[error("the disk failed: {0}")]
    Io(#[from] io::Error),
    /// The edit is refused on the spot.
    #[error(transparent)]
    Edit(#[from] EditRefusal),
    /// The outbox is full.
    #[error("the outbox holds as many unsent change sets as it may; connect and let it drain")]
    OutboxFull,
    /// The store belongs to somebody else.
    #[error("the store belongs to another principal or server; nothing was sent or stored")]
    OtherPrincipal,
    /// No server knows this device yet, so nothing can be authored for sending.
    #[error("the device is not registered with a server yet")]
    NotRegistered,
    /// No such entry in the outbox.
    #[error("the outbox has no change set {0}")]
    UnknownChangeSet(ChangeSetId),
    /// The entry is not in a state for this.
    #[error("change set {0} is not rejected, so it cannot be discarded or sent again")]
    NotRejected(ChangeSetId),
    /// No such record.
    #[error("record {0} is not on this device")]
    UnknownRecord(RecordId),
    /// The field cannot be filtered or sorted by.
    #[error("{collection}.{field} is not indexed, so it cannot be filtered or sorted by")]
    NotIndexed {
        /// Collection.
        collection: String,
        /// Field.
        field: String,
    },
    /// A confirmed document cannot be read.
    #[error("record {record}: {source}")]
    Document {
        /// The record.
        record: RecordId,
        /// Why.
        source: DocumentRefusal,
    },
    /// An entry cannot be authored.
    #[error(transparent)]
    Freeze(#[from] FreezeRefusal),
    /// The server sent an id map that contradicts itself; nothing of the page was applied.
    #[error("the server's id assignment is refused, nothing of the page was applied: {0}")]
    Assignment(#[from] AssignmentRefusal),
    /// Stored bytes do not read back as what was stored.
    #[error("a stored {0} does not read back; keep the file")]
    Unreadable(&'static str),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// SQLite failed in a way that has no better name.
    #[error("the database failed (code {code})")]
    Database {
        /// Extended SQLite result code.
        code: i32,
    },
}

impl StoreError {
    /// Says whether trying again later, unchanged, may succeed.
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::KeyTemporarilyUnavailable
                | Self::AlreadyOpen
                | Self::Busy
                | Self::DiskFull
                | Self::ReadOnly
                | Self::NoAccess
                | Self::Io(_)
                | Self::OutboxFull
        )
    }

    /// Says whether work on this device may be lost unless somebody acts.
    pub const fn is_data_at_risk(&self) -> bool {
        matches!(
            self,
            Self::StoreMissing
                | Self::KeyMissing
                | Self::KeyUnusable
                | Self::WrongKey
                | Self::Corrupt
                | Self::Unreadable(_)
                | Self::Document { .. }
        )
    }
}
