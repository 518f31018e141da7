//! The connections of an open store: one writer, two readers, and the lock that keeps everybody else out.
//!
//! A writer's transaction is always immediate, so that it never has to be upgraded; a reader can write nothing.
//! Serves the promises "an acknowledged edit survives a kill" (write-ahead log, every commit flushed) and "a unit of
//! work happens whole or not at all".

mod keyed;
mod layout;
mod migration;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rusqlite::{Connection, ffi};

pub(crate) use keyed::{Creation, KeyedConnection, refuse_zeros};
pub(crate) use layout::Layout;
pub use migration::STORE_FORMAT;
pub(crate) use migration::{MIGRATIONS, Migrations};

use crate::files::FileIdentity;
use crate::lock::StoreLock;
use crate::reserve::{Reserve, with_room};
use crate::{StoreError, StoreKey};

/// Connections that read beside the writer; each costs its page cache.
const READERS: usize = 2;

/// The connections of one open store.
#[derive(Debug)]
pub(crate) struct Connections {
    path: PathBuf,
    /// Which file that name stood for at opening.
    file: FileIdentity,
    reserve: Reserve,
    /// Kept to replace a spoilt connection; SQLCipher keeps a copy for as long, too.
    key: StoreKey,
    writer: Mutex<Seat>,
    readers: [Mutex<Seat>; READERS],
    /// Which reader the next one waits for where none is free.
    next_wait: AtomicUsize,
    /// Last, so that the lock outlives every connection.
    _lock: StoreLock,
}

/// A connection, and whether it must be replaced before it is used again.
#[derive(Debug)]
struct Seat {
    connection: Connection,
    is_spoilt: bool,
}

impl Seat {
    fn new(connection: Connection) -> Mutex<Self> {
        Mutex::new(Self { connection, is_spoilt: false })
    }

    /// Remembers a failure that may outlive its transaction: once SQLCipher has met a damaged page it refuses whole
    /// pages, too, and fails writes as read-only or out of memory, on that connection and for good.
    fn remember<T>(&mut self, outcome: &Result<T, StoreError>) {
        use StoreError::{Corrupt, Io, OutOfMemory, ReadOnly};
        self.is_spoilt |= matches!(outcome, Err(Corrupt | ReadOnly | OutOfMemory | Io(_)));
    }
}

impl Connections {
    /// Puts a verified connection to work: switches it to the write-ahead log, migrates, and adds the readers.
    ///
    /// # Errors
    /// As [`StoreError`] names SQLite's failures.
    pub(crate) fn establish(
        path: &Path,
        verified: KeyedConnection,
        key: StoreKey,
        (reserve, lock): (Reserve, StoreLock),
        migrations: Migrations<'_>,
    ) -> Result<Self, StoreError> {
        let mut writer = verified.into_writer()?;
        migrations.run(&mut writer)?;
        let reader = || -> Result<Mutex<Seat>, StoreError> {
            Ok(Seat::new(KeyedConnection::open(path, &key, Creation::Forbidden)?.into_reader()?))
        };
        // Without it edits are refused, each with the reason; everything else goes on.
        let _ = reserve.hold();
        Ok(Self {
            path: path.to_path_buf(),
            file: FileIdentity::of(path)?,
            reserve,
            readers: [reader()?, reader()?],
            writer: Seat::new(writer),
            key,
            next_wait: AtomicUsize::new(0),
            _lock: lock,
        })
    }

