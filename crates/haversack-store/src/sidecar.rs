//! The sidecar: a small readable file beside the database that says which store it is, how far its making came, and
//! how to recognise its key.
//!
//! It is what tells a wrong key from a damaged file, which look alike to SQLCipher, and a lost file from a new store.
//! It never holds a key, nor anything from which one could be found faster than by guessing 256 bits.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use haversack_protocol::StoreId;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::connection::Layout;
use crate::files::StoreFiles;
use crate::{KeyProvider, StoreError, StoreKey};

/// Format of the sidecar this library writes, and the newest it reads.
pub const SIDECAR_FORMAT: i64 = 1;

/// Greatest size of a sidecar; ours take about 1,400 bytes.
const SIDECAR_BYTES_MAX: u64 = 4096;

/// Bytes of a key check value: enough to tell keys apart, far too few to stand for one.
const KEY_CHECK_BYTES: usize = 8;

/// How far the making of the store came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Progress {
    /// The store was never handed out: it holds no work, and its database may be missing.
    Creating,
    /// The store was whole once: a missing database is a loss.
    Ready,
}

/// What the sidecar says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sidecar {
    format: i64,
    /// The store beside it.
    pub(crate) store_id: StoreId,
    /// How far its making came.
    #[serde(rename = "state")]
    pub(crate) progress: Progress,
    key_check: String,
    /// Name under which the key provider keeps the key, unless it is the store's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_name: Option<StoreId>,
    /// The key the store is being given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<NextKey>,
    /// Where the database's tables begin, once it was open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layout: Option<Layout>,
}

/// The key a store is being given: either it or the one before opens the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NextKey {
    /// Name under which the key provider keeps it.
    pub(crate) name: StoreId,
    key_check: String,
}

impl NextKey {
    /// Describes a key that a store is to have.
    pub(crate) fn new(store_id: StoreId, name: StoreId, key: &StoreKey) -> Self {
        Self { name, key_check: key_check(store_id, key) }
    }
}

/// The one member read before all others, so that a newer format is told from a damaged file.
#[derive(Deserialize)]
struct Format {
    format: i64,
}

impl Sidecar {
    /// Describes a store and its key.
    pub(crate) fn new(store_id: StoreId, progress: Progress, key: &StoreKey) -> Self {
        let key_check = key_check(store_id, key);
        Self {
            format: SIDECAR_FORMAT,
            store_id,
            progress,
            key_check,
            key_name: None,
            next: None,
            layout: None,
        }
    }

    /// Reads a sidecar; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::SidecarUnreadable`] for anything that is not one, [`StoreError::SchemaTooNew`] for a newer format.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(SIDECAR_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > SIDECAR_BYTES_MAX {
            return Err(StoreError::SidecarUnreadable);
        }
        Self::parse(&bytes).map(Some)
    }

    fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        let Format { format } = serde_json::from_slice(bytes).map_err(|_| StoreError::SidecarUnreadable)?;
        match format {
            SIDECAR_FORMAT => serde_json::from_slice(bytes).map_err(|_| StoreError::SidecarUnreadable),
            newer if newer > SIDECAR_FORMAT => {
                Err(StoreError::SchemaTooNew { found: newer, known: SIDECAR_FORMAT })
            }
            _ => Err(StoreError::SidecarUnreadable),
        }
    }

    /// Writes it beside the database, whole or not at all.
    pub(crate) fn write(&self, files: &StoreFiles) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(self).expect("a flat struct of texts and numbers serialises");
        files.write_sidecar(&bytes)
    }

    /// The same store, with its making finished.
    pub(crate) fn ready(&self) -> Self {
        Self { progress: Progress::Ready, ..self.clone() }
    }

    /// The same store under the key it has now, whatever key it was being given.
    pub(crate) fn settled(&self) -> Self {
        Self { progress: Progress::Ready, next: None, ..self.clone() }
    }

    /// The same store, which begins its tables there.
    pub(crate) fn laid_out(&self, layout: Layout) -> Self {
        Self { layout: Some(layout), ..self.clone() }
    }

    /// The same store while it is being given another key.
    pub(crate) fn with_next(&self, next: NextKey) -> Self {
        Self { next: Some(next), ..self.clone() }
    }

    /// The same store once it has its next key.
    pub(crate) fn under(&self, next: &NextKey, key: &StoreKey) -> Self {
        let key_name = Some(next.name);
        Self { key_name, ..Self::new(self.store_id, self.progress, key) }
    }

    /// What the key is recognised by.
    pub(crate) fn key_check(&self) -> &str {
        &self.key_check
    }

    /// Name under which the key provider keeps the key.
    pub(crate) fn key_name(&self) -> StoreId {
        self.key_name.unwrap_or(self.store_id)
    }

    /// The key the store had last, if the provider has it; another one does not count while there is a next one.
    ///
    /// # Errors
    /// [`StoreError::KeyMissing`], [`StoreError::WrongKey`], or what the provider answers.
    pub(crate) fn current_key(&self, keys: &dyn KeyProvider) -> Result<Option<StoreKey>, StoreError> {
        match keys.load(self.key_name())? {
            Some(key) if self.is_key(&key) => Ok(Some(key)),
            _ if self.next.is_some() => Ok(None),
            Some(_) => Err(StoreError::WrongKey),
            None => Err(StoreError::KeyMissing),
        }
    }

    /// The key the store is being given, if the provider has it.
    ///
    /// # Errors
    /// What the provider answers.
    pub(crate) fn next_key(&self, keys: &dyn KeyProvider) -> Result<Option<StoreKey>, StoreError> {
        let Some(next) = &self.next else { return Ok(None) };
        let key = keys.load(next.name)?;
        Ok(key.filter(|key| next.key_check == key_check(self.store_id, key)))
    }

    /// Says whether a key is the one of this store.
    pub(crate) fn is_key(&self, key: &StoreKey) -> bool {
        self.key_check == key_check(self.store_id, key)
    }
}

