use std::fs;

use tempfile::TempDir;

use super::*;
use crate::{HostKey, add_recovery_slot, look_at_recovery_slot, open_recovery_slot, open_store, rekey};

/// An organisation: ring's ephemeral key plays the one it keeps.
struct Organisation(EphemeralPrivateKey);

impl Organisation {
    fn new() -> (Self, OrganisationKey) {
        let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).unwrap();
        let public = private.compute_public_key().unwrap().as_ref().try_into().unwrap();
        (Self(private), OrganisationKey::from_bytes(public))
    }

    /// Derives the secret of a request, as whoever holds the private key does.
    fn derive(self, request: &RecoveryRequest) -> SharedSecret {
        let theirs = UnparsedPublicKey::new(&X25519, request.ephemeral);
        agree_ephemeral(self.0, &theirs, |agreed| SharedSecret::from_bytes(agreed.try_into().unwrap()))
            .unwrap()
    }
}

fn host(byte: u8) -> HostKey {
    HostKey::new(StoreKey::from_bytes([byte; STORE_KEY_BYTES]))
}

fn new_store() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    drop(open_store(folder.path(), &host(1)).unwrap());
    folder
}

fn store_with_slot() -> (TempDir, Organisation) {
    let folder = new_store();
    let (organisation, public) = Organisation::new();
    add_organisation_slot(folder.path(), &host(1), public).unwrap();
    (folder, organisation)
}

fn slot(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("store.recovery-organisation")
}

fn key_of(opened: Result<StoreKey, StoreError>) -> [u8; STORE_KEY_BYTES] {
    *opened.unwrap().expose()
}

#[test]
fn who_holds_the_private_key_brings_the_store_key_back_and_nobody_else() {
    let (folder, organisation) = store_with_slot();
    let request = recovery_request(folder.path()).unwrap();
    let (stranger, _) = Organisation::new();
    for wrong in [
        stranger.derive(&request),
        SharedSecret::from_bytes([0; 32]),
        SharedSecret::from_bytes(request.ephemeral),
    ] {
        let error = open_organisation_slot(folder.path(), &wrong).unwrap_err();
        assert!(matches!(error, StoreError::WrongSecret) && !error.is_retryable());
    }
    let secret = organisation.derive(&request);
    assert_eq!(key_of(open_organisation_slot(folder.path(), &secret)), [1; STORE_KEY_BYTES]);
    restore_key_with_secret(folder.path(), &host(1), &secret).unwrap();
    let refused = restore_key_with_secret(folder.path(), &host(9), &secret);
    assert!(matches!(refused, Err(StoreError::WrongKey)), "a key that is there is never replaced");
    assert_eq!(format!("{secret:?}"), "SharedSecret(..)");
}

#[test]
fn a_request_names_the_organisation_and_every_slot_is_made_with_a_fresh_key() {
    let folder = new_store();
    let (_, public) = Organisation::new();
    let requests = [(); 2].map(|()| {
        add_organisation_slot(folder.path(), &host(1), public).unwrap();
        recovery_request(folder.path()).unwrap()
    });
    assert!(requests.iter().all(|request| request.organisation == public));
    assert_ne!(requests[0].ephemeral, requests[1].ephemeral);
    let text = fs::read_to_string(slot(&folder)).unwrap();
    assert!(!text.contains("0101010101"), "the key is not readable: {text}");
}

#[test]
fn a_flipped_bit_anywhere_in_the_slot_is_told_and_loses_nothing() {
    let (folder, organisation) = store_with_slot();
    let secret = organisation.derive(&recovery_request(folder.path()).unwrap());
    let whole = fs::read(slot(&folder)).unwrap();
    for place in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[place / 8] ^= 1 << (place % 8);
        fs::write(slot(&folder), &damaged).unwrap();
        match open_organisation_slot(folder.path(), &secret) {
            // The store's name may be written in capitals: that is no other name.
            Ok(key) => {
                assert_eq!(key.expose(), &[1; STORE_KEY_BYTES], "bit {place}");
                assert!(damaged.eq_ignore_ascii_case(&whole), "bit {place}");
            }
            Err(StoreError::RecoverySlotUnreadable | StoreError::SchemaTooNew { .. }) => {}
            Err(error) => panic!("bit {place}: {error:?}"),
        }
        assert_eq!(fs::read(slot(&folder)).unwrap(), damaged, "opening changes nothing");
    }
    assert!(open_store(folder.path(), &host(1)).is_ok());
    fs::write(slot(&folder), whole).unwrap();
    assert_eq!(key_of(open_organisation_slot(folder.path(), &secret)), [1; STORE_KEY_BYTES]);
}

