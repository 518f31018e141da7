//! The recovery slots: small files beside the database that hold the store key, wrapped under a passphrase or, in
//! [`organisation`], under an organisation's public key, so that work survives a key store that lost its key. Both may be
//! there at once, and each is opened without the other.
//!
//! The passphrase is stretched by PBKDF2-HMAC-SHA512 and the key wrapped by AES-256-GCM, bound to the store, the kind of
//! slot and its format. The slot never holds anything a key could be found from faster than by guessing the passphrase,
//! and opening it changes nothing. Serves the promise "a lost key store loses no work where there is a recovery slot".

mod file;
pub(crate) mod organisation;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::path::Path;

use haversack_protocol::StoreId;
use haversack_protocol::limits::{
    PASSPHRASE_BYTES_MAX, PASSPHRASE_BYTES_MIN, RECOVERY_ITERATIONS, RECOVERY_ITERATIONS_MAX,
};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::pbkdf2;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use file::{WrittenSlot, bytes_of, hexadecimal};

use crate::files::StoreFiles;
use crate::lock::StoreLock;
use crate::open::keep;
use crate::sidecar::Sidecar;
use crate::{KeyProvider, STORE_KEY_BYTES, StoreError, StoreKey};

/// The kind of this slot.
const KIND: &str = "passphrase";

/// Bytes of the salt.
const SALT_BYTES: usize = 16;

/// What a recovery slot is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoverySlot {
    /// There is none.
    Absent,
    /// It holds the key of this store.
    Fits,
    /// It holds a key the store no longer has.
    Stale,
    /// It is another store's.
    Foreign,
    /// It does not read.
    Unreadable,
}

impl RecoverySlot {
    /// A word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Fits => "fits",
            Self::Stale => "stale",
            Self::Foreign => "foreign",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The slot as it is written; bytes as hexadecimal digits.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Slot {
    format: i64,
    store_id: StoreId,
    kind: String,
    iterations: u32,
    salt: String,
    nonce: String,
    wrapped: String,
    /// Tells whether the store still has this key, without the passphrase.
    key_check: String,
    checksum: String,
}

/// Wraps the key of a store under a passphrase, over the slot there was.
///
/// # Errors
/// [`StoreError::PassphraseLength`], [`StoreError::AlreadyOpen`], those of the key, or a failure of the disk; the slot is
/// then the one there was.
pub fn add_recovery_slot(folder: &Path, keys: &dyn KeyProvider, passphrase: &[u8]) -> Result<(), StoreError> {
    let files = StoreFiles::in_folder(folder);
    let _lock = StoreLock::acquire(&files.lock())?;
    let sidecar = Sidecar::read(&files.sidecar())?.ok_or(StoreError::SidecarUnreadable)?;
    let key = sidecar.current_key(keys)?.ok_or(StoreError::WrongKey)?;
    let slot = Slot::wrap(&sidecar, &key, passphrase)?;
    files.write_recovery(&file::encoded(&slot))
}

/// The key in a store's recovery slot. Changes nothing.
///
/// # Errors
/// [`StoreError::RecoverySlotMissing`], [`StoreError::RecoverySlotUnreadable`], [`StoreError::RecoverySlotForeign`],
/// [`StoreError::RecoverySlotStale`], [`StoreError::WrongPassphrase`].
pub fn open_recovery_slot(folder: &Path, passphrase: &[u8]) -> Result<StoreKey, StoreError> {
    let files = StoreFiles::in_folder(folder);
    file::read_fitting::<Slot>(&files.recovery(), &files)?.unwrap(passphrase)
}

/// Brings the key in the recovery slot back to a key provider that has none. One that it has is never replaced.
///
/// # Errors
/// Those of [`open_recovery_slot`]; [`StoreError::WrongKey`] when the provider has another key; what it answers.
pub fn restore_key(folder: &Path, keys: &dyn KeyProvider, passphrase: &[u8]) -> Result<(), StoreError> {
    give_back(folder, keys, || open_recovery_slot(folder, passphrase))
}

/// Brings a key that was in a slot back to a key provider that has none.
fn give_back(
    folder: &Path,
    keys: &dyn KeyProvider,
    open: impl FnOnce() -> Result<StoreKey, StoreError>,
) -> Result<(), StoreError> {
    let files = StoreFiles::in_folder(folder);
    let _lock = StoreLock::acquire(&files.lock())?;
    let key = open()?;
    let sidecar = Sidecar::read(&files.sidecar())?.ok_or(StoreError::SidecarUnreadable)?;
    match keys.load(sidecar.key_name())? {
        Some(kept) if kept.expose() == key.expose() => Ok(()),
        Some(_) => Err(StoreError::WrongKey),
        None => keep(keys, sidecar.key_name(), &key),
    }
}

/// Looks what the recovery slot under a passphrase is good for, without that.
///
/// # Errors
/// Why its file cannot be read.
pub fn look_at_recovery_slot(folder: &Path) -> Result<RecoverySlot, StoreError> {
    let files = StoreFiles::in_folder(folder);
    file::look::<Slot>(&files.recovery(), &files)
}

impl WrittenSlot for Slot {
    fn is_sound(&self) -> bool {
        // Fewer iterations than ours would be a trap, and too many would never end.
        let is_bounded = (RECOVERY_ITERATIONS..=RECOVERY_ITERATIONS_MAX).contains(&self.iterations);
        self.format == file::SLOT_FORMAT && self.kind == KIND && is_bounded
    }

