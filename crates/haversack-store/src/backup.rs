//! Copies of a store, and going back to one.
//!
//! A backup is a store folder of its own, encrypted under the same key, that knows no device: its bytes are thawed and its
//! name for itself is gone. So whoever goes on from it, however often, is a new device in its owner's hands, and no
//! number of a change is ever used twice. It leases nothing before it has read the log to its end, where the verdicts on
//! much of what waits in it are. Going back overwrites nothing: the store there was is moved into a folder of its own,
//! where it opens and is salvaged like any other. Serves the promise "a restored backup loses nothing and doubles nothing".
//!
//! Restoring takes four steps, each of which may be the last before a power loss:
//!
//! 1. the backup is examined, every page, entry and document;
//! 2. a copy is put together in `store.restoring`, with no device, and checked;
//! 3. the present store is moved aside, its sidecar staying behind: what is left reads as a missing store;
//! 4. the copy is moved in, sidecar first, database last.
//!
//! Before step 3 the present store opens as ever, after step 4 the restored one does; in between opening says
//! `StoreMissing`, and calling again finishes it.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use haversack_protocol::StoreId;

use crate::connection::{
    Connections, Creation, KeyedConnection, Layout, MIGRATIONS, furnish, written_findings,
};
use crate::files::{StoreFiles, unfinished_beside};
use crate::lock::StoreLock;
use crate::open::open_store;
use crate::salvage::{Condition, examine};
use crate::sidecar::{Progress, Sidecar};
use crate::unit_of_work::forget_device;
use crate::{KeyProvider, StoreError, StoreKey};

/// A step of a restoring that was taken durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Examined,
    Copied,
    MovedAside,
    MovedIn,
}

/// What became of a restoring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreReport {
    /// The store that is there now.
    pub store_id: StoreId,
    /// Where the store lies that was there, whole and able to open; `None` if there was none, or an earlier call that was
    /// interrupted had already put it aside.
    pub aside: Option<PathBuf>,
}

/// Writes an encrypted copy of the store in `folder` into `to`, a folder that is not there yet or empty. An interrupted call
/// leaves nothing under that name and may be repeated.
///
/// # Errors
/// Those of opening; [`StoreError::Io`] when `to` holds something, [`StoreError::Corrupt`] for a store that has to be
/// salvaged instead, [`StoreError::DiskFull`], or another failure of the disk. The store is as it was.
pub fn back_up(folder: &Path, to: &Path, keys: &dyn KeyProvider) -> Result<(), StoreError> {
    let files = StoreFiles::in_folder(folder);
    // Opening makes a store where there is none, and an empty copy would be no backup.
    Sidecar::read(&files.sidecar())?.ok_or(StoreError::StoreMissing)?;
    let opened = open_store(folder, keys)?;
    back_up_open(&opened.connections, to)?;
    opened.connections.close()
}

/// Writes the copy of an open store.
pub(crate) fn back_up_open(connections: &Connections, to: &Path) -> Result<(), StoreError> {
    let files = StoreFiles::in_folder(connections.folder());
    let sidecar = Sidecar::read(&files.sidecar())?.ok_or(StoreError::SidecarUnreadable)?.settled();
    let unfinished = StoreFiles::in_folder(&unfinished_beside(to)?);
    unfinished.make_folder()?;
    let key = connections.write_copy(&unfinished.database())?;
    complete(&unfinished, key, &sidecar)?;
    unfinished.copy_recovery_slots(&files)?;
    fs::rename(unfinished.folder(), to)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    StoreFiles::in_folder(parent).sync_folder()
}

