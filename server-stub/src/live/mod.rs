//! Live connections: who holds one, and what is said on it. They carry pokes and heartbeats, and decide nothing.

mod conversation;
mod places;

pub(crate) use conversation::Conversation;
pub(crate) use places::{Place, Places};

use std::time::Duration;

use haversack_protocol::limits::{LIVE_CONNECTIONS_MAX, LIVE_CONNECTIONS_PER_DEVICE_MAX, LIVE_HEARTBEAT_MS};

/// Bounds of live connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveSettings {
    /// Pause between two heartbeats; the token is looked at with each. Whoever leaves two in a row without an answer
    /// is dropped.
    pub heartbeat: Duration,
    /// Connections in all.
    pub connections_max: usize,
    /// Connections of one device.
    pub connections_per_device_max: usize,
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(LIVE_HEARTBEAT_MS),
            connections_max: LIVE_CONNECTIONS_MAX,
            connections_per_device_max: LIVE_CONNECTIONS_PER_DEVICE_MAX,
        }
    }
}
