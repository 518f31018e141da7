//! The only room that reads the clock or draws chance.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use haversack_protocol::{ChangeSetId, RecordId, UnixMillis};
use uuid::Uuid;

/// A wait for a time to come.
pub type ClockFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Tells a store the time: the device's own clock, unless the app's tests bring one that they move.
///
/// What it says goes into edits, for display, and decides when delivery is tried again. It never decides which of two
/// values is shown, and ids do not follow it.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> UnixMillis;

    /// Waits until the clock says this or later, also when it is moved there. Dropping the wait loses nothing.
    fn until(&self, at: UnixMillis) -> ClockFuture<'_>;
}

/// The clock of the device.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn until(&self, at: UnixMillis) -> ClockFuture<'_> {
        let wait = u64::try_from(at.0.saturating_sub(self.now().0)).unwrap_or(0);
        Box::pin(tokio::time::sleep(Duration::from_millis(wait)))
    }
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
