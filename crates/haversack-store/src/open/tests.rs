mod matrix;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::{HostKey, STORE_KEY_BYTES};

/// What no file of a store may ever show.
const SECRET: &[u8] = b"Kari Nordmann, Storgata 1";

/// A key provider that remembers what it is asked, and fails on demand.
#[derive(Default)]
struct Keys {
    kept: Mutex<BTreeMap<StoreId, StoreKey>>,
    saves: AtomicUsize,
    load_refusal: Option<fn() -> StoreError>,
    save_refusal: Option<fn() -> StoreError>,
    is_forgetful: bool,
    is_garbling: bool,
}

impl Keys {
    fn saves(&self) -> usize {
        self.saves.load(Ordering::Relaxed)
    }

    fn refusing_to_load(refusal: fn() -> StoreError) -> Self {
        Self { load_refusal: Some(refusal), ..Self::default() }
    }

    fn refusing_to_save(refusal: fn() -> StoreError) -> Self {
        Self { save_refusal: Some(refusal), ..Self::default() }
    }
}

impl KeyProvider for Keys {
    fn load(&self, store: StoreId) -> Result<Option<StoreKey>, StoreError> {
        match self.load_refusal {
            Some(refusal) => Err(refusal()),
            None => Ok(self.kept.lock().unwrap().get(&store).cloned()),
        }
    }

    fn save(&self, store: StoreId, key: &StoreKey) -> Result<(), StoreError> {
        self.saves.fetch_add(1, Ordering::Relaxed);
        if let Some(refusal) = self.save_refusal {
            return Err(refusal());
        }
        let kept = if self.is_garbling { StoreKey::random()? } else { key.clone() };
        if !self.is_forgetful {
            self.kept.lock().unwrap().insert(store, kept);
        }
        Ok(())
    }
}

/// The bytes of every file that can hold work or say where it is. `-shm` holds page numbers only and is rebuilt, the reserve
/// holds nothing.
type Snapshot = BTreeMap<PathBuf, Vec<u8>>;

fn snapshot(folder: &TempDir) -> Snapshot {
    let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let is_kept = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        !name.ends_with("-shm") && name != "store.lock" && name != "store.reserve"
    };
    let whole = files.filter(is_kept).map(|path| (path.clone(), fs::read(path).unwrap()));
    whole.filter(|(_, bytes)| !bytes.is_empty()).collect()
}

fn key(byte: u8) -> StoreKey {
    StoreKey::from_bytes([byte; STORE_KEY_BYTES])
}

fn database(folder: &TempDir) -> PathBuf {
    folder.path().join("store.db")
}

fn sidecar(folder: &TempDir) -> PathBuf {
    folder.path().join("store.json")
}

fn put_secret(opened: &Opened) {
    opened
        .connections
        .write(|tx| {
            tx.execute("INSERT INTO meta (key, value) VALUES ('secret', ?1)", [SECRET])?;
            Ok(())
        })
        .unwrap();
}

fn has_secret(opened: &Opened) -> bool {
    let found: Result<Vec<u8>, _> = opened.connections.read(|connection| {
        Ok(connection.query_row("SELECT value FROM meta WHERE key = 'secret'", [], |row| row.get(0))?)
    });
    found.is_ok_and(|value| value == SECRET)
}

/// A closed store with work in it.
fn store_with(keys: &dyn KeyProvider) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let opened = open_store(folder.path(), keys).unwrap();
    put_secret(&opened);
    opened.connections.close().unwrap();
    folder
}

