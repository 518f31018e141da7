//! A connection that has its key: the only place where a key meets SQLite, and the only place with unsafe code.
//!
//! The key goes through SQLCipher's C call, never through SQL text, which trace hooks could see. Until a file has
//! proven to be the right store its connection neither creates, nor checkpoints, nor writes.

use std::ffi::c_int;
use std::path::Path;
use std::time::Duration;

use haversack_protocol::StoreId;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, ffi};
use zeroize::Zeroizing;

use super::migration::{MIGRATIONS, Migrations};
use crate::{STORE_KEY_BYTES, StoreError, StoreKey};

/// Bytes of a database's salt: the first ones of its file. SQLCipher makes the key of its authentication of them.
pub(crate) const SALT_BYTES: usize = 16;

/// Bytes of a raw key as SQLCipher takes it: `x'`, two digits a byte, `'`. Any other shape, but for one with a salt behind
/// the key, would be taken for a passphrase, silently.
const KEY_LITERAL_BYTES: usize = 2 + 2 * STORE_KEY_BYTES + 1;

/// How long a connection waits for another's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements each connection keeps.
const STATEMENTS_KEPT: usize = 128;

/// SQLCipher writes warnings to standard error or the system log unless told not to.
const SILENCE: &str = "PRAGMA cipher_log_level = NONE; PRAGMA cipher_log = off;";

/// A commit is flushed through the drive's own cache before it counts; the checkpoint threshold is high because it runs
/// inside some unlucky commit. The log is cut back to 16 MB.
const DURABILITY: &str = "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;
    PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 16777216;";

/// Nothing in a file is trusted to run code, freed pages are overwritten, and nothing temporary reaches the disk.
const HARDENING: &str = "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
    PRAGMA secure_delete = FAST; PRAGMA temp_store = MEMORY;";

/// Page caches, in KiB: a page that is not cached must be decrypted and authenticated again.
const WRITER_CACHE: &str = "PRAGMA cache_size = -8000;";
const READER_CACHE: &str = "PRAGMA cache_size = -16000; PRAGMA query_only = ON;";

/// Whether opening may make a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    /// The file must be there.
    Forbidden,
    /// The file is made; used under the temporary name only.
    Allowed,
}

/// A connection whose key opened the file, not yet put to work.
#[derive(Debug)]
pub(crate) struct KeyedConnection(Connection);

impl KeyedConnection {
    /// Opens a file with its key and reads the schema.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the key does not open it, and what [`KeyedConnection::try_open`] returns.
    pub(crate) fn open(path: &Path, key: &StoreKey, creation: Creation) -> Result<Self, StoreError> {
        Self::try_open(path, key, creation)?.ok_or(StoreError::Corrupt)
    }

    /// Opens a file with a key that may not be its own; `None` when the two do not fit, which means a wrong key, a
    /// foreign file or a damaged first page alike. The file is not changed.
    ///
    /// # Errors
    /// As [`StoreError`] names SQLite's failures; [`StoreError::NotEncrypted`] when there is no cipher to write with.
    pub(crate) fn try_open(
        path: &Path,
        key: &StoreKey,
        creation: Creation,
    ) -> Result<Option<Self>, StoreError> {
        Self::try_open_salted(path, key, None, creation)
    }

    /// Makes a database whose pages are encrypted and authenticated like those of another one with that salt.
    ///
    /// # Errors
    /// As [`KeyedConnection::open`].
    pub(super) fn create_salted(
        path: &Path,
        key: &StoreKey,
        salt: &[u8; SALT_BYTES],
    ) -> Result<Connection, StoreError> {
        let made = Self::try_open_salted(path, key, Some(salt), Creation::Allowed)?;
        made.map(|made| made.0).ok_or(StoreError::Corrupt)
    }

