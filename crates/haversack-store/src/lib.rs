//! Haversack remembers here: the SQLCipher file, its key and lock, and one transaction per unit of work.
//!
//! Never decides (core does), never touches the network, never awaits. Serves the promises "an acknowledged edit
//! survives a kill", "nothing is recreated or wiped" and "no byte of a value is readable on disk".

mod connection;
mod error;
mod files;
mod key;
mod lock;
mod open;
#[cfg(feature = "platform-keys")]
mod platform_key;
mod sidecar;

pub use error::StoreError;
pub use key::{HostKey, KeyProvider, STORE_KEY_BYTES, StoreKey};
pub use open::{Opened, open_store, set_aside};
#[cfg(feature = "platform-keys")]
pub use platform_key::PlatformKeys;
