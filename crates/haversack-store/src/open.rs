//! Opens a store, or makes one where there has never been one.
//!
//! Never creates a key or a file over an existing store, never empties or removes one, and never falls back to a
//! database without encryption. Serves the promises "opening never creates a key over an existing file" and "nothing
//! is recreated or wiped".
//!
//! A store is made in five durable steps, each of which may be the last before a power loss:
//!
//! 1. the sidecar says `creating` and names the store, so that its key can be found again;
//! 2. the key is saved with the key provider and read back;
//! 3. the database is made under a temporary name;
//! 4. it is flushed and gets its own name;
//! 5. the sidecar says `ready`.
//!
//! Nobody is handed the store before step 5, so as long as the sidecar says `creating` there is no work in it:
//!
//! | left behind | the next opening |
//! |---|---|
//! | nothing but the lock or a half-written sidecar under its temporary name | starts with step 1 |
//! | `creating`, no database | starts over with the same id, with the saved key if there is one |
//! | `creating`, a database under the temporary name | the same; that database is removed |
//! | `creating`, a database | opens it with the saved key and takes step 5 |
//! | `ready`, no database | [`StoreError::StoreMissing`]: something was lost |
//! | no sidecar, a database | opens it if the provider knows one key only and that key fits; writes the sidecar anew |

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use haversack_protocol::StoreId;
use ring::rand::{SecureRandom, SystemRandom};

use crate::connection::{Connections, Creation, KeyedConnection, Layout, MIGRATIONS, Migrations, furnish};
use crate::files::{DatabaseFile, StoreFiles};
use crate::lock::StoreLock;
use crate::rekey;
use crate::reserve::{Reserve, with_room};
use crate::sidecar::{Progress, Sidecar};
use crate::{KeyProvider, StoreError, StoreKey};

/// Greatest length of the suffix files are set aside with.
const SUFFIX_BYTES_MAX: usize = 64;

/// A store that is open.
#[derive(Debug)]
pub struct Opened {
    /// Its connections and lock.
    pub(crate) connections: Connections,
    /// Which store it is.
    pub store_id: StoreId,
    /// Whether this opening made it, or finished an interrupted making: nothing is stored in it yet.
    pub created: bool,
}

/// What to do about what a folder holds.
pub(crate) enum Plan {
    /// No store, or one whose making was interrupted.
    Create(Option<Sidecar>),
    /// A store that says which one it is.
    Open(Sidecar),
    /// A store that lost its sidecar.
    Identify,
}

/// Opens the store in a folder, and makes it if the folder never held one. Blocks on the disk and on the key provider.
///
/// # Errors
/// [`StoreError::AlreadyOpen`], [`StoreError::StoreMissing`], [`StoreError::KeyMissing`],
/// [`StoreError::KeyTemporarilyUnavailable`], [`StoreError::NoKeyStore`], [`StoreError::KeyUnusable`],
/// [`StoreError::WrongKey`], [`StoreError::SidecarUnreadable`], [`StoreError::MixedFiles`],
/// [`StoreError::NotEncrypted`], [`StoreError::NotAStore`], [`StoreError::Corrupt`], [`StoreError::SchemaTooNew`], or a
/// failure of the disk. No file of the store is changed then.
pub fn open_store(folder: &Path, keys: &dyn KeyProvider) -> Result<Opened, StoreError> {
    open_store_under(folder, keys, MIGRATIONS)
}

/// Opens the store where these are the formats known.
///
/// # Errors
/// Those of [`open_store`].
pub(crate) fn open_store_under(
    folder: &Path,
    keys: &dyn KeyProvider,
    migrations: Migrations<'_>,
) -> Result<Opened, StoreError> {
    let files = &StoreFiles::in_folder(folder);
    files.make_folder()?;
    let lock = StoreLock::acquire(&files.lock())?;
    let opening = Opening { files, keys, migrations };
    match look(files)? {
        Plan::Create(interrupted) => opening.create(lock, interrupted),
        Plan::Open(sidecar) => opening.open_named(lock, &sidecar),
        Plan::Identify => opening.open_unnamed(lock),
    }
}

