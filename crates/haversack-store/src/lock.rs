//! The lock file of a store: one opening at a time, in this process and across processes.
//!
//! The lock is the operating system's, so it vanishes with a killed holder; the file itself means nothing and is never
//! removed or renamed, which would let two holders lock two files of one name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use crate::StoreError;

/// Holds the store until it is dropped.
#[derive(Debug)]
pub(crate) struct StoreLock {
    file: File,
}

impl StoreLock {
    /// Takes the lock, without waiting.
    ///
    /// # Errors
    /// [`StoreError::AlreadyOpen`] when somebody holds it; [`StoreError::NoAccess`], [`StoreError::ReadOnly`],
    /// [`StoreError::DiskFull`] or [`StoreError::Io`] when the file cannot be made.
    pub(crate) fn acquire(path: &Path) -> Result<Self, StoreError> {
        Self::take(OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?)
    }

    /// Takes the lock if its file is there, changing nothing. Where it is not, nobody has the store open.
    ///
    /// # Errors
    /// Those of [`StoreLock::acquire`].
    pub(crate) fn acquire_if_there(path: &Path) -> Result<Option<Self>, StoreError> {
        match File::open(path) {
            Ok(file) => Self::take(file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn take(file: File) -> Result<Self, StoreError> {
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::AlreadyOpen),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        // Closing the file is not enough while a process this one is starting still shares it.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_until_the_first_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.lock");
        let first = StoreLock::acquire(&path).unwrap();
        assert!(matches!(StoreLock::acquire(&path), Err(StoreError::AlreadyOpen)));
        drop(first);
        assert!(StoreLock::acquire(&path).is_ok());
    }

    #[test]
    fn a_lock_file_nobody_holds_does_not_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.lock");
        std::fs::write(&path, b"").unwrap();
        assert!(StoreLock::acquire(&path).is_ok());
    }
}
