//! A new key for a store. The old database and the old key stay what they are until the new ones were proven to fit.
//!
//! Five durable steps, each of which may be the last before a power loss:
//!
//! 1. the sidecar names the next key: how to recognise it, and under which name its provider keeps it;
//! 2. the next key is saved and read back;
//! 3. a copy of the database under the next key is made, under the temporary name, and checked;
//! 4. it takes the place of the old one;
//! 5. the sidecar knows only the next key, and the old one is forgotten.
//!
//! Before step 4 the old key opens the store, after it the next one; opening tries both where it has them, and takes
//! step 5 itself. Serves the promise "a new key loses nothing, however its giving is interrupted".

#[cfg(test)]
mod tests;

use std::path::Path;

use crate::connection::{Creation, KeyedConnection, written_findings};
use crate::files::StoreFiles;
use crate::lock::StoreLock;
use crate::open::{keep, random_store_id};
use crate::sidecar::{NextKey, Progress, Sidecar};
use crate::{KeyProvider, StoreError, StoreKey};

/// A step that was taken durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Named,
    Saved,
    Copied,
    Checked,
    Replaced,
    Finished,
}

/// Gives the store in `folder` a new key: the one `new_keys` brings, or a fresh one that it keeps. `keys` brings the one
/// it has; both may be the same provider. The recovery slot, which holds the old key, has to be made anew.
///
/// # Errors
/// [`StoreError::AlreadyOpen`], [`StoreError::Corrupt`] for a store that has to be salvaged first,
/// [`StoreError::DiskFull`] where there is no room for a second copy, and those of opening. The store is then open to the
/// key it had, or, when only the last step failed, to the new one; calling again finishes it.
pub fn rekey(folder: &Path, keys: &dyn KeyProvider, new_keys: &dyn KeyProvider) -> Result<(), StoreError> {
    rekey_stepwise(folder, keys, new_keys, &mut |_| Ok(()))
}

fn rekey_stepwise(
    folder: &Path,
    keys: &dyn KeyProvider,
    new_keys: &dyn KeyProvider,
    taken: &mut dyn FnMut(Step) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let files = StoreFiles::in_folder(folder);
    let _lock = StoreLock::acquire(&files.lock())?;
    let sidecar = Sidecar::read(&files.sidecar())?.ok_or(StoreError::SidecarUnreadable)?;
    if sidecar.progress != Progress::Ready {
        return Err(StoreError::StoreMissing);
    }
    let Some(key) = sidecar.current_key(keys)? else {
        return finish_interrupted(&files, &sidecar, keys, new_keys);
    };
    let Some(database) = KeyedConnection::try_open(&files.database(), &key, Creation::Forbidden)? else {
        return finish_interrupted(&files, &sidecar, keys, new_keys);
    };
    let next = next_key(&files, &sidecar, new_keys, taken)?;
    copy(&files, database, (&key, &next.1), &sidecar)?;
    taken(Step::Copied)?;
    check_copy(&files, &next.1, &sidecar)?;
    taken(Step::Checked)?;
    files.replace_by_unfinished()?;
    taken(Step::Replaced)?;
    finish(&files, &sidecar, &next.0, &next.1, keys)?;
    taken(Step::Finished)
}

/// Steps 1 and 2. A next key that an interrupted call named is used again if it was saved.
fn next_key(
    files: &StoreFiles,
    sidecar: &Sidecar,
    new_keys: &dyn KeyProvider,
    taken: &mut dyn FnMut(Step) -> Result<(), StoreError>,
) -> Result<(NextKey, StoreKey), StoreError> {
    let name = match &sidecar.next {
        Some(next) => next.name,
        None => random_store_id()?,
    };
    let kept = new_keys.load(name)?;
    let is_kept = kept.is_some();
    let key = kept.map_or_else(StoreKey::random, Ok)?;
    let next = NextKey::new(sidecar.store_id, name, &key);
    sidecar.with_next(next.clone()).write(files)?;
    taken(Step::Named)?;
    if !is_kept {
        keep(new_keys, name, &key)?;
    }
    taken(Step::Saved)?;
    Ok((next, key))
}

/// Makes the copy under the temporary name: first under the old key, then it is encrypted anew. What fails or is
/// interrupted concerns the copy alone.
fn copy(
    files: &StoreFiles,
    database: KeyedConnection,
    (key, next): (&StoreKey, &StoreKey),
    sidecar: &Sidecar,
) -> Result<(), StoreError> {
    if database.store_id()? != sidecar.store_id {
        return Err(StoreError::MixedFiles);
    }
    files.remove_unfinished()?;
    database.copy_into(&files.unfinished(), key, next)
}

fn check_copy(files: &StoreFiles, next: &StoreKey, sidecar: &Sidecar) -> Result<(), StoreError> {
    let copy = KeyedConnection::open(&files.unfinished(), next, Creation::Forbidden)?;
    if copy.store_id()? != sidecar.store_id {
        return Err(StoreError::MixedFiles);
    }
    let findings = written_findings(&copy.into_examiner()?)?;
    if findings.is_empty() { Ok(()) } else { Err(StoreError::Corrupt) }
}

/// Finishes a call that was interrupted after the database had its new key.
fn finish_interrupted(
    files: &StoreFiles,
    sidecar: &Sidecar,
    keys: &dyn KeyProvider,
    new_keys: &dyn KeyProvider,
) -> Result<(), StoreError> {
    let next = sidecar.next.as_ref().ok_or(StoreError::WrongKey)?;
    let key = sidecar.next_key(new_keys)?.ok_or(StoreError::WrongKey)?;
    KeyedConnection::open(&files.database(), &key, Creation::Forbidden)?;
    finish(files, sidecar, next, &key, keys)
}

/// Step 5.
///
/// # Errors
/// A failure of the disk; the store is open to the new key all the same.
pub(crate) fn finish(
    files: &StoreFiles,
    sidecar: &Sidecar,
    next: &NextKey,
    key: &StoreKey,
    keys: &dyn KeyProvider,
) -> Result<(), StoreError> {
    sidecar.under(next, key).write(files)?;
    // A key that opens nothing any more may as well stay where it is.
    let _ = keys.forget(sidecar.key_name());
    Ok(())
}