/// A store as a killed process leaves it: its work is in the log only.
fn killed_store_with(keys: &dyn KeyProvider) -> TempDir {
    let living = tempfile::tempdir().unwrap();
    let opened = open_store(living.path(), keys).unwrap();
    put_secret(&opened);
    let folder = tempfile::tempdir().unwrap();
    for name in ["store.db", "store.db-wal", "store.json", "store.lock"] {
        fs::copy(living.path().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

/// Opens, expects a refusal, and expects every byte of the folder to be what it was.
fn refused(folder: &TempDir, keys: &dyn KeyProvider) -> StoreError {
    let before = snapshot(folder);
    let error = open_store(folder.path(), keys).expect_err("must be refused");
    assert_eq!(snapshot(folder), before, "touched although refused: {error}");
    error
}

fn set_state(folder: &TempDir, from: &str, to: &str) {
    let text = fs::read_to_string(sidecar(folder)).unwrap();
    assert!(text.contains(from));
    fs::write(sidecar(folder), text.replace(from, to)).unwrap();
}

#[test]
fn a_new_store_is_made_once_and_opened_after_that() {
    let keys = Keys::default();
    let folder = tempfile::tempdir().unwrap();
    let first = open_store(&folder.path().join("deep/er"), &keys).unwrap();
    assert!(first.created);
    put_secret(&first);
    let store_id = first.store_id;
    drop(first);
    let second = open_store(&folder.path().join("deep/er"), &keys).unwrap();
    assert!(!second.created && second.store_id == store_id && has_secret(&second));
    assert_eq!(keys.saves(), 1);
}

#[test]
fn work_that_is_only_in_the_log_of_a_killed_process_is_there_after_opening() {
    let keys = Keys::default();
    let folder = killed_store_with(&keys);
    assert!(has_secret(&open_store(folder.path(), &keys).unwrap()));
}

#[test]
fn no_byte_of_a_value_or_of_the_schema_is_readable_on_disk() {
    let keys = Keys::default();
    let folder = tempfile::tempdir().unwrap();
    let opened = open_store(folder.path(), &keys).unwrap();
    put_secret(&opened);
    let files: Vec<PathBuf> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    for name in ["store.db", "store.db-wal", "store.db-shm", "store.json"] {
        assert!(files.contains(&folder.path().join(name)), "{name} is looked at");
    }
    let key = keys.kept.lock().unwrap()[&opened.store_id].clone();
    for path in files {
        let bytes = fs::read(&path).unwrap();
        let plain =
            [b"SQLite format 3".as_slice(), b"CREATE TABLE", b"store_id\"\0", SECRET, &key.expose()[..]];
        for text in plain {
            assert!(
                !bytes.windows(text.len()).any(|window| window == text),
                "{} shows plain text",
                path.display()
            );
        }
    }
}

#[test]
fn a_wrong_key_is_told_and_nothing_is_touched() {
    for folder in [store_with(&HostKey::new(key(1))), killed_store_with(&HostKey::new(key(1)))] {
        let error = refused(&folder, &HostKey::new(key(2)));
        assert!(matches!(error, StoreError::WrongKey) && error.is_data_at_risk() && !error.is_retryable());
        assert!(has_secret(&open_store(folder.path(), &HostKey::new(key(1))).unwrap()));
    }
}

#[test]
fn a_missing_key_is_told_and_no_key_is_made() {
    let folder = store_with(&Keys::default());
    let empty = Keys::default();
    assert!(matches!(refused(&folder, &empty), StoreError::KeyMissing));
    assert_eq!(empty.saves(), 0);
}

#[test]
fn a_key_store_that_cannot_be_read_now_is_never_taken_for_a_missing_key() {
    let folder = store_with(&Keys::default());
    let locked = Keys::refusing_to_load(|| StoreError::KeyTemporarilyUnavailable);
    let error = refused(&folder, &locked);
    assert!(matches!(error, StoreError::KeyTemporarilyUnavailable) && error.is_retryable());
    let garbled = Keys::refusing_to_load(|| StoreError::KeyUnusable);
    assert!(matches!(refused(&folder, &garbled), StoreError::KeyUnusable));
    assert_eq!(locked.saves() + garbled.saves(), 0);
}

#[test]
fn a_key_store_that_cannot_be_read_now_makes_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let locked = Keys::refusing_to_load(|| StoreError::KeyTemporarilyUnavailable);
    assert!(matches!(refused(&folder, &locked), StoreError::KeyTemporarilyUnavailable));
    assert!(snapshot(&folder).is_empty());
}

#[test]
fn a_key_that_does_not_read_back_encrypts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let forgetful = Keys { is_forgetful: true, ..Keys::default() };
    assert!(matches!(open_store(folder.path(), &forgetful), Err(StoreError::KeyMissing)));
    let garbling = Keys { is_garbling: true, ..Keys::default() };
    assert!(matches!(open_store(folder.path(), &garbling), Err(StoreError::KeyUnusable)));
    assert!(!database(&folder).exists() && !folder.path().join("store.db.new").exists());
}

#[test]
fn a_store_is_opened_once_at_a_time() {
    let keys = Keys::default();
    let folder = tempfile::tempdir().unwrap();
    let first = open_store(folder.path(), &keys).unwrap();
    let second = open_store(folder.path(), &keys);
    assert!(matches!(second, Err(StoreError::AlreadyOpen)));
    assert!(matches!(set_aside(folder.path(), "1"), Err(StoreError::AlreadyOpen)));
    put_secret(&first);
    drop(first);
    let third = open_store(folder.path(), &keys).unwrap();
    assert!(has_secret(&third));
    third.connections.close().unwrap();
    assert!(open_store(folder.path(), &keys).is_ok());
}

#[test]
fn a_refused_opening_lets_the_lock_go() {
    let folder = store_with(&HostKey::new(key(1)));
    refused(&folder, &HostKey::new(key(2)));
    assert!(open_store(folder.path(), &HostKey::new(key(1))).is_ok());
}

#[test]
fn a_database_without_encryption_is_told_with_and_without_a_sidecar() {
    let keys = HostKey::new(key(1));
    let folder = store_with(&keys);
    fs::remove_file(database(&folder)).unwrap();
    let plain = rusqlite::Connection::open(database(&folder)).unwrap();
    plain.execute_batch("CREATE TABLE other (a)").unwrap();
    drop(plain);
    assert!(matches!(refused(&folder, &keys), StoreError::NotEncrypted));
    fs::remove_file(sidecar(&folder)).unwrap();
    assert!(matches!(refused(&folder, &keys), StoreError::NotEncrypted));
}

#[test]
fn a_foreign_file_is_not_a_store() {
    let keys = Keys::default();
    let folder = tempfile::tempdir().unwrap();
    for foreign in [b"\x89PNG\r\n\x1a\n picture".as_slice(), b"text", &[7; 4097]] {
        fs::write(database(&folder), foreign).unwrap();
        assert!(matches!(refused(&folder, &keys), StoreError::NotAStore));
        assert!(matches!(refused(&folder, &HostKey::new(key(1))), StoreError::NotAStore));
    }
    fs::remove_file(database(&folder)).unwrap();
    fs::create_dir(database(&folder)).unwrap();
    assert!(matches!(open_store(folder.path(), &keys), Err(StoreError::NotAStore)));
    assert_eq!(keys.saves(), 0);
}

#[test]
fn a_foreign_file_of_whole_pages_never_opens() {
    let keys = HostKey::new(key(1));
    let folder = tempfile::tempdir().unwrap();
    fs::write(database(&folder), [7; 8192]).unwrap();
    assert!(matches!(refused(&folder, &Keys::default()), StoreError::SidecarUnreadable));
    assert!(matches!(refused(&folder, &keys), StoreError::WrongKey));
}

#[test]
fn an_emptied_store_is_damage_and_an_empty_file_is_no_store() {
    let keys = HostKey::new(key(1));
    for folder in [store_with(&keys), killed_store_with(&keys)] {
        fs::write(database(&folder), b"").unwrap();
        assert!(matches!(refused(&folder, &keys), StoreError::Corrupt));
        assert!(database(&folder).exists());
        fs::remove_file(sidecar(&folder)).unwrap();
        assert!(matches!(refused(&folder, &keys), StoreError::NotAStore));
    }
}

#[test]
fn damage_that_shows_at_once_is_told_from_a_wrong_key() {
    let keys = HostKey::new(key(1));
    let damages: [fn(&mut Vec<u8>); 6] = [
        |bytes| bytes[3] ^= 1,
        |bytes| bytes[100] ^= 1,
        |bytes| bytes.truncate(4096),
        |bytes| bytes.truncate(4000),
        |bytes| bytes.truncate(20),
        |bytes| bytes.fill(0),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let folder = store_with(&keys);
        let mut bytes = fs::read(database(&folder)).unwrap();
        damage(&mut bytes);
        fs::write(database(&folder), bytes).unwrap();
        let error = refused(&folder, &keys);
        assert!(matches!(error, StoreError::Corrupt) && error.is_data_at_risk(), "damage {number}: {error}");
    }
}

#[test]
fn a_missing_database_is_a_loss_and_never_made_anew() {
    let keys = Keys::default();
    let folder = store_with(&keys);
    fs::remove_file(database(&folder)).unwrap();
    assert!(matches!(refused(&folder, &keys), StoreError::StoreMissing));
    let locked = Keys::refusing_to_load(|| StoreError::KeyTemporarilyUnavailable);
    assert!(matches!(refused(&folder, &locked), StoreError::StoreMissing), "whatever the key store says");
    assert!(!database(&folder).exists());
}

#[test]
fn a_log_without_its_database_is_a_loss_even_without_a_sidecar() {
    let keys = Keys::default();
    let folder = killed_store_with(&keys);
    fs::remove_file(database(&folder)).unwrap();
    assert!(matches!(refused(&folder, &keys), StoreError::StoreMissing));
    fs::remove_file(sidecar(&folder)).unwrap();
    assert!(matches!(refused(&folder, &keys), StoreError::StoreMissing));
}

#[test]
fn a_lost_sidecar_is_written_anew_when_the_host_brings_the_key() {
    let keys = HostKey::new(key(1));
    for folder in [store_with(&keys), killed_store_with(&keys)] {
        let before = fs::read(sidecar(&folder)).unwrap();
        fs::remove_file(sidecar(&folder)).unwrap();
        let other = refused(&folder, &HostKey::new(key(2)));
        assert!(matches!(other, StoreError::WrongKey));
        let opened = open_store(folder.path(), &keys).unwrap();
        assert!(has_secret(&opened) && !opened.created);
        assert_eq!(fs::read(sidecar(&folder)).unwrap(), before);
    }
}

#[test]
fn a_lost_sidecar_is_told_when_nobody_can_tell_the_key() {
    let keys = Keys::default();
    let folder = store_with(&keys);
    fs::remove_file(sidecar(&folder)).unwrap();
    let error = refused(&folder, &keys);
    assert!(matches!(error, StoreError::SidecarUnreadable) && error.is_data_at_risk());
    assert_eq!(keys.saves(), 1, "the one that made the store");
}

#[test]
fn a_damaged_sidecar_is_told_and_not_replaced() {
    let keys = HostKey::new(key(1));
    let folder = store_with(&keys);
    let whole = fs::read(sidecar(&folder)).unwrap();
    for damaged in [b"".as_slice(), b"\0\0\0\0", &whole[..whole.len() / 2], b"{\"format\":1}"] {
        fs::write(sidecar(&folder), damaged).unwrap();
        assert!(matches!(refused(&folder, &keys), StoreError::SidecarUnreadable));
    }
    fs::write(sidecar(&folder), b"{\"format\":99}").unwrap();
    assert!(matches!(refused(&folder, &keys), StoreError::SchemaTooNew { found: 99, .. }));
}

#[test]
fn files_of_two_stores_are_told_apart() {
    let shared_key = HostKey::new(key(1));
    let (one, other) = (store_with(&shared_key), store_with(&shared_key));
    fs::copy(sidecar(&other), sidecar(&one)).unwrap();
    let error = refused(&one, &shared_key);
    assert!(matches!(error, StoreError::MixedFiles) && error.is_data_at_risk());

    let keys = Keys::default();
    let (one, other) = (store_with(&keys), store_with(&keys));
    fs::copy(sidecar(&other), sidecar(&one)).unwrap();
    assert!(
        matches!(refused(&one, &keys), StoreError::Corrupt),
        "the key is the sidecar's, the pages do not fit"
    );
}

#[test]
fn a_store_of_a_newer_library_is_refused_unchanged() {
    let keys = HostKey::new(key(1));
    let folder = store_with(&keys);
    let opened = open_store(folder.path(), &keys).unwrap();
    opened.connections.write(|tx| Ok(tx.pragma_update(None, "user_version", 1_000)?)).unwrap();
    drop(opened);
    assert!(matches!(refused(&folder, &keys), StoreError::SchemaTooNew { found: 1_000, .. }));
    fs::remove_file(sidecar(&folder)).unwrap();
    assert!(matches!(refused(&folder, &keys), StoreError::SchemaTooNew { .. }));
}

#[test]
fn a_making_interrupted_before_or_in_its_first_step_starts_over() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("store.lock"), b"").unwrap();
    fs::write(folder.path().join("store.json.new"), b"{\"form").unwrap();
    assert!(open_store(folder.path(), &Keys::default()).unwrap().created);
}

