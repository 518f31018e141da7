//! Whether the database could be written now, without writing anything.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::StoreRefusal;

/// What a look at the database found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// The journal mode in force.
    pub(crate) journal: String,
    /// Bytes left on the disk; `None` where the system does not say.
    pub(crate) disk_room_bytes: Option<u64>,
}

/// Opens the database as a writer does and takes the write lock for a moment. A lock that is taken proves as much.
///
/// # Errors
/// [`StoreRefusal`] when the database is gone, damaged or cannot be written.
pub(crate) fn probe(path: &Path) -> Result<Probe, StoreRefusal> {
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(Duration::ZERO)?;
    let journal = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction.rollback()?,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Probe { journal, disk_room_bytes: disk_room_bytes(path) })
}

#[cfg(unix)]
fn disk_room_bytes(path: &Path) -> Option<u64> {
    let volume = rustix::fs::statvfs(path).ok()?;
    Some(volume.f_bavail.saturating_mul(volume.f_frsize))
}

#[cfg(not(unix))]
fn disk_room_bytes(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use haversack_protocol::TenantId;

    use super::*;
    use crate::store::open;

    #[test]
    fn a_probe_finds_a_database_that_is_written_and_misses_one_that_is_gone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("server.db");
        let (mut writer, _) = open(&path, &TenantId::new("ours").expect("plain")).expect("created");
        assert_eq!(probe(&path).expect("probed").journal, "wal");
        let writing = writer.transaction_with_behavior(TransactionBehavior::Immediate).expect("begun");
        assert_eq!(probe(&path).expect("a writer at work is no trouble").journal, "wal");
        drop(writing);
        assert!(probe(&directory.path().join("gone.db")).is_err());
        assert!(!directory.path().join("gone.db").exists(), "a probe makes nothing");
    }

    #[cfg(unix)]
    #[test]
    fn the_room_on_the_disk_is_known() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(disk_room_bytes(directory.path()).is_some_and(|bytes| bytes > 0));
    }
}
