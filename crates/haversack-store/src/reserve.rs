//! The reserve: a file that keeps room on the disk for the work that must go on when the disk is full.
//!
//! It holds nothing. It is given up so that verdicts can be applied, edits leased and refused ones discarded, and made
//! again when there is room; until then no new edit is taken, which could use up the room that is left. Serves the
//! promise "a full disk refuses new edits and lets everything else go on".

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use haversack_protocol::limits::RESERVE_BYTES;
use ring::rand::{SecureRandom, SystemRandom};

use crate::StoreError;

/// Bytes written at a time; drawn at random, so that no file system stores them in less room.
const PIECE_BYTES: usize = 64 * 1024;

/// The reserve of one open store.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    is_held: AtomicBool,
}

impl Reserve {
    /// Looks whether the reserve is there. Changes nothing.
    pub(crate) fn at(path: PathBuf) -> Self {
        let is_whole = fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() == RESERVE_BYTES);
        Self { path, is_held: AtomicBool::new(is_whole) }
    }

    /// Makes the reserve unless it is there.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] when there is no room for it; what was written of it is removed again.
    pub(crate) fn hold(&self) -> Result<(), StoreError> {
        if self.is_held.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.fill() {
            Ok(()) => self.is_held.store(true, Ordering::Release),
            Err(error) => {
                let _ = fs::remove_file(&self.path);
                if matches!(error, StoreError::DiskFull) {
                    return Err(error);
                }
                // Where no file can be made for another reason, the unit of work meets that reason itself.
            }
        }
        Ok(())
    }

    /// Gives its room to the disk. False when there was none to give.
    pub(crate) fn give_up(&self) -> bool {
        self.is_held.swap(false, Ordering::AcqRel) && fs::remove_file(&self.path).is_ok()
    }

    fn fill(&self) -> Result<(), StoreError> {
        let mut piece = vec![0; PIECE_BYTES];
        SystemRandom::new().fill(&mut piece).map_err(|_| StoreError::NoAccess)?;
        let mut file = File::create(&self.path)?;
        for _ in 0..RESERVE_BYTES / PIECE_BYTES as u64 {
            file.write_all(&piece)?;
        }
        Ok(())
    }
}

/// Runs work, and once more with the room of the reserve when the disk is full.
///
/// # Errors
/// What the work returns.
pub(crate) fn with_room<T>(
    reserve: &Reserve,
    work: impl Fn() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    match work() {
        Err(StoreError::DiskFull) if reserve.give_up() => work(),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_reserve_is_made_whole_given_up_once_and_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.reserve");
        let reserve = Reserve::at(path.clone());
        assert!(!reserve.give_up(), "there is none yet");
        reserve.hold().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), RESERVE_BYTES);
        assert!(reserve.give_up() && !reserve.give_up() && !path.exists());
        reserve.hold().unwrap();
        assert!(Reserve::at(path).give_up(), "found by the next opening");
    }

    #[test]
    fn half_a_reserve_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.reserve");
        fs::write(&path, b"half").unwrap();
        let reserve = Reserve::at(path.clone());
        assert!(!reserve.give_up());
        reserve.hold().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), RESERVE_BYTES);
    }

    #[test]
    fn work_gets_the_room_of_the_reserve_once_and_only_when_the_disk_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::at(folder.path().join("store.reserve"));
        reserve.hold().unwrap();
        let tries = Cell::new(0);
        let failing = |error: fn() -> StoreError| {
            tries.set(0);
            with_room(&reserve, || -> Result<(), StoreError> {
                tries.set(tries.get() + 1);
                Err(error())
            })
        };
        assert!(matches!(failing(|| StoreError::Busy), Err(StoreError::Busy)));
        assert_eq!(tries.get(), 1);
        assert!(matches!(failing(|| StoreError::DiskFull), Err(StoreError::DiskFull)));
        assert_eq!(tries.get(), 2);
        assert!(matches!(failing(|| StoreError::DiskFull), Err(StoreError::DiskFull)));
        assert_eq!(tries.get(), 1, "nothing left to give");
    }
}
