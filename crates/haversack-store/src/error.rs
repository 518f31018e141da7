//! What can go wrong with a store, and the questions callers ask about it.

use std::io;

use haversack_core::id_map::AssignmentRefusal;
use haversack_core::outbox::FreezeRefusal;
use haversack_core::{DocumentRefusal, EditRefusal};
use haversack_protocol::limits::SEARCH_BYTES_MAX;
use haversack_protocol::{ChangeSetId, RecordId};
use rusqlite::ffi;

/// Why the store could not do what was asked. Never holds SQL, a path, a key or a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store file is gone although its sidecar is there, or was taken away while the store was open; only an explicit
    /// call starts anew.
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
    /// The sidecar is gone or does not read, so nobody can tell which key the file needs. Nothing was touched.
    #[error("the sidecar of the store is missing or does not read; restore it, nothing was changed")]
    SidecarUnreadable,
    /// Sidecar and store file belong to different stores.
    #[error("the sidecar and the store file belong to different stores; put the files of one store together")]
    MixedFiles,
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
    /// No memory left. What was stored before is safe.
    #[error("no memory is left; nothing was stored")]
    OutOfMemory,
    /// The disk or the file system failed.
    #[error("the disk failed: {0}")]
    Io(#[source] io::Error),
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
    #[error("change set {0} is on its way; only a rejected or parked one can be discarded or sent again")]
    NotSetAside(ChangeSetId),
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
    /// A collection none of whose fields is searched.
    #[error("no field of collection {collection:?} is searched, so its words cannot be")]
    NotSearched {
        /// Collection.
        collection: String,
    },
    /// More words than one search may ask for.
    #[error("a search asks for at most {SEARCH_BYTES_MAX} bytes of words")]
    SearchTooLong,
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
    /// There is no recovery slot.
    #[error("this store has no recovery slot")]
    RecoverySlotMissing,
    /// The recovery slot does not read.
    #[error("the recovery slot is damaged; restore its file from elsewhere")]
    RecoverySlotUnreadable,
    /// The recovery slot belongs to another store.
    #[error("the recovery slot belongs to another store")]
    RecoverySlotForeign,
    /// The recovery slot holds a key the store no longer has.
    #[error("the recovery slot holds a key this store no longer has; add it anew")]
    RecoverySlotStale,
    /// The passphrase does not open the recovery slot.
    #[error("the passphrase does not open the recovery slot, or somebody changed it")]
    WrongPassphrase,
    /// A passphrase is too short or too long.
    #[error("a passphrase takes {min} to {max} bytes")]
    PassphraseLength {
        /// Fewest bytes.
        min: usize,
        /// Most bytes.
        max: usize,
    },
    /// The secret does not open the slot under an organisation's key.
    #[error(
        "the secret does not open the recovery slot: it was derived for another one, or somebody changed it"
    )]
    WrongSecret,
    /// Nothing can be agreed on with the organisation's public key.
    #[error("the organisation's public key is no X25519 key of use")]
    OrganisationKeyUnusable,
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
                | Self::OutOfMemory
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
                | Self::SidecarUnreadable
                | Self::MixedFiles
                | Self::Unreadable(_)
                | Self::Document { .. }
                | Self::RecoverySlotUnreadable
                | Self::RecoverySlotForeign
                | Self::RecoverySlotStale
        )
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        if has_too_many_files_open(&error) {
            return Self::NoAccess;
        }
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::NoAccess,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            io::ErrorKind::OutOfMemory => Self::OutOfMemory,
            _ => Self::Io(error),
        }
    }
}

/// The standard library has no kind for the limit on open files of a process (24) or a machine (23).
fn has_too_many_files_open(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

impl From<rusqlite::Error> for StoreError {
    /// Names a failure of SQLite. What SQLite says in words is dropped: it may quote SQL, paths or values.
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::SqliteFailure(failure, _) => named(failure.extended_code),
            rusqlite::Error::SqlInputError { error: failure, .. } => named(failure.extended_code),
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
            | rusqlite::Error::InvalidColumnType(..) => Self::Unreadable("column"),
            _ => Self::Database { code: ffi::SQLITE_MISUSE },
        }
    }
}