    fn checksum(&mut self) -> &mut String {
        &mut self.checksum
    }

    fn names(&self) -> (StoreId, &str) {
        (self.store_id, &self.key_check)
    }
}

impl Slot {
    fn wrap(sidecar: &Sidecar, key: &StoreKey, passphrase: &[u8]) -> Result<Self, StoreError> {
        if !(PASSPHRASE_BYTES_MIN..=PASSPHRASE_BYTES_MAX).contains(&passphrase.len()) {
            return Err(StoreError::PassphraseLength {
                min: PASSPHRASE_BYTES_MIN,
                max: PASSPHRASE_BYTES_MAX,
            });
        }
        let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_LEN]);
        let random = SystemRandom::new();
        random.fill(&mut salt).and_then(|()| random.fill(&mut nonce)).map_err(|_| StoreError::NoAccess)?;
        let mut slot = Self {
            format: file::SLOT_FORMAT,
            store_id: sidecar.store_id,
            kind: KIND.to_owned(),
            iterations: RECOVERY_ITERATIONS,
            salt: hexadecimal(&salt),
            nonce: hexadecimal(&nonce),
            wrapped: String::new(),
            key_check: sidecar.key_check().to_owned(),
            checksum: String::new(),
        };
        let wrapping = slot.wrapping_key(&salt, passphrase)?;
        // With room for the tag: a vector that grows leaves a copy of the key behind.
        let mut wrapped = Zeroizing::new(Vec::with_capacity(STORE_KEY_BYTES + AES_256_GCM.tag_len()));
        wrapped.extend_from_slice(key.expose());
        wrapping
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), slot.bound_to(), &mut *wrapped)
            .map_err(|_| StoreError::RecoverySlotUnreadable)?;
        slot.wrapped = hexadecimal(&wrapped);
        file::seal(&mut slot);
        Ok(slot)
    }

    fn unwrap(&self, passphrase: &[u8]) -> Result<StoreKey, StoreError> {
        let unreadable = StoreError::RecoverySlotUnreadable;
        let (Some(salt), Some(nonce), Some(wrapped)) =
            (bytes_of(&self.salt), bytes_of(&self.nonce), bytes_of(&self.wrapped))
        else {
            return Err(unreadable);
        };
        let nonce =
            Nonce::try_assume_unique_for_key(&nonce).map_err(|_| StoreError::RecoverySlotUnreadable)?;
        let mut wrapped = Zeroizing::new(wrapped);
        let opened = self
            .wrapping_key(&salt, passphrase)?
            .open_in_place(nonce, self.bound_to(), &mut wrapped)
            .map_err(|_| StoreError::WrongPassphrase)?;
        let key: [u8; STORE_KEY_BYTES] = (&*opened).try_into().map_err(|_| unreadable)?;
        Ok(StoreKey::from_bytes(key))
    }

    fn wrapping_key(&self, salt: &[u8], passphrase: &[u8]) -> Result<LessSafeKey, StoreError> {
        let iterations = NonZeroU32::new(self.iterations).ok_or(StoreError::RecoverySlotUnreadable)?;
        let mut bytes = Zeroizing::new([0; STORE_KEY_BYTES]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, iterations, salt, passphrase, bytes.as_mut());
        let key = UnboundKey::new(&AES_256_GCM, bytes.as_ref()).map_err(|_| StoreError::KeyUnusable)?;
        Ok(LessSafeKey::new(key))
    }

    /// What the wrapped key is bound to: it cannot be moved to another store, or be taken for another kind.
    fn bound_to(&self) -> Aad<Vec<u8>> {
        let Self { store_id, kind, format, iterations, .. } = self;
        Aad::from(format!("haversack recovery slot|{store_id}|{kind}|{format}|{iterations}").into_bytes())
    }
}
