//! The only room that reads the clock or draws chance.

use std::time::{SystemTime, UNIX_EPOCH};

use haversack_protocol::{ChangeSetId, RecordId, UnixMillis};
use uuid::Uuid;

/// The device clock.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A fresh record id.
pub(crate) fn new_record() -> RecordId {
    RecordId::from_uuid(Uuid::now_v7())
}

/// A fresh change set id.
pub(crate) fn new_change_set() -> ChangeSetId {
    ChangeSetId::from_uuid(Uuid::now_v7())
}

/// One fresh random number, for jitter.
pub(crate) fn entropy() -> u64 {
    let bytes = Uuid::now_v7();
    let (_, low) = bytes.as_u64_pair();
    // The two variant bits at the top are constant.
    low << 2
}
