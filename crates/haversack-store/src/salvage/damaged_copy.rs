//! A copy of a damaged store to read from: whatever reading does to it, the damaged files stay as they are.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use haversack_protocol::StoreId;
use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::Connection;

use crate::connection::{Creation, KeyedConnection, observe, written_findings};
use crate::files::{PAGE_BYTES, StoreFiles};
use crate::{StoreError, StoreKey};

/// Bytes a copy that was cut off is filled up with, one after the other until SQLite opens it; nothing is stored for them
/// where the file system keeps no room for zeros.
const FILLING_BYTES: [u64; 3] = [1 << 20, 1 << 26, 1 << 32];

/// A folder that goes when this is dropped.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn within(folder: &Path) -> Result<Self, StoreError> {
        let mut bytes = [0; 8];
        SystemRandom::new().fill(&mut bytes).map_err(|_| StoreError::NoAccess)?;
        let path = folder.join(format!("haversack-{:016x}", u64::from_be_bytes(bytes)));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Only encrypted pages lie there; if they stay, nothing is lost or shown.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The copy, and a connection to it that is replaced whenever it met damage.
#[derive(Debug)]
pub(crate) struct DamagedCopy {
    /// First, so that it is closed before its files go.
    connection: Option<Connection>,
    /// The file ended before its last page.
    is_cut: bool,
    database: PathBuf,
    key: StoreKey,
    _scratch: Scratch,
}

impl DamagedCopy {
    /// Copies database and log into a folder of their own within `folder`, and opens the copy with the key that fits.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when not even the list of its tables can be read, [`StoreError::SchemaTooNew`], or a failure
    /// of the disk.
    pub(crate) fn make(
        files: &StoreFiles,
        candidates: Vec<StoreKey>,
        folder: &Path,
    ) -> Result<Self, StoreError> {
        let scratch = Scratch::within(folder)?;
        let database = scratch.0.join("store.db");
        for (from, to) in files.database_and_log().iter().zip(["store.db", "store.db-wal"]) {
            match File::open(from) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Copied by hand: modes would be copied along, and those of a damaged store may forbid writing.
                opened => drop(io::copy(&mut opened?, &mut File::create(scratch.0.join(to))?)?),
            }
        }
        let is_key = |key: &&StoreKey| {
            KeyedConnection::try_open(&database, key, Creation::Forbidden)
                .is_ok_and(|opened| opened.is_some())
        };
        let fitting = candidates.iter().find(is_key).or(candidates.first());
        let key = fitting.cloned().ok_or(StoreError::KeyMissing)?;
        let mut copy = Self { connection: None, is_cut: false, database, key, _scratch: scratch };
        let mut opened = copy.flatten();
        for bytes in FILLING_BYTES {
            if matches!(opened, Err(StoreError::Corrupt)) {
                let file = File::options().write(true).open(&copy.database)?;
                let whole_pages = file.metadata()?.len().next_multiple_of(PAGE_BYTES);
                file.set_len(whole_pages + bytes)?;
                opened = copy.flatten();
                copy.is_cut = opened.is_ok();
            }
        }
        opened.map(|()| copy)
    }

    fn flatten(&self) -> Result<(), StoreError> {
        KeyedConnection::open(&self.database, &self.key, Creation::Forbidden)?.flatten();
        Ok(())
    }

    /// Reads, on a connection that has not met damage yet.
    ///
    /// # Errors
    /// What the work returns, and [`StoreError::Corrupt`] when it met damage.
    pub(crate) fn ask<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => KeyedConnection::open(&self.database, &self.key, Creation::Forbidden)?.into_examiner()?,
        };
        let answer = observe(&connection, work)?;
        self.connection = Some(connection);
        Ok(answer)
    }

    /// Which store it says it is.
    pub(crate) fn store_id(&mut self) -> Option<StoreId> {
        let opened = KeyedConnection::open(&self.database, &self.key, Creation::Forbidden);
        opened.and_then(|opened| opened.store_id()).ok()
    }

    /// What the checks of structure and authenticity find.
    ///
    /// # Errors
    /// Why they could not run.
    pub(crate) fn findings(&mut self) -> Result<Vec<String>, StoreError> {
        if self.is_cut {
            return Ok(vec!["the file ends before its last page".to_owned()]);
        }
        self.connection = None;
        let opened = KeyedConnection::open(&self.database, &self.key, Creation::Forbidden)?;
        written_findings(&opened.into_examiner()?)
    }
}
