//! Names of what was erased: whoever has a record can tell that it is meant, and nobody else learns which it was.

use haversack_protocol::{ErasedName, RecordId};
use ring::digest::{Context, SHA256};

/// What is hashed before a record id, so that the hash serves nothing else.
const PREFIX: &[u8] = b"haversack erased record";

/// What stands for a record once it is erased.
pub fn erased_name(record: RecordId) -> ErasedName {
    let mut digest = Context::new(&SHA256);
    digest.update(PREFIX);
    digest.update(record.as_bytes());
    ErasedName::from_bytes(digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
}