/// Gives the name of an extended result code. "Not a database" means damage here: the key check value is compared
/// before a file is opened, so a key that does not fit never gets this far.
pub(crate) fn named(extended: i32) -> StoreError {
    match (extended & 0xff, extended) {
        (_, ffi::SQLITE_IOERR_NOMEM) | (ffi::SQLITE_NOMEM, _) => StoreError::OutOfMemory,
        (ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED, _) => StoreError::Busy,
        // The index of the log is made by writing one byte to each of its pages.
        (ffi::SQLITE_FULL, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => StoreError::DiskFull,
        (ffi::SQLITE_READONLY, _) => StoreError::ReadOnly,
        (ffi::SQLITE_CANTOPEN | ffi::SQLITE_PERM | ffi::SQLITE_AUTH, _) => StoreError::NoAccess,
        (ffi::SQLITE_NOTADB | ffi::SQLITE_CORRUPT, _) => StoreError::Corrupt,
        (ffi::SQLITE_IOERR, code) => {
            StoreError::Io(io::Error::other(format!("input or output failed (code {code})")))
        }
        (_, code) => StoreError::Database { code },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(extended: i32) -> StoreError {
        rusqlite::Error::SqliteFailure(ffi::Error::new(extended), Some("SELECT 'secret'".into())).into()
    }

    #[test]
    fn every_measured_code_has_its_name() {
        assert!(matches!(failure(5), StoreError::Busy));
        assert!(matches!(failure(517), StoreError::Busy), "a stale read transaction");
        assert!(matches!(failure(13), StoreError::DiskFull));
        assert!(matches!(failure(4874), StoreError::DiskFull), "no room for the index of the log");
        assert!(matches!(failure(8), StoreError::ReadOnly));
        assert!(matches!(failure(1544), StoreError::ReadOnly), "a folder that cannot be written");
        assert!(matches!(failure(14), StoreError::NoAccess));
        assert!(matches!(failure(26), StoreError::Corrupt));
        assert!(matches!(failure(11), StoreError::Corrupt));
        assert!(matches!(failure(3082), StoreError::OutOfMemory));
        assert!(matches!(failure(7), StoreError::OutOfMemory));
        assert!(matches!(failure(1034), StoreError::Io(_)), "a failed flush");
        assert!(matches!(failure(1555), StoreError::Database { code: 1555 }));
    }

    #[test]
    fn what_sqlite_says_in_words_never_reaches_a_message() {
        for code in [5, 7, 8, 11, 13, 14, 26, 1034, 1555] {
            let error = failure(code);
            assert!(!format!("{error} {error:?}").contains("secret"), "code {code}");
        }
    }

    #[test]
    fn an_error_of_the_file_system_has_its_name() {
        let named = |kind: io::ErrorKind| StoreError::from(io::Error::from(kind));
        assert!(matches!(named(io::ErrorKind::PermissionDenied), StoreError::NoAccess));
        assert!(matches!(named(io::ErrorKind::ReadOnlyFilesystem), StoreError::ReadOnly));
        assert!(matches!(named(io::ErrorKind::StorageFull), StoreError::DiskFull));
        assert!(matches!(named(io::ErrorKind::UnexpectedEof), StoreError::Io(_)));
    }

    #[cfg(unix)]
    #[test]
    fn too_many_open_files_is_retryable() {
        let error = StoreError::from(io::Error::from_raw_os_error(24));
        assert!(matches!(error, StoreError::NoAccess) && error.is_retryable());
    }

    #[test]
    fn only_losses_put_work_at_risk() {
        for at_risk in [StoreError::Corrupt, StoreError::WrongKey, StoreError::SidecarUnreadable] {
            assert!(at_risk.is_data_at_risk() && !at_risk.is_retryable());
        }
        for passing in [StoreError::Busy, StoreError::DiskFull, StoreError::AlreadyOpen] {
            assert!(!passing.is_data_at_risk() && passing.is_retryable());
        }
    }
}
