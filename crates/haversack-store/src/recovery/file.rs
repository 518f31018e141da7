//! What the files of all recovery slots have in common: a format told before anything else, a checksum that tells damage
//! from a wrong secret, and the store and key they are of.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use haversack_protocol::StoreId;
use ring::digest::{SHA256, digest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::RecoverySlot;
use crate::StoreError;
use crate::files::StoreFiles;
use crate::sidecar::Sidecar;

/// Format of the slots this library writes, and the newest it reads.
pub(super) const SLOT_FORMAT: i64 = 1;

/// Greatest size of a slot; ours take about 500 bytes.
const SLOT_BYTES_MAX: u64 = 4096;

/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 8;

/// A slot as it is written.
pub(super) trait WrittenSlot: Clone + Serialize + DeserializeOwned {
    /// Says whether format, kind and bounds are ones this library reads.
    fn is_sound(&self) -> bool;
    /// The place of the checksum.
    fn checksum(&mut self) -> &mut String;
    /// The store it is of, and what its key is recognised by.
    fn names(&self) -> (StoreId, &str);
}

/// The bytes of a slot's file.
pub(super) fn encoded(slot: &impl WrittenSlot) -> Vec<u8> {
    serde_json::to_vec(slot).expect("a flat struct of texts and numbers serialises")
}

/// Puts the checksum of everything else in its place.
pub(super) fn seal<S: WrittenSlot>(slot: &mut S) {
    *slot.checksum() = checksum_of_rest(slot);
}

fn checksum_of_rest<S: WrittenSlot>(slot: &S) -> String {
    let mut rest = slot.clone();
    rest.checksum().clear();
    hexadecimal(&digest(&SHA256, &encoded(&rest)).as_ref()[..CHECKSUM_BYTES])
}

/// Reads a slot; `None` where there is no file.
///
/// # Errors
/// [`StoreError::RecoverySlotUnreadable`], [`StoreError::SchemaTooNew`], or why the file cannot be read.
pub(super) fn read<S: WrittenSlot>(path: &Path) -> Result<Option<S>, StoreError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(SLOT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SLOT_BYTES_MAX {
        return Err(StoreError::RecoverySlotUnreadable);
    }
    parse(&bytes).map(Some)
}

/// Reads the bytes of a slot.
///
/// # Errors
/// [`StoreError::RecoverySlotUnreadable`], [`StoreError::SchemaTooNew`].
pub(super) fn parse<S: WrittenSlot>(bytes: &[u8]) -> Result<S, StoreError> {
    let unreadable = |_| StoreError::RecoverySlotUnreadable;
    let Format { format } = serde_json::from_slice(bytes).map_err(unreadable)?;
    if format > SLOT_FORMAT {
        return Err(StoreError::SchemaTooNew { found: format, known: SLOT_FORMAT });
    }
    let mut slot: S = serde_json::from_slice(bytes).map_err(unreadable)?;
    let expected = checksum_of_rest(&slot);
    if slot.is_sound() && *slot.checksum() == expected {
        Ok(slot)
    } else {
        Err(StoreError::RecoverySlotUnreadable)
    }
}

/// Reads a slot that must hold the key of the store beside it.
///
/// # Errors
/// Those of [`read`], [`StoreError::RecoverySlotMissing`], [`StoreError::RecoverySlotForeign`],
/// [`StoreError::RecoverySlotStale`].
pub(super) fn read_fitting<S: WrittenSlot>(path: &Path, files: &StoreFiles) -> Result<S, StoreError> {
    let slot: S = read(path)?.ok_or(StoreError::RecoverySlotMissing)?;
    match compare(&slot, files)? {
        RecoverySlot::Foreign => Err(StoreError::RecoverySlotForeign),
        RecoverySlot::Stale => Err(StoreError::RecoverySlotStale),
        _ => Ok(slot),
    }
}

/// Looks what a slot is good for.
///
/// # Errors
/// Why a file cannot be read.
pub(super) fn look<S: WrittenSlot>(path: &Path, files: &StoreFiles) -> Result<RecoverySlot, StoreError> {
    match read::<S>(path) {
        Ok(None) => Ok(RecoverySlot::Absent),
        Ok(Some(slot)) => compare(&slot, files),
        Err(StoreError::RecoverySlotUnreadable) => Ok(RecoverySlot::Unreadable),
        Err(error) => Err(error),
    }
}

/// Compares it with the sidecar; where that does not read, the slot is believed, for it may be the only way back.
fn compare(slot: &impl WrittenSlot, files: &StoreFiles) -> Result<RecoverySlot, StoreError> {
    let sidecar = match Sidecar::read(&files.sidecar()) {
        Ok(Some(sidecar)) => sidecar,
        Ok(None) | Err(StoreError::SidecarUnreadable) => return Ok(RecoverySlot::Fits),
        Err(error) => return Err(error),
    };
    let (store_id, key_check) = slot.names();
    Ok(if sidecar.store_id != store_id {
        RecoverySlot::Foreign
    } else if sidecar.key_check() == key_check {
        RecoverySlot::Fits
    } else {
        RecoverySlot::Stale
    })
}

/// The one member read before all others, so that a newer format is told from a damaged file.
#[derive(Deserialize)]
struct Format {
    format: i64,
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for.
pub(super) fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let nibble = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(nibble(high)? << 4 | nibble(low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}
