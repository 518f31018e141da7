//! A copy of a damaged store to read from: whatever reading does to it, the damaged files stay as they are.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use haversack_protocol::StoreId;
use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::Connection;

use super::log;
use crate::connection::{Creation, KeyedConnection, Layout, observe, written_findings};
use crate::files::{PAGE_BYTES, StoreFiles};
use crate::sidecar::Sidecar;
use crate::{StoreError, StoreKey};

/// Bytes a copy that was cut off is filled up with, one after the other until SQLite opens it; nothing is stored for them
/// where the file system keeps no room for zeros.
const FILLING_BYTES: [u64; 3] = [1 << 20, 1 << 26, 1 << 32];

/// Bytes between a database and the scaffold's own pages behind it: what a file that was cut, too, still names must not be
/// taken for one of them.
const GAP_BYTES: u64 = 1 << 22;

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

/// What a copy needed to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mended {
    /// Nothing.
    Nothing,
    /// It ended before its last page, and was filled up.
    End,
    /// Its salt, at the beginning of the file.
    Salt,
    /// Its first page and its list of tables.
    Tables,
}

/// The copy, and a connection to it that is replaced whenever it met damage.
#[derive(Debug)]
pub(crate) struct DamagedCopy {
    /// First, so that it is closed before its files go.
    connection: Option<Connection>,
    /// What the copy needed to open at all.
    mended: Mended,
    database: PathBuf,
    key: StoreKey,
    scratch: Scratch,
}

impl DamagedCopy {
    /// Copies database and log into a folder of their own within `folder`, and opens the copy with the key that fits.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the list of its tables cannot be read and the sidecar does not know where they begin,
    /// [`StoreError::SchemaTooNew`], or a failure of the disk.
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
        let mut copy = Self { connection: None, mended: Mended::Nothing, database, key, scratch };
        let mut opened = copy.flatten();
        let length = fs::metadata(&copy.database)?.len();
        for bytes in FILLING_BYTES {
            if matches!(opened, Err(StoreError::Corrupt)) {
                copy.set_length(length.next_multiple_of(PAGE_BYTES) + bytes)?;
                opened = copy.flatten();
                copy.mended = Mended::End;
            }
        }
        if let (Err(StoreError::Corrupt), Some(layout)) = (&opened, layout_of(files)) {
            copy.set_length(length)?;
            opened = copy.mend(&layout);
        }
        opened.map(|()| copy)
    }

    fn set_length(&self, bytes: u64) -> Result<(), StoreError> {
        Ok(File::options().write(true).open(&self.database)?.set_len(bytes)?)
    }

    /// Makes a copy readable whose first page or list of tables is damaged, by what the sidecar knows of it: first the salt
    /// alone, then both. The log of the copy is moved in meanwhile; it may bring its own first page.
    fn mend(&mut self, layout: &Layout) -> Result<(), StoreError> {
        let salt = layout.salt().ok_or(StoreError::Corrupt)?;
        File::options().write(true).open(&self.database)?.write_all(&salt)?;
        self.mended = Mended::Salt;
        if self.flatten().is_ok() {
            return Ok(());
        }
        // SQLite moves no log into what it does not open. It may bring a first page of its own.
        log::move_in(&self.scratch.0.join("store.db-wal"), &self.database)?;
        if self.flatten().is_ok() {
            return Ok(());
        }
        self.mended = Mended::Tables;
        self.put_scaffold(layout)?;
        self.flatten()?;
        let is_readable =
            |probe: String| self.ask(|connection| Ok(connection.prepare(&probe)?.exists([])?)).is_ok();
        if layout.probes().any(is_readable) { Ok(()) } else { Err(StoreError::Corrupt) }
    }

    /// Puts a first page and a list of tables of the known layout over the copy's.
    fn put_scaffold(&self, layout: &Layout) -> Result<(), StoreError> {
        let path = self.scratch.0.join("scaffold.db");
        let mut database = File::options().write(true).open(&self.database)?;
        let length = database.metadata()?.len().next_multiple_of(PAGE_BYTES) + GAP_BYTES;
        layout.scaffold(&path, &self.key, length / PAGE_BYTES)?;
        let mut scaffold = File::open(&path)?;
        io::copy(&mut Read::by_ref(&mut scaffold).take(PAGE_BYTES), &mut database)?;
        scaffold.seek(SeekFrom::Start(length))?;
        database.seek(SeekFrom::Start(length))?;
        io::copy(&mut scaffold, &mut database)?;
        Ok(())
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
        match self.mended {
            Mended::Nothing | Mended::Salt => {}
            Mended::End => return Ok(vec!["the file ends before its last page".to_owned()]),
            Mended::Tables => return Ok(vec!["the first page or the list of tables is damaged".to_owned()]),
        }
        self.connection = None;
        let opened = KeyedConnection::open(&self.database, &self.key, Creation::Forbidden)?;
        let mut findings = written_findings(&opened.into_examiner()?)?;
        if self.mended == Mended::Salt {
            findings.push("the beginning of the file is damaged".to_owned());
        }
        Ok(findings)
    }
}

/// Where the tables began when the store was open last, if the sidecar says it.
fn layout_of(files: &StoreFiles) -> Option<Layout> {
    Sidecar::read(&files.sidecar()).ok().flatten()?.layout
}
