use tempfile::TempDir;

use super::*;
use crate::open::Opened;
use crate::{HostKey, STORE_KEY_BYTES};

fn host(byte: u8) -> HostKey {
    HostKey::new(StoreKey::from_bytes([byte; STORE_KEY_BYTES]))
}

fn put(folder: &Path, numbers: std::ops::Range<u8>) -> Opened {
    let opened = open_store(folder, &host(1)).unwrap();
    for n in numbers {
        let put = opened.connections.write(|tx| {
            tx.execute("INSERT INTO device (id, principal) VALUES (?1, ?2)", ([n; 8], "kari ".repeat(300)))?;
            Ok(())
        });
        put.unwrap();
    }
    opened
}

fn devices(folder: &Path) -> Result<i64, StoreError> {
    let opened = open_store(folder, &host(1))?;
    assert!(!opened.created && opened.connections.check()?.is_empty());
    let sql = "SELECT count(*) FROM device WHERE length(principal) = 1500";
    opened.connections.read(|connection| Ok(connection.query_row(sql, [], |row| row.get(0))?))
}

/// A place with a store of forty devices, its backup, and one device more in the store since.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    drop(put(&store(&place), 0..40));
    back_up(&store(&place), &backup(&place), &host(1)).unwrap();
    drop(put(&store(&place), 40..41));
    place
}

fn store(place: &TempDir) -> PathBuf {
    place.path().join("store")
}

fn backup(place: &TempDir) -> PathBuf {
    place.path().join("backup")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

fn copied(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in names(folder).into_iter().filter(|name| folder.join(name).is_file()) {
        fs::copy(folder.join(&name), copy.path().join(name)).unwrap();
    }
    copy
}

#[test]
fn a_backup_is_an_encrypted_store_of_one_moment_under_the_same_key() {
    let place = place();
    assert_eq!(names(&backup(&place)), ["store.db", "store.json"]);
    let bytes = fs::read(backup(&place).join("store.db")).unwrap();
    assert!(!bytes.windows(9).any(|window| window == b"kari kari"));
    assert_eq!(devices(copied(&backup(&place)).path()).unwrap(), 40);
    assert_eq!(devices(&store(&place)).unwrap(), 41);
    assert!(matches!(open_store(&backup(&place), &host(2)), Err(StoreError::WrongKey)));
}

#[test]
fn a_backup_overwrites_nothing_and_makes_no_store() {
    let place = place();
    let before = fs::read(backup(&place).join("store.db")).unwrap();
    let refused = back_up(&store(&place), &backup(&place), &host(1));
    assert!(matches!(refused, Err(StoreError::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists));
    assert_eq!(fs::read(backup(&place).join("store.db")).unwrap(), before);
    let nowhere = place.path().join("nowhere");
    let refused = back_up(&nowhere, &place.path().join("second"), &host(1));
    assert!(matches!(refused, Err(StoreError::StoreMissing)));
    assert!(!nowhere.exists() && !place.path().join("second").exists());
    let refused = back_up(&store(&place), &place.path().join("second"), &host(2));
    assert!(matches!(refused, Err(StoreError::WrongKey)));
    assert_eq!(names(place.path()), ["backup", "store"]);
}

#[test]
fn a_restored_store_holds_what_the_backup_held_and_the_one_before_lies_beside_it_whole() {
    let place = place();
    let before = fs::read(backup(&place).join("store.db")).unwrap();
    let report = restore(&backup(&place), &store(&place), &host(1)).unwrap();
    assert_eq!(report.aside, Some(store(&place).join("aside-1")));
    assert_eq!(devices(&store(&place)).unwrap(), 40);
    assert_eq!(devices(&report.aside.unwrap()).unwrap(), 41);
    assert_eq!(fs::read(backup(&place).join("store.db")).unwrap(), before);
    assert_eq!(names(&backup(&place)), ["store.db", "store.json"]);
    // Once more, and where there never was a store.
    let again = restore(&backup(&place), &store(&place), &host(1)).unwrap();
    assert_eq!(again.aside, Some(store(&place).join("aside-2")));
    let fresh = place.path().join("fresh");
    assert_eq!(restore(&backup(&place), &fresh, &host(1)).unwrap().aside, None);
    assert_eq!(devices(&fresh).unwrap(), 40);
}

#[test]
fn a_restoring_that_stops_after_any_step_loses_nothing_and_is_finished_by_another_call() {
    for last in [Step::Examined, Step::Copied, Step::MovedAside, Step::MovedIn] {
        let place = place();
        let stopped = restore_stepwise(&backup(&place), &store(&place), &host(1), &mut |step| {
            if step == last { Err(StoreError::Closed) } else { Ok(()) }
        });
        assert!(matches!(stopped, Err(StoreError::Closed)), "{last:?}");
        let found = devices(copied(&store(&place)).path());
        match last {
            Step::Examined | Step::Copied => assert_eq!(found.unwrap(), 41, "{last:?}"),
            Step::MovedAside => assert!(matches!(found, Err(StoreError::StoreMissing)), "{last:?}"),
            Step::MovedIn => assert_eq!(found.unwrap(), 40, "{last:?}"),
        }
        restore(&backup(&place), &store(&place), &host(1)).unwrap();
        assert_eq!(devices(&store(&place)).unwrap(), 40, "{last:?}");
        assert_eq!(devices(&store(&place).join("aside-1")).unwrap(), 41, "{last:?}");
        assert!(!store(&place).join("store.restoring").exists(), "{last:?}");
    }
}

#[test]
fn a_moving_aside_that_stops_between_two_files_reads_as_missing_and_is_gone_on_with() {
    let place = place();
    let open = put(&store(&place), 41..42);
    let killed = copied(&store(&place));
    drop(open);
    assert!(names(killed.path()).contains(&"store.db-wal".to_owned()), "its work is in the log");
    fs::create_dir(killed.path().join("aside.unfinished")).unwrap();
    fs::rename(killed.path().join("store.db"), killed.path().join("aside.unfinished/store.db")).unwrap();
    assert!(matches!(open_store(killed.path(), &host(1)), Err(StoreError::StoreMissing)));
    let report = restore(&backup(&place), killed.path(), &host(1)).unwrap();
    assert_eq!(devices(killed.path()).unwrap(), 40);
    assert_eq!(devices(&report.aside.unwrap()).unwrap(), 42);
}

#[test]
fn a_backup_that_is_not_whole_is_refused_and_the_present_store_stays() {
    let place = place();
    let path = backup(&place).join("store.db");
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() - 3 * 4096 - 2_000;
    damaged[middle] ^= 1;
    fs::write(&path, damaged).unwrap();
    let before = names(&store(&place));
    let refused = restore(&backup(&place), &store(&place), &host(1));
    assert!(matches!(refused, Err(StoreError::Corrupt)), "{refused:?}");
    fs::write(&path, whole).unwrap();
    assert!(matches!(restore(&backup(&place), &store(&place), &host(2)), Err(StoreError::WrongKey)));
    let nowhere = place.path().join("nowhere");
    assert!(matches!(restore(&nowhere, &store(&place), &host(1)), Err(StoreError::StoreMissing)));
    let open = open_store(&store(&place), &host(1)).unwrap();
    let refused = restore(&backup(&place), &store(&place), &host(1));
    assert!(matches!(refused, Err(StoreError::AlreadyOpen)), "{refused:?}");
    drop(open);
    assert_eq!(names(&store(&place)), before);
    assert_eq!(devices(&store(&place)).unwrap(), 41);
}