#[test]
fn a_making_interrupted_before_the_key_was_saved_keeps_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let refusing = Keys::refusing_to_save(|| StoreError::KeyTemporarilyUnavailable);
    let error = open_store(folder.path(), &refusing).expect_err("the key is not saved");
    assert!(matches!(error, StoreError::KeyTemporarilyUnavailable));
    let started = Sidecar::read(&sidecar(&folder)).unwrap().unwrap();
    assert!(started.progress == Progress::Creating && !database(&folder).exists());
    let keys = Keys::default();
    let opened = open_store(folder.path(), &keys).unwrap();
    assert!(opened.created && opened.store_id == started.store_id && keys.saves() == 1);
}

#[test]
fn a_making_interrupted_after_the_key_was_saved_uses_that_key() {
    let keys = Keys::default();
    let folder = tempfile::tempdir().unwrap();
    drop(open_store(folder.path(), &keys).unwrap());
    fs::remove_file(database(&folder)).unwrap();
    set_state(&folder, "ready", "creating");
    let opened = open_store(folder.path(), &keys).unwrap();
    assert!(opened.created);
    assert_eq!(keys.saves(), 1, "no second key is drawn over the first");
}

#[test]
fn a_making_interrupted_while_the_database_was_made_removes_the_unfinished_one() {
    let keys = Keys::default();
    let folder = tempfile::tempdir().unwrap();
    drop(open_store(folder.path(), &keys).unwrap());
    let half = fs::read(database(&folder)).unwrap();
    fs::remove_file(database(&folder)).unwrap();
    set_state(&folder, "ready", "creating");
    for (name, bytes) in [("", &half[..4096]), ("-wal", &half[..100]), ("-shm", b"1"), ("-journal", b"2")] {
        fs::write(folder.path().join(format!("store.db.new{name}")), bytes).unwrap();
    }
    assert!(open_store(folder.path(), &keys).unwrap().created);
    let is_unfinished = |path: &PathBuf| path.to_str().unwrap().contains("store.db.new");
    assert!(!snapshot(&folder).keys().any(is_unfinished));
    assert!(!open_store(folder.path(), &keys).unwrap().created);
}

