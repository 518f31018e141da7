//! The recovery slot under an organisation's public key: the store key, wrapped so that only who holds the organisation's
//! private key can bring it back. That key never comes near a device, nor near this code.
//!
//! The device draws an ephemeral X25519 key, agrees with the organisation's public one, and forgets its own private half.
//! HKDF-SHA256 makes the wrapping key of what was agreed, with both public keys and the store's id as context; AES-256-GCM
//! wraps. To open the slot the organisation derives the same secret where its private key lives, from the slot's ephemeral
//! public key, and hands that secret over: it opens this one slot and nothing else. Serves the promise "a lost key store
//! loses no work where there is a recovery slot".

#[cfg(test)]
mod tests;

use std::path::Path;

use haversack_protocol::StoreId;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::file::{self, WrittenSlot, bytes_of, hexadecimal};
use super::{RecoverySlot, give_back};
use crate::files::StoreFiles;
use crate::lock::StoreLock;
use crate::sidecar::Sidecar;
use crate::{KeyProvider, STORE_KEY_BYTES, StoreError, StoreKey};

/// Bytes of an X25519 key, and of the secret two of them agree on.
pub const ORGANISATION_KEY_BYTES: usize = 32;

/// The kind of this slot.
const KIND: &str = "x25519";

/// What the wrapping key is for; a secret agreed on for anything else makes another one.
const PURPOSE: &[u8] = b"haversack organisation slot";

/// An organisation's X25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrganisationKey([u8; ORGANISATION_KEY_BYTES]);

impl OrganisationKey {
    /// Wraps the 32 bytes of a public key. Whether it is of use shows when a slot is made under it.
    pub const fn from_bytes(bytes: [u8; ORGANISATION_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; ORGANISATION_KEY_BYTES] {
        &self.0
    }
}

/// What the organisation derived for one slot. Wiped when dropped; never printed.
pub struct SharedSecret(Zeroizing<[u8; ORGANISATION_KEY_BYTES]>);

impl SharedSecret {
    /// Wraps the 32 bytes the organisation derived.
    pub fn from_bytes(bytes: [u8; ORGANISATION_KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}

/// What an organisation needs to know to derive the secret of a slot. Nothing of it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryRequest {
    /// The store it is about.
    pub store_id: StoreId,
    /// The public key the slot was made under; the organisation looks up its private half.
    pub organisation: OrganisationKey,
    /// The slot's ephemeral public key, to derive the secret with.
    pub ephemeral: [u8; ORGANISATION_KEY_BYTES],
}

/// The slot as it is written; bytes as hexadecimal digits.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Slot {
    format: i64,
    store_id: StoreId,
    kind: String,
    organisation: String,
    ephemeral: String,
    nonce: String,
    wrapped: String,
    /// Tells whether the store still has this key, without any secret.
    key_check: String,
    checksum: String,
}

impl WrittenSlot for Slot {
    fn is_sound(&self) -> bool {
        self.format == file::SLOT_FORMAT && self.kind == KIND
    }

    fn checksum(&mut self) -> &mut String {
        &mut self.checksum
    }

