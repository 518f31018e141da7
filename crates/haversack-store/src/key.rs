//! Store keys and where they live.
//!
//! A key is 32 random bytes, never derived from anything a person can forget, and never part of a message, a log or an
//! SQL text. Serves the promise "opening never creates a key over an existing file".

use haversack_protocol::StoreId;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::StoreError;

/// Bytes of a store key.
pub const STORE_KEY_BYTES: usize = 32;

/// The key of one store. Wiped when dropped; never printed.
#[derive(Clone)]
pub struct StoreKey(Zeroizing<[u8; STORE_KEY_BYTES]>);

impl StoreKey {
    /// Wraps 32 bytes the host brings.
    pub fn from_bytes(bytes: [u8; STORE_KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Draws a fresh key.
    ///
    /// # Errors
    /// [`StoreError::NoAccess`] when the system has no randomness to give.
    pub fn random() -> Result<Self, StoreError> {
        let mut bytes = Zeroizing::new([0u8; STORE_KEY_BYTES]);
        SystemRandom::new().fill(bytes.as_mut()).map_err(|_| StoreError::NoAccess)?;
        Ok(Self(bytes))
    }

    /// The raw bytes, for the key store and the cipher only.
    pub fn expose(&self) -> &[u8; STORE_KEY_BYTES] {
        &self.0
    }
}

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreKey(..)")
    }
}

/// Where keys live: the platform's secure store, or the host. Called on opening only, never on a host's main thread.
pub trait KeyProvider: Send + Sync {
    /// Reads the key of a store; `None` when there is none. Must never create one.
    ///
    /// # Errors
    /// [`StoreError::KeyTemporarilyUnavailable`], [`StoreError::NoKeyStore`] or [`StoreError::KeyUnusable`].
    fn load(&self, store: StoreId) -> Result<Option<StoreKey>, StoreError>;

    /// Reads the key for a store file whose sidecar is lost, so that its id cannot be told; `None` unless the
    /// provider knows one key only.
    ///
    /// # Errors
    /// As [`KeyProvider::load`].
    fn load_without_id(&self) -> Result<Option<StoreKey>, StoreError> {
        Ok(None)
    }

    /// Keeps the key of a new store, the next key of one, or one that was recovered. Asked only after
    /// [`KeyProvider::load`] said `None` for that name.
    ///
    /// # Errors
    /// As [`KeyProvider::load`].
    fn save(&self, store: StoreId, key: &StoreKey) -> Result<(), StoreError>;

    /// Forgets a key that opens nothing any more. A provider that keeps it all the same does no harm.
    ///
    /// # Errors
    /// As [`KeyProvider::load`].
    fn forget(&self, _store: StoreId) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A key the host hands in, for this one opening.
#[derive(Debug)]
pub struct HostKey(StoreKey);

impl HostKey {
    /// Wraps the key.
    pub fn new(key: StoreKey) -> Self {
        Self(key)
    }
}

impl KeyProvider for HostKey {
    fn load(&self, _: StoreId) -> Result<Option<StoreKey>, StoreError> {
        Ok(Some(self.0.clone()))
    }

    fn load_without_id(&self) -> Result<Option<StoreKey>, StoreError> {
        Ok(Some(self.0.clone()))
    }

    fn save(&self, _: StoreId, _: &StoreKey) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_prints_itself() {
        let key = StoreKey::from_bytes([0xab; STORE_KEY_BYTES]);
        let printed = format!("{key:?} {:?}", HostKey::new(key.clone()));
        assert!(!printed.contains("171") && !printed.to_lowercase().contains("ab"), "{printed}");
    }

    #[test]
    fn two_fresh_keys_differ() {
        assert_ne!(StoreKey::random().unwrap().expose(), StoreKey::random().unwrap().expose());
    }
}