#[test]
fn a_making_interrupted_before_its_last_step_is_finished() {
    let keys = Keys::default();
    let folder = tempfile::tempdir().unwrap();
    let store_id = open_store(folder.path(), &keys).unwrap().store_id;
    set_state(&folder, "ready", "creating");
    assert!(matches!(refused(&folder, &Keys::default()), StoreError::KeyMissing));
    let opened = open_store(folder.path(), &keys).unwrap();
    assert!(opened.created && opened.store_id == store_id);
    drop(opened);
    assert!(!open_store(folder.path(), &keys).unwrap().created);
}

#[test]
fn a_finished_store_leaves_nothing_under_a_temporary_name() {
    let folder = store_with(&Keys::default());
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["store.db", "store.json", "store.lock", "store.reserve"]);
}

#[test]
fn setting_aside_renames_every_file_and_makes_room_for_a_new_store() {
    let keys = Keys::default();
    let folder = killed_store_with(&keys);
    let before = snapshot(&folder);
    set_aside(folder.path(), "2026-11-23").unwrap();
    let renamed: Snapshot = before
        .iter()
        .map(|(path, bytes)| (format!("{}.lost-2026-11-23", path.display()).into(), bytes.clone()))
        .collect();
    assert_eq!(snapshot(&folder), renamed);
    let anew = open_store(folder.path(), &keys).unwrap();
    assert!(anew.created && !has_secret(&anew));
    drop(anew);
    for path in before.keys() {
        fs::rename(format!("{}.lost-2026-11-23", path.display()), path).unwrap();
    }
    assert!(has_secret(&open_store(folder.path(), &keys).unwrap()), "brought back");
}