    fn names(&self) -> (StoreId, &str) {
        (self.store_id, &self.key_check)
    }
}

/// Wraps the key of a store under an organisation's public key, over the slot of this kind there was.
///
/// # Errors
/// [`StoreError::OrganisationKeyUnusable`] for a key nothing can be agreed on with, [`StoreError::AlreadyOpen`], those of
/// the key, or a failure of the disk; the slot is then the one there was.
pub fn add_organisation_slot(
    folder: &Path,
    keys: &dyn KeyProvider,
    organisation: OrganisationKey,
) -> Result<(), StoreError> {
    let files = StoreFiles::in_folder(folder);
    let _lock = StoreLock::acquire(&files.lock())?;
    let sidecar = Sidecar::read(&files.sidecar())?.ok_or(StoreError::SidecarUnreadable)?;
    let key = sidecar.current_key(keys)?.ok_or(StoreError::WrongKey)?;
    let slot = Slot::wrap(&sidecar, &key, organisation)?;
    files.write_organisation_slot(&file::encoded(&slot))
}

/// What the organisation needs to derive the secret of a store's slot. Changes nothing.
///
/// # Errors
/// [`StoreError::RecoverySlotMissing`], [`StoreError::RecoverySlotUnreadable`], [`StoreError::RecoverySlotForeign`],
/// [`StoreError::RecoverySlotStale`].
pub fn recovery_request(folder: &Path) -> Result<RecoveryRequest, StoreError> {
    let slot = fitting_slot(&StoreFiles::in_folder(folder))?;
    let (organisation, ephemeral) = slot.public_keys()?;
    Ok(RecoveryRequest {
        store_id: slot.store_id,
        organisation: OrganisationKey::from_bytes(organisation),
        ephemeral,
    })
}

/// The key in a store's slot under an organisation's key. Changes nothing.
///
/// # Errors
/// Those of [`recovery_request`], and [`StoreError::WrongSecret`].
pub fn open_organisation_slot(folder: &Path, secret: &SharedSecret) -> Result<StoreKey, StoreError> {
    fitting_slot(&StoreFiles::in_folder(folder))?.unwrap(secret)
}

/// Brings the key in the slot back to a key provider that has none. One that it has is never replaced.
///
/// # Errors
/// Those of [`open_organisation_slot`]; [`StoreError::WrongKey`] when the provider has another key; what it answers.
pub fn restore_key_with_secret(
    folder: &Path,
    keys: &dyn KeyProvider,
    secret: &SharedSecret,
) -> Result<(), StoreError> {
    give_back(folder, keys, || open_organisation_slot(folder, secret))
}

/// Looks what the slot under an organisation's key is good for, without any secret.
///
/// # Errors
/// Why its file cannot be read.
pub fn look_at_organisation_slot(folder: &Path) -> Result<RecoverySlot, StoreError> {
    let files = StoreFiles::in_folder(folder);
    file::look::<Slot>(&files.organisation_slot(), &files)
}

fn fitting_slot(files: &StoreFiles) -> Result<Slot, StoreError> {
    file::read_fitting(&files.organisation_slot(), files)
}

impl Slot {
    fn wrap(sidecar: &Sidecar, key: &StoreKey, organisation: OrganisationKey) -> Result<Self, StoreError> {
        let random = SystemRandom::new();
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce).map_err(|_| StoreError::NoAccess)?;
        let private = EphemeralPrivateKey::generate(&X25519, &random).map_err(|_| StoreError::NoAccess)?;
        let public = private.compute_public_key().map_err(|_| StoreError::NoAccess)?;
        let mut slot = Self {
            format: file::SLOT_FORMAT,
            store_id: sidecar.store_id,
            kind: KIND.to_owned(),
            organisation: hexadecimal(organisation.as_bytes()),
            ephemeral: hexadecimal(public.as_ref()),
            nonce: hexadecimal(&nonce),
            wrapped: String::new(),
            key_check: sidecar.key_check().to_owned(),
            checksum: String::new(),
        };
        // Refused there: a point of low order, with which every agreement comes to the same.
        let theirs = UnparsedPublicKey::new(&X25519, organisation.as_bytes());
        let wrapping = agree_ephemeral(private, &theirs, |agreed| slot.wrapping_key(agreed))
            .map_err(|_| StoreError::OrganisationKeyUnusable)??;
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

    fn unwrap(&self, secret: &SharedSecret) -> Result<StoreKey, StoreError> {
        let unreadable = || StoreError::RecoverySlotUnreadable;
        let nonce = bytes_of(&self.nonce).ok_or_else(unreadable)?;
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| unreadable())?;
        let mut wrapped = Zeroizing::new(bytes_of(&self.wrapped).ok_or_else(unreadable)?);
        let opened = self
            .wrapping_key(secret.0.as_ref())?
            .open_in_place(nonce, self.bound_to(), &mut wrapped)
            .map_err(|_| StoreError::WrongSecret)?;
        let key: [u8; STORE_KEY_BYTES] = (&*opened).try_into().map_err(|_| unreadable())?;
        Ok(StoreKey::from_bytes(key))
    }

    fn public_keys(&self) -> Result<([u8; 32], [u8; 32]), StoreError> {
        let key = |digits: &str| bytes_of(digits)?.try_into().ok();
        key(&self.organisation).zip(key(&self.ephemeral)).ok_or(StoreError::RecoverySlotUnreadable)
    }

    fn wrapping_key(&self, agreed: &[u8]) -> Result<LessSafeKey, StoreError> {
        let (organisation, ephemeral) = self.public_keys()?;
        let context: [&[u8]; 4] = [PURPOSE, &ephemeral, &organisation, self.store_id.as_bytes()];
        let mut bytes = Zeroizing::new([0; STORE_KEY_BYTES]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, PURPOSE)
            .extract(agreed)
            .expand(&context, hkdf::HKDF_SHA256)
            .and_then(|expanded| expanded.fill(bytes.as_mut()))
            .map_err(|_| StoreError::KeyUnusable)?;
        let key = UnboundKey::new(&AES_256_GCM, bytes.as_ref()).map_err(|_| StoreError::KeyUnusable)?;
        Ok(LessSafeKey::new(key))
    }

    /// What the wrapped key is bound to: it cannot be moved to another store, or be taken for another kind.
    fn bound_to(&self) -> Aad<Vec<u8>> {
        let Self { store_id, kind, format, organisation, ephemeral, .. } = self;
        let bound = format!("haversack recovery slot|{store_id}|{kind}|{format}|{organisation}|{ephemeral}");
        Aad::from(bound.into_bytes())
    }
}