fn key_check(store_id: StoreId, key: &StoreKey) -> String {
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, key.expose()),
        format!("haversack key check|{store_id}").as_bytes(),
    );
    tag.as_ref()[..KEY_CHECK_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::STORE_KEY_BYTES;

    const STORE: StoreId = StoreId::from_bytes([7; 16]);

    fn key(byte: u8) -> StoreKey {
        StoreKey::from_bytes([byte; STORE_KEY_BYTES])
    }

    #[test]
    fn a_sidecar_reads_back_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let files = StoreFiles::in_folder(folder.path());
        let sidecar = Sidecar::new(STORE, Progress::Creating, &key(1));
        sidecar.write(&files).unwrap();
        assert_eq!(Sidecar::read(&files.sidecar()).unwrap(), Some(sidecar));
    }

    #[test]
    fn only_the_key_of_the_store_passes_the_check() {
        let sidecar = Sidecar::new(STORE, Progress::Ready, &key(1));
        assert!(sidecar.is_key(&key(1)));
        assert!(!sidecar.is_key(&key(2)));
        let other = Sidecar::new(StoreId::from_bytes([8; 16]), Progress::Ready, &key(1));
        assert_ne!(sidecar.key_check, other.key_check, "the check tells stores apart, too");
    }

    #[test]
    fn the_key_check_is_the_agreed_hmac() {
        // Computed apart: HMAC-SHA256 over "haversack key check|07070707-0707-0707-0707-070707070707".
        assert_eq!(key_check(STORE, &key(1)), "c57a8bf51c1c1d45");
    }

    #[test]
    fn a_sidecar_never_holds_its_key() {
        let text = serde_json::to_string(&Sidecar::new(STORE, Progress::Ready, &key(0xab))).unwrap();
        assert!(!text.contains("abab"), "{text}");
    }

    #[test]
    fn what_is_not_a_sidecar_is_told_from_a_newer_one() {
        for garbage in ["", "{", "[]", "{\"format\":1}", "{\"format\":0}", "\u{0}\u{0}", "{\"format\":\"1\"}"]
        {
            let refusal = Sidecar::parse(garbage.as_bytes());
            assert!(matches!(refusal, Err(StoreError::SidecarUnreadable)), "{garbage}");
        }
        let newer = Sidecar::parse(b"{\"format\":2,\"keys\":[]}");
        assert!(matches!(newer, Err(StoreError::SchemaTooNew { found: 2, known: 1 })));
    }

    #[test]
    fn an_endless_sidecar_is_refused_without_being_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.json");
        let mut text = serde_json::to_vec(&Sidecar::new(STORE, Progress::Ready, &key(1))).unwrap();
        text.resize(5_000, b' ');
        std::fs::write(&path, text).unwrap();
        assert!(matches!(Sidecar::read(&path), Err(StoreError::SidecarUnreadable)));
    }
}
