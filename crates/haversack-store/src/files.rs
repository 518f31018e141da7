//! The files of a store folder: their names, what lies under the name of the database, and durable steps.
//!
//! Only [`StoreFiles::erase`] removes a file that can hold user work, and only when its owner asked for it:
//! [`StoreFiles::remove_unfinished`] touches only a database under the temporary name, never opened for anyone.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::StoreError;

/// Bytes of a database page; SQLCipher's default, and the size of every store file's parts.
pub(crate) const PAGE_BYTES: u64 = 4096;

/// First bytes of a database without encryption.
const PLAIN_HEADER: &[u8; 16] = b"SQLite format 3\0";

/// Endings of the files SQLite keeps beside a database.
const DATABASE_ENDINGS: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// What lies under the name of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatabaseFile {
    /// Nothing at all.
    Absent,
    /// No database, but the log of one: somebody removed half of a store.
    OnlyLog,
    /// A file without a byte.
    Empty,
    /// A database without encryption.
    Plain,
    /// Something that cannot be a whole store: a folder, or a file that is not made of pages.
    Foreign,
    /// Pages nobody can read without the key.
    Opaque,
}

/// Which file stands under a name, where the system tells files apart. A database that was removed can be written to as
/// long as it is open, and is gone with its last reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    #[cfg(unix)]
    numbers: (u64, u64),
}

impl FileIdentity {
    /// Looks which file it is.
    ///
    /// # Errors
    /// [`StoreError::StoreMissing`] when there is none.
    pub(crate) fn of(path: &Path) -> Result<Self, StoreError> {
        let found = metadata_of(path)?.ok_or(StoreError::StoreMissing)?;
        #[cfg(unix)]
        let numbers = {
            use std::os::unix::fs::MetadataExt;
            (found.dev(), found.ino())
        };
        #[cfg(not(unix))]
        drop(found);
        Ok(Self {
            #[cfg(unix)]
            numbers,
        })
    }

    /// Makes sure that the name still stands for this file.
    ///
    /// # Errors
    /// [`StoreError::StoreMissing`] when it was removed, renamed or replaced.
    pub(crate) fn must_be(self, path: &Path) -> Result<(), StoreError> {
        if Self::of(path)? == self { Ok(()) } else { Err(StoreError::StoreMissing) }
    }
}

/// The folder of one store.
#[derive(Clone, Debug)]
pub(crate) struct StoreFiles {
    folder: PathBuf,
}

