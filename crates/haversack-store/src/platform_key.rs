//! Keys in the secure store of a desktop: Keychain, Credential Manager or Secret Service.
//!
//! Blocks, for seconds when the platform asks its user, so never call it from an asynchronous task. Reads never create;
//! what cannot be read now is never reported as missing. Phones have no store here and answer
//! [`StoreError::NoKeyStore`]: their host hands the key in.

use haversack_protocol::StoreId;
use keyring::v1::Entry;
use keyring_core::Error;
use zeroize::Zeroizing;

use crate::{KeyProvider, STORE_KEY_BYTES, StoreError, StoreKey};

/// Keeps keys in the platform's secure store, one entry per store.
#[derive(Clone, Debug)]
pub struct PlatformKeys {
    service: String,
}

impl PlatformKeys {
    /// Names the service the entries are kept under, usually the id of the app. Never put a user's name there.
    pub fn new(service: impl Into<String>) -> Self {
        Self { service: service.into() }
    }

    fn entry(&self, store: StoreId) -> Result<Entry, StoreError> {
        if Entry::store_status().is_err() {
            return Err(StoreError::NoKeyStore);
        }
        Entry::new(&self.service, &format!("store:{store}")).map_err(refusal)
    }
}

impl KeyProvider for PlatformKeys {
    fn load(&self, store: StoreId) -> Result<Option<StoreKey>, StoreError> {
        load(&self.entry(store)?.inner)
    }

    fn save(&self, store: StoreId, key: &StoreKey) -> Result<(), StoreError> {
        save(&self.entry(store)?.inner, key)
    }

    fn forget(&self, store: StoreId) -> Result<(), StoreError> {
        self.entry(store)?.inner.delete_credential().map_err(refusal)
    }
}

fn load(entry: &keyring_core::Entry) -> Result<Option<StoreKey>, StoreError> {
    let secret = match entry.get_secret() {
        Ok(secret) => Zeroizing::new(secret),
        Err(Error::NoEntry) => return Ok(None),
        Err(error) => return Err(refusal(error)),
    };
    let bytes: [u8; STORE_KEY_BYTES] = secret.as_slice().try_into().map_err(|_| StoreError::KeyUnusable)?;
    Ok(Some(StoreKey::from_bytes(bytes)))
}

fn save(entry: &keyring_core::Entry, key: &StoreKey) -> Result<(), StoreError> {
    entry.set_secret(key.expose()).map_err(refusal)
}

/// Some errors carry the secret they could not read, so none is kept as a source.
fn refusal(error: Error) -> StoreError {
    match error {
        Error::NoEntry => StoreError::KeyMissing,
        Error::NoDefaultStore | Error::NotSupportedByStore(_) => StoreError::NoKeyStore,
        Error::BadEncoding(bytes) | Error::BadDataFormat(bytes, _) => {
            drop(Zeroizing::new(bytes));
            StoreError::KeyUnusable
        }
        Error::BadStoreFormat(_) | Error::Ambiguous(_) | Error::TooLong(..) | Error::Invalid(..) => {
            StoreError::KeyUnusable
        }
        _ => StoreError::KeyTemporarilyUnavailable,
    }
}

#[cfg(test)]
mod tests {
    use keyring_core::api::CredentialStoreApi;
    use keyring_core::mock;

    use super::*;

    fn entry() -> keyring_core::Entry {
        mock::Store::new().unwrap().build("app.example", "store:1", None).unwrap()
    }

    fn failing(error: Error) -> keyring_core::Entry {
        let entry = entry();
        entry.as_any().downcast_ref::<mock::Cred>().unwrap().set_error(error);
        entry
    }

    #[test]
    fn a_saved_key_reads_back() {
        let entry = entry();
        let key = StoreKey::random().unwrap();
        save(&entry, &key).unwrap();
        assert_eq!(load(&entry).unwrap().unwrap().expose(), key.expose());
    }

    #[test]
    fn a_missing_key_is_no_error_and_is_not_created() {
        let entry = entry();
        assert!(load(&entry).unwrap().is_none());
        assert!(load(&entry).unwrap().is_none());
    }

    #[test]
    fn a_key_of_another_length_is_unusable() {
        for length in [0, 31, 33, 64] {
            let entry = entry();
            entry.set_secret(&vec![7; length]).unwrap();
            assert!(matches!(load(&entry), Err(StoreError::KeyUnusable)), "{length} bytes");
        }
    }

    #[test]
    fn a_locked_or_failing_store_is_never_taken_for_a_missing_key() {
        let locked = failing(Error::NoStorageAccess("locked".into()));
        assert!(matches!(load(&locked), Err(StoreError::KeyTemporarilyUnavailable)));
        let broken = failing(Error::PlatformFailure("no bus".into()));
        assert!(matches!(load(&broken), Err(StoreError::KeyTemporarilyUnavailable)));
        let refusing = failing(Error::NoStorageAccess("denied".into()));
        let saved = save(&refusing, &StoreKey::random().unwrap());
        assert!(matches!(saved, Err(StoreError::KeyTemporarilyUnavailable)));
    }

    #[test]
    fn a_secret_the_platform_cannot_decrypt_is_unusable_and_stays_out_of_the_message() {
        let error = load(&failing(Error::BadDataFormat(b"hidden".to_vec(), "hidden".into()))).unwrap_err();
        assert!(matches!(error, StoreError::KeyUnusable));
        assert!(!format!("{error:?} {error}").contains("hidden"));
    }

    #[test]
    fn a_machine_without_a_store_says_so() {
        assert!(matches!(load(&failing(Error::NoDefaultStore)), Err(StoreError::NoKeyStore)));
    }
}