    /// Runs a unit of work that brings new work in: all of it is stored when this returns `Ok`, and none of it otherwise.
    /// Refused while the reserve is given up and cannot be made again. The work must not call [`Connections::write`] or
    /// [`Connections::read`]: each waits for the other.
    ///
    /// # Errors
    /// What the work returns, or why it could not begin or commit; [`StoreError::StoreMissing`] when the file was taken
    /// away since the store was opened.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.reserve.hold()?;
        self.write_once(work)
    }

    /// Runs a unit of work that brings what is stored home or makes room, so that it must go on when the disk is full: it
    /// then gets the room of the reserve and is run once more.
    ///
    /// # Errors
    /// Those of [`Connections::write`].
    pub(crate) fn write_even_when_full<T>(
        &self,
        work: impl Fn(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        with_room(&self.reserve, || {
            let outcome = self.write_once(&work);
            if matches!(outcome, Err(StoreError::DiskFull)) {
                // What was moved into the database need not be kept in the log, whose room is then used again.
                let _ = hold(&self.writer).connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)");
            }
            outcome
        })
    }

    fn write_once<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.file.must_be(&self.path)?;
        let mut writer = self.writer()?;
        let outcome = commit(&writer.connection, work);
        writer.remember(&outcome);
        outcome
    }

    /// Runs a unit of work and takes all of it back: it says whether the work would be done.
    ///
    /// # Errors
    /// What the work returns, or why it could not begin.
    pub(crate) fn rehearse<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut writer = self.writer()?;
        let outcome = observe(&writer.connection, work);
        writer.remember(&outcome);
        outcome
    }

    /// Reads one state of the store, undisturbed by writers. Keep it short: the log cannot shrink meanwhile. Work that
    /// meets [`StoreError::Corrupt`] must return it: only the next read can see what lies beside the damage.
    ///
    /// # Errors
    /// What the work returns, or why it could not begin.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut reader = self.free_reader()?;
        let outcome = observe(&reader.connection, work);
        reader.remember(&outcome);
        outcome
    }

    /// Checks structure and authenticity of every page and returns one line per finding; no line means no damage. Reads
    /// the whole file, and holds writers back meanwhile. The lines name tables, indexes and pages, never values.
    ///
    /// # Errors
    /// Why the check could not run.
    pub(crate) fn check(&self) -> Result<Vec<String>, StoreError> {
        // Without commits no checkpoint moves a page while it is being read past the page cache.
        let _writers_wait = self.writer()?;
        let mut reader = self.free_reader()?;
        let lines = written_findings(&reader.connection)?;
        reader.is_spoilt |= !lines.is_empty();
        Ok(lines)
    }

    /// Writes the whole file anew and empties its log, so that no page keeps what was freed. Holds writers back meanwhile,
    /// and needs room for a second copy.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while somebody reads, [`StoreError::DiskFull`], among others; nothing is lost.
    pub(crate) fn sweep(&self) -> Result<Layout, StoreError> {
        self.file.must_be(&self.path)?;
        let mut writer = self.writer()?;
        let connection = &writer.connection;
        let outcome = (|| {
            connection.execute_batch("VACUUM")?;
            empty_log(connection)?;
            refuse_zeros(connection)?;
            Layout::read(connection)
        })();
        writer.remember(&outcome);
        outcome
    }

    /// Moves the log into the database and empties it.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while somebody reads, among others; nothing is lost.
    pub(crate) fn empty_log(&self) -> Result<(), StoreError> {
        empty_log(&self.writer()?.connection)
    }

    /// The folder of the store.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().expect("the database lies in the store's folder")
    }

    /// Writes a whole copy of this moment under the same key, and returns the key. Holds up neither readers nor writers.
    ///
    /// # Errors
    /// Those of [`KeyedConnection::write_copy`], and [`StoreError::StoreMissing`].
    pub(crate) fn write_copy(&self, path: &Path) -> Result<&StoreKey, StoreError> {
        self.file.must_be(&self.path)?;
        KeyedConnection::open(&self.path, &self.key, Creation::Forbidden)?.write_copy(path)?;
        Ok(&self.key)
    }

    /// Closes the store, leaving the database without a log. Dropping it instead loses nothing, either.
    ///
    /// # Errors
    /// Why the log could not be emptied; the store is closed nevertheless, and nothing is lost.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        let Self { writer, readers, _lock, .. } = self;
        drop(readers);
        let writer = writer.into_inner().unwrap_or_else(PoisonError::into_inner);
        // No statistics for the planner: a damaged page among them would hide every table.
        empty_log(&writer.connection)
    }

    /// Bytes of memory the cached pages of the writer and of each reader take.
    #[cfg(test)]
    pub(crate) fn cached_bytes(&self) -> [i32; 1 + READERS] {
        let [first, second] = &self.readers;
        [&self.writer, first, second].map(|seat| keyed::cached_bytes(&hold(seat).connection))
    }

    /// Every page as it is decrypted, freed ones included.
    #[cfg(test)]
    pub(crate) fn pages(&self) -> Vec<u8> {
        keyed::pages(&hold(&self.writer).connection)
    }

    fn writer(&self) -> Result<MutexGuard<'_, Seat>, StoreError> {
        self.seated(hold(&self.writer), KeyedConnection::into_writer)
    }

    /// The first reader that is free: reads one after another then find its pages cached, and the other's cache stays empty.
    fn free_reader(&self) -> Result<MutexGuard<'_, Seat>, StoreError> {
        let free = self.readers.iter().find_map(|reader| match reader.try_lock() {
            Ok(reader) => Some(reader),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        let wait = || hold(&self.readers[self.next_wait.fetch_add(1, Ordering::Relaxed) % READERS]);
        self.seated(free.unwrap_or_else(wait), KeyedConnection::into_reader)
    }

    /// Replaces a spoilt connection before it is used.
    fn seated<'seat>(
        &self,
        mut seat: MutexGuard<'seat, Seat>,
        put_to_work: impl FnOnce(KeyedConnection) -> Result<Connection, StoreError>,
    ) -> Result<MutexGuard<'seat, Seat>, StoreError> {
        if seat.is_spoilt {
            let fresh = KeyedConnection::open(&self.path, &self.key, Creation::Forbidden)?;
            *seat = Seat { connection: put_to_work(fresh)?, is_spoilt: false };
        }
        Ok(seat)
    }
}