impl StoreFiles {
    /// Names the files of a folder.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// The encrypted database.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.join("store.db")
    }

    /// The database, and its log, which may not be there.
    pub(crate) fn database_and_log(&self) -> [PathBuf; 2] {
        [self.database(), with_ending(&self.database(), "-wal")]
    }

    /// The database while it is being made.
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.folder.join("store.db.new")
    }

    /// The sidecar.
    pub(crate) fn sidecar(&self) -> PathBuf {
        self.folder.join("store.json")
    }

    /// The reserve.
    pub(crate) fn reserve(&self) -> PathBuf {
        self.folder.join("store.reserve")
    }

    /// The recovery slot.
    pub(crate) fn recovery(&self) -> PathBuf {
        self.folder.join("store.recovery")
    }

    /// The lock.
    pub(crate) fn lock(&self) -> PathBuf {
        self.folder.join("store.lock")
    }

    /// Makes the folder, readable by its owner only, unless it is there.
    pub(crate) fn make_folder(&self) -> Result<(), StoreError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        Ok(builder.create(&self.folder)?)
    }

    /// Removes the database with its log, then the sidecar: what is left in between is never taken for a new folder.
    pub(crate) fn erase(&self) -> Result<(), StoreError> {
        let beside = |ending: &&str| {
            let mut name = OsString::from(self.database());
            name.push(ending);
            PathBuf::from(name)
        };
        let database = DATABASE_ENDINGS.iter().map(beside);
        database
            .chain([self.unfinished(), self.recovery(), self.sidecar(), self.reserve()])
            .try_for_each(|path| remove(&path))
    }

    /// Looks at the database without changing anything. Must not be asked while a connection of this process is open:
    /// closing a file drops SQLite's own locks on it.
    pub(crate) fn look_at_database(&self) -> Result<DatabaseFile, StoreError> {
        let path = self.database();
        let Some(metadata) = metadata_of(&path)? else {
            let mut is_log = false;
            for ending in ["-wal", "-journal"] {
                is_log |= metadata_of(&with_ending(&path, ending))?.is_some_and(|log| log.len() > 0);
            }
            return Ok(if is_log { DatabaseFile::OnlyLog } else { DatabaseFile::Absent });
        };
        if !metadata.is_file() {
            return Ok(DatabaseFile::Foreign);
        }
        if metadata.len() == 0 {
            return Ok(DatabaseFile::Empty);
        }
        if is_plain(&path)? {
            return Ok(DatabaseFile::Plain);
        }
        Ok(if metadata.len().is_multiple_of(PAGE_BYTES) {
            DatabaseFile::Opaque
        } else {
            DatabaseFile::Foreign
        })
    }

    /// Removes a database whose making was interrupted; it was never opened for anyone.
    pub(crate) fn remove_unfinished(&self) -> Result<(), StoreError> {
        for ending in DATABASE_ENDINGS {
            remove(&with_ending(&self.unfinished(), ending))?;
        }
        Ok(())
    }

    /// Gives the finished database its name, so that it is there whole or not at all, also after a power loss.
    pub(crate) fn publish_unfinished(&self) -> Result<(), StoreError> {
        if is_plain(&self.unfinished())? {
            return Err(StoreError::NotEncrypted);
        }
        File::open(self.unfinished())?.sync_all()?;
        fs::rename(self.unfinished(), self.database())?;
        self.sync_folder()
    }

    /// Puts the finished copy in the place of the database, whose log must be empty: it belongs to the old one.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when the log holds something.
    pub(crate) fn replace_by_unfinished(&self) -> Result<(), StoreError> {
        for ending in ["-wal", "-shm"] {
            let path = with_ending(&self.database(), ending);
            if ending == "-wal" && metadata_of(&path)?.is_some_and(|log| log.len() > 0) {
                return Err(StoreError::Busy);
            }
            remove(&path)?;
        }
        self.publish_unfinished()
    }

    /// Replaces the sidecar, whole or not at all, also after a power loss.
    pub(crate) fn write_sidecar(&self, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_whole(&self.sidecar(), bytes)
    }

    /// Replaces the recovery slot, whole or not at all, also after a power loss.
    pub(crate) fn write_recovery(&self, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_whole(&self.recovery(), bytes)
    }

    fn write_whole(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let unfinished = with_ending(path, ".new");
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(unfinished, path)?;
        self.sync_folder()
    }

    /// Renames every file of the store but the lock, and the reserve, which holds nothing and is removed. The database goes first and the sidecar last: whatever is left by
    /// an interruption reads as a missing store, and never as one without its log.
    pub(crate) fn set_aside(&self, suffix: &str) -> Result<(), StoreError> {
        let moves: Vec<(PathBuf, PathBuf)> = [self.database(), self.unfinished()]
            .iter()
            .flat_map(|database| DATABASE_ENDINGS.map(|ending| with_ending(database, ending)))
            .chain([self.recovery(), with_ending(&self.sidecar(), ".new"), self.sidecar()])
            .filter(|from| from.exists())
            .map(|from| (from.clone(), with_ending(&from, &format!(".lost-{suffix}"))))
            .collect();
        if moves.iter().any(|(_, to)| to.exists()) {
            return Err(StoreError::Io(io::ErrorKind::AlreadyExists.into()));
        }
        for (from, to) in moves {
            fs::rename(from, to)?;
        }
        remove(&self.reserve())?;
        self.sync_folder()
    }

    /// Makes renames in the folder survive a power loss, where the system can.
    fn sync_folder(&self) -> Result<(), StoreError> {
        #[cfg(unix)]
        File::open(&self.folder)?.sync_all()?;
        Ok(())
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => Ok(removed?),
    }
}

fn metadata_of(path: &Path) -> Result<Option<fs::Metadata>, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_plain(path: &Path) -> Result<bool, StoreError> {
    let mut header = Vec::with_capacity(PLAIN_HEADER.len());
    File::open(path)?.take(PLAIN_HEADER.len() as u64).read_to_end(&mut header)?;
    Ok(header == PLAIN_HEADER)
}