    fn try_open_salted(
        path: &Path,
        key: &StoreKey,
        salt: Option<&[u8; SALT_BYTES]>,
        creation: Creation,
    ) -> Result<Option<Self>, StoreError> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, creation == Creation::Allowed);
        let connection = Connection::open_with_flags(path, flags)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        // Else SQLite plans by what is bound, after `LIMIT` and beside partial indexes, and prepares anew with each binding.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        connection.execute_batch(SILENCE)?;
        let cipher = connection.query_row("PRAGMA cipher_version", [], |row| row.get::<_, String>(0));
        if cipher.optional()?.is_none_or(|version| version.is_empty()) {
            return Err(StoreError::NotEncrypted);
        }
        set_key(&connection, key, salt)?;
        match connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0)) {
            Ok(_) => Ok(Some(Self(connection))),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads which store the database says it is, after refusing one made by a newer library.
    ///
    /// # Errors
    /// [`StoreError::SchemaTooNew`]; [`StoreError::Corrupt`] when it does not say: no store is published without an id.
    pub(crate) fn store_id(&self) -> Result<StoreId, StoreError> {
        self.store_id_under(MIGRATIONS)
    }

    /// Reads the same where these are the formats known.
    ///
    /// # Errors
    /// Those of [`KeyedConnection::store_id`].
    pub(crate) fn store_id_under(&self, migrations: Migrations<'_>) -> Result<StoreId, StoreError> {
        migrations.refuse_newer(&self.0)?;
        let is_there = self.0.table_exists(None, "meta")?;
        if !is_there {
            return Err(StoreError::Corrupt);
        }
        let bytes: Option<Vec<u8>> = self
            .0
            .query_row("SELECT value FROM meta WHERE key = 'store_id'", [], |row| row.get(0))
            .optional()?;
        let bytes = bytes.ok_or(StoreError::Corrupt)?;
        Ok(StoreId::from_bytes(bytes.try_into().map_err(|_| StoreError::Corrupt)?))
    }

    /// Writes a whole copy, log included, as one file under another key, and empties the own log.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a damaged page, [`StoreError::DiskFull`], or another failure of the disk. The copy is
    /// then of no use; this database is as it was.
    pub(crate) fn copy_into(self, path: &Path, key: &StoreKey, next: &StoreKey) -> Result<(), StoreError> {
        self.write_copy(path)?;
        let connection = self.0;
        let copy = Self::open(path, key, Creation::Forbidden)?.0;
        change_key(&copy, next)?;
        copy.close().map_err(|(_, error)| error)?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(())
    }

    /// Writes a whole copy, log included, as one file under the same key: the state of one moment, beside writers.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a damaged page, [`StoreError::DiskFull`], or another failure of the disk. The copy is
    /// then of no use; this database is as it was.
    pub(crate) fn write_copy(&self, path: &Path) -> Result<(), StoreError> {
        self.0.execute_batch(DURABILITY)?;
        let text = path.to_str().ok_or(StoreError::NoAccess)?;
        self.0.execute("VACUUM INTO ?1", [text])?;
        refuse_zeros(&self.0)
    }

    pub(super) fn into_writer(self) -> Result<Connection, StoreError> {
        let connection = self.0;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        connection.execute_batch(DURABILITY)?;
        connection.execute_batch(HARDENING)?;
        connection.execute_batch(WRITER_CACHE)?;
        let journal: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if journal == "wal" { Ok(connection) } else { Err(StoreError::ReadOnly) }
    }

    /// Moves the log of a copy into it, as far as it reads, so that the checks see everything in one file.
    pub(crate) fn flatten(&self) {
        // Where that fails, the log goes on being read beside the database.
        let _ = self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }

    /// A connection that reads a damaged copy and never moves its log.
    pub(crate) fn into_examiner(self) -> Result<Connection, StoreError> {
        self.0.execute_batch(HARDENING)?;
        self.0.execute_batch(READER_CACHE)?;
        Ok(self.0)
    }

    pub(super) fn into_reader(self) -> Result<Connection, StoreError> {
        let connection = self.0;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        connection.execute_batch(DURABILITY)?;
        connection.execute_batch(HARDENING)?;
        connection.execute_batch(READER_CACHE)?;
        Ok(connection)
    }
}

/// The key as SQLCipher takes it, and the salt behind it where that is not to be read from the file. Wiped when dropped.
fn key_literal(key: &StoreKey, salt: Option<&[u8; SALT_BYTES]>) -> Zeroizing<Vec<u8>> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // With room for all of it: a vector that grows leaves copies behind.
    let mut literal = Zeroizing::new(Vec::with_capacity(KEY_LITERAL_BYTES + 2 * SALT_BYTES));
    literal.extend_from_slice(b"x'");
    for byte in key.expose().iter().chain(salt.into_iter().flatten()) {
        literal.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0x0f)]]);
    }
    literal.push(b'\'');
    literal
}

