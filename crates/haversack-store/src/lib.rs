//! Haversack remembers here: the SQLCipher file, its key and lock, and one transaction per unit of work.
//!
//! Never decides (core does), never touches the network, never awaits. Serves the promises "an acknowledged edit
//! survives a kill", "nothing is recreated or wiped" and "no byte of a value is readable on disk".

mod backup;
mod connection;
mod error;
mod files;
mod key;
mod lock;
mod open;
#[cfg(feature = "platform-keys")]
mod platform_key;
mod query;
mod recovery;
mod rekey;
mod reserve;
mod salvage;
mod sidecar;
mod store;
mod table;
mod unit_of_work;

pub use backup::{RestoreReport, back_up, restore};
pub use connection::STORE_FORMAT;
pub use error::StoreError;
pub use key::{HostKey, KeyProvider, STORE_KEY_BYTES, StoreKey};
pub use open::{Opened, erase_store, open_store, set_aside};
#[cfg(feature = "platform-keys")]
pub use platform_key::PlatformKeys;
pub use query::{
    Comparison, ConflictCandidate, Counts, Direction, FieldConflict, Filter, HistoryEntry, OutboxEntry,
    Query, RecordState, StoredRecord,
};
pub use recovery::organisation::{
    ORGANISATION_KEY_BYTES, OrganisationKey, RecoveryRequest, SharedSecret, add_organisation_slot,
    look_at_organisation_slot, open_organisation_slot, recovery_request, restore_key_with_secret,
};
pub use recovery::{RecoverySlot, add_recovery_slot, look_at_recovery_slot, open_recovery_slot, restore_key};
pub use rekey::rekey;
pub use salvage::{Condition, Examination, SalvageReport, Survey, Tally, examine, salvage};
pub use sidecar::SIDECAR_FORMAT;
pub use store::Store;
pub use table::notice::{Notice, NoticeKind};
pub use unit_of_work::{AppliedPage, Identity, Leased, PageOutcome, Touched};
