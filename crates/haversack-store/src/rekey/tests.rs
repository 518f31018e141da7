use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use haversack_protocol::StoreId;
use tempfile::TempDir;

use super::*;
use crate::{HostKey, STORE_KEY_BYTES, open_store};

/// A key store in memory.
#[derive(Default)]
struct Keys(Mutex<BTreeMap<StoreId, StoreKey>>);

impl KeyProvider for Keys {
    fn load(&self, store: StoreId) -> Result<Option<StoreKey>, StoreError> {
        Ok(self.0.lock().unwrap().get(&store).cloned())
    }

    fn save(&self, store: StoreId, key: &StoreKey) -> Result<(), StoreError> {
        self.0.lock().unwrap().insert(store, key.clone());
        Ok(())
    }

    fn forget(&self, store: StoreId) -> Result<(), StoreError> {
        self.0.lock().unwrap().remove(&store);
        Ok(())
    }
}

fn host(byte: u8) -> HostKey {
    HostKey::new(StoreKey::from_bytes([byte; STORE_KEY_BYTES]))
}

fn filled_store(keys: &dyn KeyProvider) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let opened = open_store(folder.path(), keys).unwrap();
    for n in 0..40u8 {
        let put = opened.connections.write(|tx| {
            tx.execute("INSERT INTO device (id, principal) VALUES (?1, ?2)", ([n; 8], "kari ".repeat(300)))?;
            Ok(())
        });
        put.unwrap();
    }
    // Left as a killed process leaves it: with a log.
    folder
}

fn holds_everything(folder: &TempDir, keys: &dyn KeyProvider) -> Result<bool, StoreError> {
    let opened = open_store(folder.path(), keys)?;
    let count: i64 = opened.connections.read(|connection| {
        Ok(connection
            .query_row("SELECT count(*) FROM device WHERE length(principal) = 1500", [], |row| row.get(0))?)
    })?;
    Ok(count == 40 && !opened.created && opened.connections.check()?.is_empty())
}

fn copied(folder: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn unfinished(folder: &TempDir) -> PathBuf {
    folder.path().join("store.db.new")
}

#[test]
fn a_store_under_a_new_key_holds_everything_and_the_old_key_opens_nothing() {
    let folder = filled_store(&host(1));
    let before = open_store(folder.path(), &host(1)).unwrap().store_id;
    rekey(folder.path(), &host(1), &host(2)).unwrap();
    assert!(holds_everything(&folder, &host(2)).unwrap());
    assert_eq!(open_store(folder.path(), &host(2)).unwrap().store_id, before);
    assert!(matches!(holds_everything(&folder, &host(1)), Err(StoreError::WrongKey)));
    assert!(!unfinished(&folder).exists());
    let bytes = fs::read(folder.path().join("store.db")).unwrap();
    assert!(!bytes.windows(9).any(|window| window == b"kari kari"));
    rekey(folder.path(), &host(2), &host(3)).unwrap();
    assert!(holds_everything(&folder, &host(3)).unwrap());
}

#[test]
fn one_key_store_keeps_old_and_new_key_apart_and_forgets_the_old_one() {
    let keys = Keys::default();
    let folder = filled_store(&keys);
    let first = keys.0.lock().unwrap().clone();
    rekey(folder.path(), &keys, &keys).unwrap();
    assert!(holds_everything(&folder, &keys).unwrap());
    let second = keys.0.lock().unwrap().clone();
    assert_eq!((first.len(), second.len()), (1, 1));
    assert!(first.keys().ne(second.keys()));
    assert_ne!(first.values().next().unwrap().expose(), second.values().next().unwrap().expose());
}

#[test]
fn a_change_of_key_that_stops_after_any_step_loses_nothing_and_is_finished_by_another_call() {
    let steps = [Step::Named, Step::Saved, Step::Copied, Step::Checked, Step::Replaced, Step::Finished];
    for last in steps {
        let keys = Keys::default();
        let folder = filled_store(&keys);
        let stopped = rekey_stepwise(folder.path(), &keys, &keys, &mut |step| {
            if step == last { Err(StoreError::Closed) } else { Ok(()) }
        });
        assert!(matches!(stopped, Err(StoreError::Closed)), "{last:?}");
        assert!(holds_everything(&copied(&folder), &keys).unwrap(), "opened after {last:?}");
        rekey(folder.path(), &keys, &keys).unwrap();
        assert!(holds_everything(&folder, &keys).unwrap(), "finished after {last:?}");
        assert_eq!(keys.0.lock().unwrap().len(), 1, "one key is left after {last:?}");
    }
}

#[test]
fn of_two_keys_a_host_brings_one_opens_the_store_after_any_step() {
    let steps = [Step::Named, Step::Saved, Step::Copied, Step::Checked, Step::Replaced, Step::Finished];
    for last in steps {
        let folder = filled_store(&host(1));
        let _ = rekey_stepwise(folder.path(), &host(1), &host(2), &mut |step| {
            if step == last { Err(StoreError::Closed) } else { Ok(()) }
        });
        let (fits, other) = if matches!(last, Step::Replaced | Step::Finished) { (2, 1) } else { (1, 2) };
        let refused = holds_everything(&copied(&folder), &host(other));
        assert!(matches!(refused, Err(StoreError::WrongKey)), "{last:?}: {refused:?}");
        assert!(holds_everything(&copied(&folder), &host(fits)).unwrap(), "{last:?}");
        if last != Step::Finished {
            rekey(folder.path(), &host(1), &host(2)).unwrap();
        }
        assert!(holds_everything(&folder, &host(2)).unwrap(), "{last:?}");
    }
}

#[test]
fn a_half_written_copy_is_thrown_away() {
    let keys = Keys::default();
    let folder = filled_store(&keys);
    fs::write(unfinished(&folder), [7; 5_000]).unwrap();
    fs::write(folder.path().join("store.db.new-journal"), b"half").unwrap();
    assert!(holds_everything(&copied(&folder), &keys).unwrap());
    rekey(folder.path(), &keys, &keys).unwrap();
    assert!(holds_everything(&folder, &keys).unwrap());
}

#[test]
fn a_damaged_or_open_store_keeps_its_key() {
    let folder = filled_store(&host(1));
    let opened = open_store(folder.path(), &host(1)).unwrap();
    assert!(matches!(rekey(folder.path(), &host(1), &host(2)), Err(StoreError::AlreadyOpen)));
    opened.connections.close().unwrap();
    assert!(matches!(rekey(folder.path(), &host(3), &host(2)), Err(StoreError::WrongKey)));
    let path = folder.path().join("store.db");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() - 3 * 4096 - 2_000;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(rekey(folder.path(), &host(1), &host(2)), Err(StoreError::Corrupt)));
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert!(open_store(folder.path(), &host(1)).is_ok());
}