#[allow(unsafe_code, reason = "the key may not pass through SQL text, and rusqlite wraps no other way")]
fn set_key(
    connection: &Connection,
    key: &StoreKey,
    salt: Option<&[u8; SALT_BYTES]>,
) -> Result<(), StoreError> {
    let literal = key_literal(key, salt);
    // SAFETY: the handle is open and borrowed for the whole call, nobody else uses it, and SQLCipher copies the
    // given number of bytes before it returns.
    let code =
        unsafe { ffi::sqlite3_key(connection.handle(), literal.as_ptr().cast(), literal.len() as c_int) };
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(StoreError::Database { code }) }
}

/// Encrypts every page of a file anew.
#[allow(unsafe_code, reason = "the key may not pass through SQL text, and rusqlite wraps no other way")]
fn change_key(connection: &Connection, key: &StoreKey) -> Result<(), StoreError> {
    let literal = key_literal(key, None);
    // SAFETY: the handle is open and borrowed for the whole call, nobody else uses it, and SQLCipher copies the
    // given number of bytes before it returns.
    let code =
        unsafe { ffi::sqlite3_rekey(connection.handle(), literal.as_ptr().cast(), literal.len() as c_int) };
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(crate::error::named(code)) }
}

/// Number of pages that were not cached, so that they had to be decrypted, since this was last asked.
fn take_pages_decrypted(connection: &Connection) -> c_int {
    take_count(connection, ffi::SQLITE_DBSTATUS_CACHE_MISS)
}

/// Bytes of memory a connection's cached pages take.
#[cfg(test)]
pub(super) fn cached_bytes(connection: &Connection) -> c_int {
    take_count(connection, ffi::SQLITE_DBSTATUS_CACHE_USED)
}

/// Every page of the database as it is decrypted, freed ones included.
#[cfg(test)]
#[allow(unsafe_code, reason = "rusqlite is built without its wrapper")]
pub(super) fn pages(connection: &Connection) -> Vec<u8> {
    let mut length = 0;
    // SAFETY: the handle is open and borrowed for the whole call; what is returned is ours, that long, and freed below.
    unsafe {
        let bytes = ffi::sqlite3_serialize(connection.handle(), c"main".as_ptr(), &raw mut length, 0);
        assert!(!bytes.is_null(), "the database can be read");
        let pages = std::slice::from_raw_parts(bytes, usize::try_from(length).expect("a length")).to_vec();
        ffi::sqlite3_free(bytes.cast());
        pages
    }
}

/// What SQLite counts of a connection; from zero again, where it counts events.
#[allow(unsafe_code, reason = "rusqlite wraps no counters of a connection")]
fn take_count(connection: &Connection, counter: c_int) -> c_int {
    let (mut count, mut greatest) = (0, 0);
    // SAFETY: the handle is open and borrowed for the whole call, nobody else uses it, and both numbers outlive the call.
    let code =
        unsafe { ffi::sqlite3_db_status(connection.handle(), counter, &raw mut count, &raw mut greatest, 1) };
    // Without a count every read is looked after.
    if code == ffi::SQLITE_OK { count } else { c_int::MAX }
}

/// Makes sure that every page decrypted so far passed its authentication. SQLCipher hands out zeros for one that did not,
/// and refuses only the page after it; nothing may count that was read in between.
///
/// # Errors
/// [`StoreError::Corrupt`].
pub(crate) fn refuse_zeros(connection: &Connection) -> Result<(), StoreError> {
    if take_pages_decrypted(connection) == 0 {
        return Ok(());
    }
    // Answered while it is prepared, so never from the cache of statements.
    let status: String = connection.query_row("PRAGMA cipher_status", [], |row| row.get(0))?;
    if status == "1" { Ok(()) } else { Err(StoreError::Corrupt) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_out_as_a_raw_key_of_the_one_shape_that_is_no_passphrase() {
        let mut bytes = [0u8; STORE_KEY_BYTES];
        bytes[0] = 0x1f;
        bytes[STORE_KEY_BYTES - 1] = 0xa0;
        let key = StoreKey::from_bytes(bytes);
        let digits = format!("1f{}a0", "00".repeat(30));
        assert_eq!(key_literal(&key, None).as_slice(), format!("x'{digits}'").as_bytes());
        assert_eq!(key_literal(&key, None).len(), KEY_LITERAL_BYTES);
        let salted = format!("x'{digits}{}'", "0b".repeat(SALT_BYTES));
        assert_eq!(key_literal(&key, Some(&[11; SALT_BYTES])).as_slice(), salted.as_bytes());
    }
}
