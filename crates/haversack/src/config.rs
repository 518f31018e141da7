//! What opening a store needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use haversack_protocol::Schema;
use haversack_store::KeyProvider;

use crate::clock::{Clock, SystemClock};

/// Where the store is, what it holds, who keeps its key.
#[derive(Clone)]
pub struct Config {
    pub(crate) folder: PathBuf,
    pub(crate) schema: Arc<Schema>,
    pub(crate) keys: Arc<dyn KeyProvider>,
    pub(crate) wants_live: bool,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Config {
    /// A store in `folder` (made when absent), for records of `schema`, its key kept by `keys`.
    pub fn new(folder: impl AsRef<Path>, schema: Schema, keys: Arc<dyn KeyProvider>) -> Self {
        Self {
            folder: folder.as_ref().to_owned(),
            schema: Arc::new(schema),
            keys,
            wants_live: true,
            clock: Arc::new(SystemClock),
        }
    }

    /// Holds no live connection: what others change is fetched when the app asks, and when this device has work.
    #[must_use]
    pub fn without_live_connection(mut self) -> Self {
        self.wants_live = false;
        self
    }

    /// Takes the time from this clock and not from the device's; for tests that let days pass.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}
