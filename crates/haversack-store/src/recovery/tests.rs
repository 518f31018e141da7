use std::fs;
use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::{HostKey, open_store, rekey};

const PASSPHRASE: &[u8] = b"en lang tur over Nordmarka";

fn host(byte: u8) -> HostKey {
    HostKey::new(StoreKey::from_bytes([byte; STORE_KEY_BYTES]))
}

fn store_with_slot() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    drop(open_store(folder.path(), &host(1)).unwrap());
    add_recovery_slot(folder.path(), &host(1), PASSPHRASE).unwrap();
    folder
}

fn slot(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("store.recovery")
}

/// A key store with room for one key.
#[derive(Default)]
struct OneKey(Mutex<Option<StoreKey>>);

impl KeyProvider for OneKey {
    fn load(&self, _: StoreId) -> Result<Option<StoreKey>, StoreError> {
        Ok(self.0.lock().unwrap().clone())
    }

    fn save(&self, _: StoreId, key: &StoreKey) -> Result<(), StoreError> {
        *self.0.lock().unwrap() = Some(key.clone());
        Ok(())
    }
}

#[test]
fn a_passphrase_brings_a_lost_key_back_and_never_replaces_one() {
    let folder = store_with_slot();
    assert_eq!(open_recovery_slot(folder.path(), PASSPHRASE).unwrap().expose(), &[1; STORE_KEY_BYTES]);
    let empty = OneKey::default();
    assert!(matches!(open_store(folder.path(), &empty), Err(StoreError::KeyMissing)));
    restore_key(folder.path(), &empty, PASSPHRASE).unwrap();
    assert!(open_store(folder.path(), &empty).is_ok());
    restore_key(folder.path(), &empty, PASSPHRASE).unwrap();
    let other = OneKey(Mutex::new(Some(StoreKey::from_bytes([9; STORE_KEY_BYTES]))));
    assert!(matches!(restore_key(folder.path(), &other, PASSPHRASE), Err(StoreError::WrongKey)));
    assert_eq!(other.load(StoreId::from_bytes([0; 16])).unwrap().unwrap().expose(), &[9; STORE_KEY_BYTES]);
}

#[test]
fn a_wrong_passphrase_opens_nothing_and_is_told_from_damage() {
    let folder = store_with_slot();
    for wrong in [b"en lang tur over Nordmark".as_slice(), b"", b"En lang tur over Nordmarka"] {
        let error = open_recovery_slot(folder.path(), wrong).unwrap_err();
        assert!(matches!(error, StoreError::WrongPassphrase) && !error.is_retryable());
    }
    let whole = fs::read(slot(&folder)).unwrap();
    for place in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(slot(&folder), &damaged).unwrap();
        let error = open_recovery_slot(folder.path(), PASSPHRASE).unwrap_err();
        let is_told = matches!(error, StoreError::RecoverySlotUnreadable | StoreError::SchemaTooNew { .. });
        assert!(is_told, "byte {place}: {error:?}");
    }
    fs::remove_file(slot(&folder)).unwrap();
    assert!(matches!(open_recovery_slot(folder.path(), PASSPHRASE), Err(StoreError::RecoverySlotMissing)));
}

#[test]
fn a_slot_somebody_changed_with_care_gives_no_key() {
    let folder = store_with_slot();
    let whole = file::parse::<Slot>(&fs::read(slot(&folder)).unwrap()).unwrap();
    let changes: [fn(&mut Slot); 5] = [
        |slot| slot.iterations += 1,
        |slot| slot.salt.replace_range(..2, "00"),
        |slot| slot.nonce.replace_range(..2, "00"),
        |slot| slot.wrapped.replace_range(..2, "00"),
        |slot| slot.wrapped.truncate(64),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut changed = whole.clone();
        change(&mut changed);
        file::seal(&mut changed);
        fs::write(slot(&folder), serde_json::to_vec(&changed).unwrap()).unwrap();
        let error = open_recovery_slot(folder.path(), PASSPHRASE).unwrap_err();
        assert!(matches!(error, StoreError::WrongPassphrase), "change {number}: {error:?}");
    }
    for iterations in [0, 1, RECOVERY_ITERATIONS - 1, RECOVERY_ITERATIONS_MAX + 1, u32::MAX] {
        let mut cheap = Slot { iterations, ..whole.clone() };
        file::seal(&mut cheap);
        let refused = file::parse::<Slot>(&serde_json::to_vec(&cheap).unwrap());
        assert!(matches!(refused, Err(StoreError::RecoverySlotUnreadable)), "{iterations}");
    }
}

#[test]
fn the_slot_of_another_store_or_of_an_earlier_key_is_told() {
    let (mine, other) = (store_with_slot(), store_with_slot());
    fs::copy(slot(&other), slot(&mine)).unwrap();
    assert!(matches!(open_recovery_slot(mine.path(), PASSPHRASE), Err(StoreError::RecoverySlotForeign)));
    assert_eq!(look_at_recovery_slot(mine.path()).unwrap(), RecoverySlot::Foreign);
    // Nor does it open when its id is changed: the wrapped key is bound to it.
    let mut moved = file::parse::<Slot>(&fs::read(slot(&mine)).unwrap()).unwrap();
    let sidecar = Sidecar::read(&mine.path().join("store.json")).unwrap().unwrap();
    (moved.store_id, moved.key_check) = (sidecar.store_id, sidecar.key_check().to_owned());
    file::seal(&mut moved);
    fs::write(slot(&mine), serde_json::to_vec(&moved).unwrap()).unwrap();
    assert!(matches!(open_recovery_slot(mine.path(), PASSPHRASE), Err(StoreError::WrongPassphrase)));

    rekey(other.path(), &host(1), &host(2)).unwrap();
    let error = open_recovery_slot(other.path(), PASSPHRASE).unwrap_err();
    assert!(matches!(error, StoreError::RecoverySlotStale) && error.is_data_at_risk());
    add_recovery_slot(other.path(), &host(2), PASSPHRASE).unwrap();
    assert_eq!(open_recovery_slot(other.path(), PASSPHRASE).unwrap().expose(), &[2; STORE_KEY_BYTES]);
}

#[test]
fn a_slot_is_added_by_the_key_only_and_holds_neither_key_nor_passphrase() {
    let folder = store_with_slot();
    let before = fs::read(slot(&folder)).unwrap();
    assert!(matches!(add_recovery_slot(folder.path(), &host(2), PASSPHRASE), Err(StoreError::WrongKey)));
    for passphrase in [b"too short".as_slice(), &[b'a'; PASSPHRASE_BYTES_MAX + 1]] {
        let refused = add_recovery_slot(folder.path(), &host(1), passphrase);
        assert!(matches!(refused, Err(StoreError::PassphraseLength { .. })));
    }
    assert_eq!(fs::read(slot(&folder)).unwrap(), before);
    let text = String::from_utf8(before).unwrap();
    assert!(!text.contains("0101010101") && !text.contains("Nordmarka"), "{text}");
    assert_eq!(look_at_recovery_slot(folder.path()).unwrap(), RecoverySlot::Fits);
    let _open = open_store(folder.path(), &host(1)).unwrap();
    assert!(matches!(add_recovery_slot(folder.path(), &host(1), PASSPHRASE), Err(StoreError::AlreadyOpen)));
}