/// Makes a database nobody was handed yet fit to be published: schema and `write_identity` in it, and no log beside it.
///
/// # Errors
/// As [`StoreError`] names SQLite's failures.
pub(crate) fn furnish(
    fresh: KeyedConnection,
    migrations: Migrations<'_>,
    write_identity: impl FnOnce(&Connection) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut writer = fresh.into_writer()?;
    migrations.run(&mut writer)?;
    commit(&writer, write_identity)?;
    // Closing would do it, too, but silently when it fails, and a database must not be published without its log.
    empty_log(&writer)?;
    writer.close().map_err(|(_, error)| error.into())
}

/// A panic inside a unit of work rolled its transaction back while unwinding, so the connection is as good as before.
fn hold(seat: &Mutex<Seat>) -> MutexGuard<'_, Seat> {
    seat.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A transaction under way; unless it was committed it is rolled back, which cannot fail, however its work ends. Begins and
/// ends are prepared statements: preparing them anew would cost as much as reading a record.
struct Begun<'c>(&'c Connection);

impl<'c> Begun<'c> {
    fn begin(connection: &'c Connection, sql: &str) -> Result<Self, StoreError> {
        connection.prepare_cached(sql)?.execute([])?;
        Ok(Self(connection))
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        // SQLite has rolled back by itself after some failures, and a commit leaves nothing to do.
        if !self.0.is_autocommit() {
            let _ = self.0.prepare_cached("ROLLBACK").and_then(|mut statement| statement.execute([]));
        }
    }
}

/// Immediate, so that it never has to be upgraded.
fn commit<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let begun = Begun::begin(connection, "BEGIN IMMEDIATE")?;
    let worked = work(begun.0);
    refuse_zeros(connection)?;
    let value = worked?;
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(value)
}

/// Ends by rolling back. Zeros in place of a damaged page can look like many other failures, so they are asked for first.
pub(crate) fn observe<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let begun = Begun::begin(connection, "BEGIN DEFERRED")?;
    let worked = work(begun.0);
    refuse_zeros(connection)?;
    worked
}

fn empty_log(connection: &Connection) -> Result<(), StoreError> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy == 0 { Ok(()) } else { Err(StoreError::Busy) }
}

/// One line per finding about authenticity or structure of a page.
///
/// # Errors
/// Why a check could not run.
pub(crate) fn written_findings(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut lines = findings(connection, "PRAGMA cipher_integrity_check")?;
    lines.extend(findings(connection, "PRAGMA integrity_check")?);
    Ok(lines)
}

/// Damage that stops a check is a finding of it.
fn findings(connection: &Connection, pragma: &str) -> Result<Vec<String>, StoreError> {
    let mut lines = Vec::new();
    let found = (|| {
        let mut statement = connection.prepare(pragma)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            lines.push(row.get::<_, String>(0)?);
        }
        Ok(())
    })();
    match found {
        // "Logic error" is what SQLCipher makes of a damaged page in places where SQLite expects none.
        Err(StoreError::Corrupt | StoreError::Database { code: ffi::SQLITE_ERROR }) => {
            lines.push("a damaged page stopped the check".to_owned())
        }
        failed => failed?,
    }
    lines.retain(|line| line != "ok");
    Ok(lines)
}