/// Renames every file of a store to `*.lost-<suffix>`, so that the next opening makes a new one. Removes nothing; taking
/// the suffix off again brings the store back. An interrupted call is finished by calling again.
///
/// # Errors
/// [`StoreError::AlreadyOpen`]; [`StoreError::Io`] for a suffix that is taken, or is not made of 1 to 64 letters,
/// digits or `-`.
pub fn set_aside(folder: &Path, suffix: &str) -> Result<(), StoreError> {
    let is_plain = suffix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if suffix.is_empty() || suffix.len() > SUFFIX_BYTES_MAX || !is_plain {
        return Err(StoreError::Io(io::ErrorKind::InvalidInput.into()));
    }
    let files = StoreFiles::in_folder(folder);
    let _lock = StoreLock::acquire(&files.lock())?;
    files.set_aside(suffix)
}

/// Removes every file of a store for good, when its owner asked for it; the lock file stays. An interrupted call leaves
/// a store that opens as [`StoreError::StoreMissing`], and is finished by calling again.
///
/// # Errors
/// [`StoreError::AlreadyOpen`], or why a file cannot be removed.
pub fn erase_store(folder: &Path) -> Result<(), StoreError> {
    let files = StoreFiles::in_folder(folder);
    let _lock = StoreLock::acquire(&files.lock())?;
    files.erase()
}

/// Decides what opening has to do. Changes nothing.
///
/// # Errors
/// The refusals that need no key.
pub(crate) fn look(files: &StoreFiles) -> Result<Plan, StoreError> {
    let sidecar = Sidecar::read(&files.sidecar())?;
    plan(files.look_at_database()?, sidecar)
}

/// The keys a store may have whose database may be damaged, as far as its sidecar can tell: one, or two while it is being
/// given another.
///
/// # Errors
/// [`StoreError::KeyMissing`], [`StoreError::WrongKey`], [`StoreError::SidecarUnreadable`], or what the key provider
/// answers.
pub(crate) fn keys_of(files: &StoreFiles, keys: &dyn KeyProvider) -> Result<Vec<StoreKey>, StoreError> {
    match Sidecar::read(&files.sidecar()) {
        Ok(Some(sidecar)) => {
            let found: Vec<_> =
                sidecar.current_key(keys)?.into_iter().chain(sidecar.next_key(keys)?).collect();
            if found.is_empty() { Err(StoreError::WrongKey) } else { Ok(found) }
        }
        Ok(None) | Err(StoreError::SidecarUnreadable) => {
            keys.load_without_id()?.map(|key| vec![key]).ok_or(StoreError::SidecarUnreadable)
        }
        Err(error) => Err(error),
    }
}

fn plan(database: DatabaseFile, sidecar: Option<Sidecar>) -> Result<Plan, StoreError> {
    match (database, sidecar) {
        (DatabaseFile::Plain, _) => Err(StoreError::NotEncrypted),
        (DatabaseFile::OnlyLog, _) => Err(StoreError::StoreMissing),
        (DatabaseFile::Absent, Some(sidecar)) if sidecar.progress == Progress::Ready => {
            Err(StoreError::StoreMissing)
        }
        (DatabaseFile::Absent, interrupted) => Ok(Plan::Create(interrupted)),
        // SQLite would take an empty file for a new database, and throw its log away.
        (DatabaseFile::Empty, Some(_)) => Err(StoreError::Corrupt),
        (DatabaseFile::Empty | DatabaseFile::Foreign, None) => Err(StoreError::NotAStore),
        (DatabaseFile::Foreign | DatabaseFile::Opaque, Some(sidecar)) => Ok(Plan::Open(sidecar)),
        (DatabaseFile::Opaque, None) => Ok(Plan::Identify),
    }
}

/// An opening under way.
#[derive(Clone, Copy)]
struct Opening<'a> {
    files: &'a StoreFiles,
    keys: &'a dyn KeyProvider,
    migrations: Migrations<'a>,
}

