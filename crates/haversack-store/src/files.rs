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

    /// The recovery slot under an organisation's key.
    pub(crate) fn organisation_slot(&self) -> PathBuf {
        self.folder.join("store.recovery-organisation")
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
        with_endings(&self.database())
            .into_iter()
            .chain([
                self.unfinished(),
                self.recovery(),
                self.organisation_slot(),
                self.sidecar(),
                self.reserve(),
            ])
            .try_for_each(|path| remove(&path))?;
        self.restoring().remove_folder()
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
        self.remove_empty_log()?;
        self.publish_unfinished()
    }

    /// Removes what SQLite left beside a closed database.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when the log holds something; it is then as it was.
    pub(crate) fn remove_empty_log(&self) -> Result<(), StoreError> {
        for ending in ["-wal", "-shm"] {
            let path = with_ending(&self.database(), ending);
            if ending == "-wal" && metadata_of(&path)?.is_some_and(|log| log.len() > 0) {
                return Err(StoreError::Busy);
            }
            remove(&path)?;
        }
        Ok(())
    }

    /// Replaces the sidecar, whole or not at all, also after a power loss.
    pub(crate) fn write_sidecar(&self, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_whole(&self.sidecar(), bytes)
    }

    /// Replaces the recovery slot, whole or not at all, also after a power loss.
    pub(crate) fn write_recovery(&self, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_whole(&self.recovery(), bytes)
    }

    /// Replaces the recovery slot under an organisation's key, whole or not at all, also after a power loss.
    pub(crate) fn write_organisation_slot(&self, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_whole(&self.organisation_slot(), bytes)
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
            .chain([
                self.recovery(),
                self.organisation_slot(),
                with_ending(&self.sidecar(), ".new"),
                self.sidecar(),
            ])
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

    /// Copies the recovery slots of another folder, those there are.
    pub(crate) fn copy_recovery_slots(&self, from: &Self) -> Result<(), StoreError> {
        for (path, to) in
            [(from.recovery(), self.recovery()), (from.organisation_slot(), self.organisation_slot())]
        {
            match fs::read(&path) {
                Ok(bytes) => self.write_whole(&to, &bytes)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The folder a store is put together in before it is moved here.
    pub(crate) fn restoring(&self) -> Self {
        Self { folder: self.folder.join("store.restoring") }
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes the folder with all its files, if it is there.
    pub(crate) fn remove_folder(&self) -> Result<(), StoreError> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// The files that hold work, those there are: the database first, then its log and what belongs to both, then the slots.
    fn holding_work(&self) -> Vec<PathBuf> {
        [self.database(), self.unfinished()]
            .iter()
            .flat_map(|database| with_endings(database))
            .chain([self.recovery(), self.organisation_slot()])
            .filter(|path| path.exists())
            .collect()
    }

    /// Moves the store into a folder of its own within this one and returns that; the sidecar here stays, so that what is
    /// left by an interruption reads as a missing store. `None` where there is no store. An interrupted call is gone on
    /// with.
    pub(crate) fn move_aside(&self) -> Result<Option<PathBuf>, StoreError> {
        let unfinished = Self { folder: self.folder.join("aside.unfinished") };
        let has_database = with_endings(&self.database()).iter().any(|path| path.exists());
        if !has_database && !unfinished.folder.exists() {
            return Ok(None);
        }
        unfinished.make_folder()?;
        for from in self.holding_work() {
            let to = unfinished.folder.join(from.file_name().ok_or(StoreError::NoAccess)?);
            if to.exists() {
                return Err(StoreError::Io(io::ErrorKind::AlreadyExists.into()));
            }
            fs::rename(&from, to)?;
        }
        self.sync_folder()?;
        if let Ok(sidecar) = fs::read(self.sidecar()) {
            unfinished.write_sidecar(&sidecar)?;
        }
        unfinished.sync_folder()?;
        let mut names = (1u32..).map(|number| self.folder.join(format!("aside-{number}")));
        let aside = names.find(|name| !name.exists()).ok_or(StoreError::NoAccess)?;
        fs::rename(&unfinished.folder, &aside)?;
        self.sync_folder()?;
        Ok(Some(aside))
    }

    /// Moves a whole store into this folder, which has none: the sidecar first, so that it reads as a missing store until the
    /// database is there.
    pub(crate) fn move_in(&self, from: &Self) -> Result<(), StoreError> {
        fs::rename(from.sidecar(), self.sidecar())?;
        for (from, to) in
            [(from.recovery(), self.recovery()), (from.organisation_slot(), self.organisation_slot())]
        {
            if from.exists() {
                fs::rename(from, to)?;
            }
        }
        self.sync_folder()?;
        fs::rename(from.database(), self.database())?;
        self.sync_folder()
    }

    /// Makes renames in the folder survive a power loss, where the system can.
    pub(crate) fn sync_folder(&self) -> Result<(), StoreError> {
        #[cfg(unix)]
        File::open(&self.folder)?.sync_all()?;
        Ok(())
    }
}

/// The name a folder of a new store has until it is whole. What an interrupted call left there is removed.
///
/// # Errors
/// [`StoreError::Io`] when `to` holds something.
pub(crate) fn unfinished_beside(to: &Path) -> Result<PathBuf, StoreError> {
    let is_free = match fs::read_dir(to) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if !is_free {
        return Err(StoreError::Io(io::ErrorKind::AlreadyExists.into()));
    }
    let mut name = to.file_name().ok_or(StoreError::NoAccess)?.to_os_string();
    name.push(".unfinished");
    let unfinished = to.with_file_name(name);
    StoreFiles::in_folder(&unfinished).erase()?;
    Ok(unfinished)
}

/// A database and what SQLite keeps beside it.
fn with_endings(database: &Path) -> [PathBuf; 4] {
    DATABASE_ENDINGS.map(|ending| with_ending(database, ending))
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