#[test]
fn setting_aside_never_replaces_what_was_set_aside_before() {
    let keys = Keys::default();
    let folder = store_with(&keys);
    set_aside(folder.path(), "1").unwrap();
    drop(open_store(folder.path(), &keys).unwrap());
    let before = snapshot(&folder);
    assert!(matches!(set_aside(folder.path(), "1"), Err(StoreError::Io(_))));
    for bad in ["", "../1", "a b", &"a".repeat(65)] {
        assert!(matches!(set_aside(folder.path(), bad), Err(StoreError::Io(_))), "{bad}");
    }
    assert_eq!(snapshot(&folder), before);
    set_aside(folder.path(), "2").unwrap();
}

#[test]
fn an_interrupted_setting_aside_is_no_new_store_and_is_finished_by_a_second_call() {
    let keys = Keys::default();
    let folder = killed_store_with(&keys);
    fs::rename(database(&folder), folder.path().join("store.db.lost-1")).unwrap();
    assert!(matches!(refused(&folder, &keys), StoreError::StoreMissing));
    set_aside(folder.path(), "1").unwrap();
    assert!(open_store(folder.path(), &keys).unwrap().created);
}

#[test]
fn an_erased_store_leaves_no_file_but_the_lock_and_a_new_one_may_follow() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::default();
    let first = open_store(folder.path(), &keys).unwrap();
    assert!(matches!(erase_store(folder.path()), Err(StoreError::AlreadyOpen)));
    let first_id = first.store_id;
    drop(first);
    erase_store(folder.path()).unwrap();
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["store.lock"]);
    erase_store(folder.path()).unwrap();
    assert_ne!(open_store(folder.path(), &keys).unwrap().store_id, first_id);
}