impl Opening<'_> {
    fn create(self, lock: StoreLock, interrupted: Option<Sidecar>) -> Result<Opened, StoreError> {
        let Self { files, keys, migrations } = self;
        let store_id = interrupted.map_or_else(random_store_id, |sidecar| Ok(sidecar.store_id))?;
        let kept = keys.load(store_id)?;
        let is_kept = kept.is_some();
        let key = kept.map_or_else(StoreKey::random, Ok)?;
        Sidecar::new(store_id, Progress::Creating, &key).write(files)?;
        if !is_kept {
            keep(keys, store_id, &key)?;
        }
        files.remove_unfinished()?;
        let fresh = KeyedConnection::open(&files.unfinished(), &key, Creation::Allowed)?;
        furnish(fresh, migrations, |tx| {
            let row = ("store_id", store_id.as_bytes().as_slice());
            tx.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", row)?;
            Ok(())
        })?;
        files.publish_unfinished()?;
        let database = KeyedConnection::open(&files.database(), &key, Creation::Forbidden)?;
        self.take_into_use(lock, &key, database, &Sidecar::new(store_id, Progress::Creating, &key))
    }

    fn open_named(self, lock: StoreLock, sidecar: &Sidecar) -> Result<Opened, StoreError> {
        let Self { files, keys, .. } = self;
        let reserve = Reserve::at(files.reserve());
        let try_open = |key: &StoreKey| {
            with_room(&reserve, || KeyedConnection::try_open(&files.database(), key, Creation::Forbidden))
        };
        let current = sidecar.current_key(keys)?;
        if let Some(key) = &current
            && let Some(database) = try_open(key)?
        {
            return self.take_into_use(lock, key, database, sidecar);
        }
        let (Some(next), Some(key)) = (&sidecar.next, sidecar.next_key(keys)?) else {
            // Where the store was being given another key, that may be the one it has.
            return Err(if sidecar.next.is_some() { StoreError::WrongKey } else { StoreError::Corrupt });
        };
        match try_open(&key)? {
            Some(database) => {
                rekey::finish(files, sidecar, next, &key, keys)?;
                self.take_into_use(lock, &key, database, &sidecar.under(next, &key))
            }
            None if current.is_some() => Err(StoreError::Corrupt),
            None => Err(StoreError::WrongKey),
        }
    }

    fn open_unnamed(self, lock: StoreLock) -> Result<Opened, StoreError> {
        let Self { files, keys, migrations } = self;
        let key = keys.load_without_id()?.ok_or(StoreError::SidecarUnreadable)?;
        let database = KeyedConnection::try_open(&files.database(), &key, Creation::Forbidden)?;
        let database = database.ok_or(StoreError::WrongKey)?;
        let sidecar = Sidecar::new(database.store_id_under(migrations)?, Progress::Ready, &key);
        sidecar.write(files)?;
        self.take_into_use(lock, &key, database, &sidecar)
    }

    fn take_into_use(
        self,
        lock: StoreLock,
        key: &StoreKey,
        database: KeyedConnection,
        sidecar: &Sidecar,
    ) -> Result<Opened, StoreError> {
        let (files, store_id) = (self.files, sidecar.store_id);
        if database.store_id_under(self.migrations)? != store_id {
            return Err(StoreError::MixedFiles);
        }
        let held = (Reserve::at(files.reserve()), lock);
        let connections =
            Connections::establish(&files.database(), database, key.clone(), held, self.migrations)?;
        let created = sidecar.progress == Progress::Creating;
        let layout = connections.read(Layout::read)?;
        let is_known = sidecar.layout.as_ref() == Some(&layout);
        let known = sidecar.ready().laid_out(layout);
        if created {
            known.write(files)?;
        } else if !is_known {
            // Of use only where the first page is damaged; opening does not depend on it.
            let _ = known.write(files);
        }
        Ok(Opened { connections, store_id, created })
    }
}

/// Says anew where the tables begin, after the file was written anew. Of use only where the first page is damaged; nothing else
/// depends on it, and the next opening says it, too.
pub(crate) fn note_layout(folder: &Path, layout: Layout) {
    let files = StoreFiles::in_folder(folder);
    if let Ok(Some(sidecar)) = Sidecar::read(&files.sidecar()) {
        let _ = sidecar.laid_out(layout).write(&files);
    }
}

/// A key that cannot be read back must not encrypt anything.
pub(crate) fn keep(keys: &dyn KeyProvider, store_id: StoreId, key: &StoreKey) -> Result<(), StoreError> {
    keys.save(store_id, key)?;
    let read_back = keys.load(store_id)?.ok_or(StoreError::KeyMissing)?;
    if read_back.expose() == key.expose() { Ok(()) } else { Err(StoreError::KeyUnusable) }
}

pub(crate) fn random_store_id() -> Result<StoreId, StoreError> {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| StoreError::NoAccess)?;
    Ok(StoreId::from_uuid(uuid::Builder::from_random_bytes(bytes).into_uuid()))
}