#[test]
fn an_organisation_slot_somebody_changed_with_care_gives_no_key() {
    let (folder, organisation) = store_with_slot();
    let secret = organisation.derive(&recovery_request(folder.path()).unwrap());
    let whole: Slot = file::parse(&fs::read(slot(&folder)).unwrap()).unwrap();
    let turned = |digits: &mut String| {
        let last = if digits.ends_with('0') { "1" } else { "0" };
        digits.replace_range(digits.len() - 1.., last);
    };
    let changes: [&dyn Fn(&mut Slot); 5] = [
        &|slot| turned(&mut slot.organisation),
        &|slot| turned(&mut slot.ephemeral),
        &|slot| turned(&mut slot.nonce),
        &|slot| turned(&mut slot.wrapped),
        &|slot| slot.wrapped.truncate(64),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut changed = whole.clone();
        change(&mut changed);
        file::seal(&mut changed);
        fs::write(slot(&folder), file::encoded(&changed)).unwrap();
        let error = open_organisation_slot(folder.path(), &secret).unwrap_err();
        assert!(matches!(error, StoreError::WrongSecret), "change {number}: {error:?}");
    }
    let mut short = whole;
    short.ephemeral.truncate(62);
    file::seal(&mut short);
    fs::write(slot(&folder), file::encoded(&short)).unwrap();
    assert!(matches!(recovery_request(folder.path()), Err(StoreError::RecoverySlotUnreadable)));
}

#[test]
fn the_organisation_slot_of_another_store_or_of_an_earlier_key_is_told() {
    let ((mine, organisation), (other, _)) = (store_with_slot(), store_with_slot());
    let secret = organisation.derive(&recovery_request(mine.path()).unwrap());
    let own = fs::read(slot(&mine)).unwrap();
    fs::copy(slot(&other), slot(&mine)).unwrap();
    let error = open_organisation_slot(mine.path(), &secret).unwrap_err();
    assert!(matches!(error, StoreError::RecoverySlotForeign));
    assert_eq!(look_at_organisation_slot(mine.path()).unwrap(), RecoverySlot::Foreign);
    // Nor does ours open the other store, whatever names it bears: the wrapping key is made of them.
    let mut moved: Slot = file::parse(&own).unwrap();
    let sidecar = Sidecar::read(&other.path().join("store.json")).unwrap().unwrap();
    (moved.store_id, moved.key_check) = (sidecar.store_id, sidecar.key_check().to_owned());
    file::seal(&mut moved);
    fs::write(slot(&other), file::encoded(&moved)).unwrap();
    assert!(matches!(open_organisation_slot(other.path(), &secret), Err(StoreError::WrongSecret)));

    fs::write(slot(&mine), own).unwrap();
    rekey(mine.path(), &host(1), &host(2)).unwrap();
    let error = open_organisation_slot(mine.path(), &secret).unwrap_err();
    assert!(matches!(error, StoreError::RecoverySlotStale) && error.is_data_at_risk());
}

#[test]
fn a_public_key_nothing_can_be_agreed_on_with_makes_no_slot() {
    let (folder, _) = store_with_slot();
    let before = fs::read(slot(&folder)).unwrap();
    let mut one = [0; 32];
    one[0] = 1;
    // The point of order eight with the smaller coordinate.
    let order_eight = [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ];
    for low in [[0; 32], one, order_eight] {
        let refused = add_organisation_slot(folder.path(), &host(1), OrganisationKey::from_bytes(low));
        assert!(matches!(refused, Err(StoreError::OrganisationKeyUnusable)), "{low:02x?}");
    }
    let (_, public) = Organisation::new();
    let refused = add_organisation_slot(folder.path(), &host(2), public);
    assert!(matches!(refused, Err(StoreError::WrongKey)));
    assert_eq!(fs::read(slot(&folder)).unwrap(), before, "the slot there was stays");
}

#[test]
fn both_slots_stand_beside_each_other_and_open_apart() {
    const PASSPHRASE: &[u8] = b"en lang tur over Nordmarka";
    let (folder, organisation) = store_with_slot();
    add_recovery_slot(folder.path(), &host(1), PASSPHRASE).unwrap();
    let secret = organisation.derive(&recovery_request(folder.path()).unwrap());
    fs::write(folder.path().join("store.recovery"), b"{").unwrap();
    assert_eq!(look_at_recovery_slot(folder.path()).unwrap(), RecoverySlot::Unreadable);
    assert_eq!(key_of(open_organisation_slot(folder.path(), &secret)), [1; STORE_KEY_BYTES]);
    add_recovery_slot(folder.path(), &host(1), PASSPHRASE).unwrap();
    fs::remove_file(slot(&folder)).unwrap();
    assert_eq!(look_at_organisation_slot(folder.path()).unwrap(), RecoverySlot::Absent);
    assert!(matches!(recovery_request(folder.path()), Err(StoreError::RecoverySlotMissing)));
    assert_eq!(key_of(open_recovery_slot(folder.path(), PASSPHRASE)), [1; STORE_KEY_BYTES]);
}
