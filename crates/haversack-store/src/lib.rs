//! Haversack remembers here: the SQLCipher file, its key and lock, and one transaction per unit of work.
//!
//! Never decides (core does), never touches the network, never awaits. Serves the promises "an acknowledged edit
//! survives a kill", "nothing is recreated or wiped" and "no byte of a value is readable on disk".

mod error;
mod key;

pub use error::StoreError;
pub use key::{HostKey, KeyProvider, STORE_KEY_BYTES, StoreKey};