/// Makes a copied database a store that knows no device, proves it, and writes its sidecar.
fn complete(copy: &StoreFiles, key: &StoreKey, sidecar: &Sidecar) -> Result<(), StoreError> {
    let open = || KeyedConnection::open(&copy.database(), key, Creation::Forbidden);
    let copied = open()?;
    if copied.store_id()? != sidecar.store_id {
        return Err(StoreError::MixedFiles);
    }
    furnish(copied, MIGRATIONS, forget_device)?;
    let examiner = open()?.into_examiner()?;
    if !written_findings(&examiner)?.is_empty() {
        return Err(StoreError::Corrupt);
    }
    let layout = Layout::read(&examiner)?;
    drop(examiner);
    copy.remove_empty_log()?;
    File::open(copy.database())?.sync_all()?;
    sidecar.laid_out(layout).write(copy)
}

/// Puts the backup in `backup` in the place of the store in `folder`, which is moved into a folder of its own there, or need
/// not exist. The backup is not touched, and may be restored any number of times. The key is the one the backup was made
/// under.
///
/// # Errors
/// What [`examine`] finds to keep the backup from opening whole: [`StoreError::Corrupt`], [`StoreError::WrongKey`] and the
/// other refusals of opening, [`StoreError::StoreMissing`] where there is none. [`StoreError::AlreadyOpen`], or a failure of
/// the disk; calling again finishes it.
pub fn restore(backup: &Path, folder: &Path, keys: &dyn KeyProvider) -> Result<RestoreReport, StoreError> {
    restore_stepwise(backup, folder, keys, &mut |_| Ok(()))
}

fn restore_stepwise(
    backup: &Path,
    folder: &Path,
    keys: &dyn KeyProvider,
    taken: &mut dyn FnMut(Step) -> Result<(), StoreError>,
) -> Result<RestoreReport, StoreError> {
    let files = StoreFiles::in_folder(folder);
    must_be_whole(backup, keys)?;
    files.make_folder()?;
    let _lock = StoreLock::acquire(&files.lock())?;
    taken(Step::Examined)?;
    let copy = files.restoring();
    copy.remove_folder()?;
    copy.make_folder()?;
    let store_id = copy_backup(backup, &copy, keys)?;
    taken(Step::Copied)?;
    let aside = files.move_aside()?;
    taken(Step::MovedAside)?;
    files.move_in(&copy)?;
    taken(Step::MovedIn)?;
    copy.remove_folder()?;
    Ok(RestoreReport { store_id, aside })
}

fn must_be_whole(backup: &Path, keys: &dyn KeyProvider) -> Result<(), StoreError> {
    match examine(backup, keys).condition {
        Condition::Whole => Ok(()),
        Condition::Damaged => Err(StoreError::Corrupt),
        Condition::Refused(refusal) => Err(refusal),
        Condition::Empty | Condition::Unfinished => Err(StoreError::StoreMissing),
    }
}

/// Copies the files, so that nothing is ever written beside the backup, and makes a store of the copy.
fn copy_backup(backup: &Path, copy: &StoreFiles, keys: &dyn KeyProvider) -> Result<StoreId, StoreError> {
    let from = StoreFiles::in_folder(backup);
    let _lock = StoreLock::acquire_if_there(&from.lock())?;
    for (from, to) in from.database_and_log().iter().zip(copy.database_and_log()) {
        match File::open(from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Copied by hand: modes would be copied along, and those of a backup may forbid writing.
            opened => drop(io::copy(&mut opened?, &mut File::create(to)?)?),
        }
    }
    let (sidecar, key) = match Sidecar::read(&from.sidecar())? {
        Some(sidecar) => {
            let key = sidecar.current_key(keys)?.ok_or(StoreError::WrongKey)?;
            (sidecar.settled(), key)
        }
        None => {
            let key = keys.load_without_id()?.ok_or(StoreError::SidecarUnreadable)?;
            let opened = KeyedConnection::open(&copy.database(), &key, Creation::Forbidden)?;
            (Sidecar::new(opened.store_id()?, Progress::Ready, &key), key)
        }
    };
    complete(copy, &key, &sidecar)?;
    copy.copy_recovery_slots(&from)?;
    Ok(sidecar.store_id)
}
