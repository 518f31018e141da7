//! Haversack: an encrypted, offline-first record store that always finds its way home.
//!
//! Every call works without a network; only [`Haversack::connect`] and [`Haversack::sync_once`] touch it. An edit is
//! durable and visible when its call returns, is delivered in the background, and is rolled back with its input kept
//! when the server refuses it.
//!
//! ```
//! use std::sync::Arc;
//! use haversack::{Changes, Config, Haversack, HostKey, Query, Schema, StoreKey, Value};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # let folder = tempfile::tempdir()?;
//! let schema = Schema::from_json(r#"{ "version": 1, "collections": {
//!     "contact":  { "fields": { "name": { "kind": "text", "required": true } } },
//!     "activity": { "fields": {
//!         "contact": { "kind": "reference", "target": "contact" },
//!         "minutes": { "kind": "integer", "min": 1, "max": 1440, "indexed": true },
//!         "note":    { "kind": "text" } } } } }"#)?;
//! // Phones keep the key in Keychain or Keystore; here the host hands one in.
//! let keys = Arc::new(HostKey::new(StoreKey::random()?));
//! # runtime.block_on(async {
//! let store = Haversack::open(Config::new(folder.path(), schema, keys)).await?;
//!
//! let contact = store.collection("contact").create(Changes::new().set("name", "Kari Nordmann")).await?;
//! let visit = store.collection("activity")
//!     .create(Changes::new().set("contact", contact).set("minutes", 45_i64)).await?;
//! store.collection("activity").edit(visit, Changes::new().set("note", "Gikk tur på Vålerenga")).await?;
//!
//! let long = store.collection("activity").list(Query::of("activity").at_least("minutes", Value::Integer(30))).await?;
//! assert_eq!(long.len(), 1);
//! assert_eq!(store.status().await?.pending, 3);
//! store.close().await?;
//! # Ok::<(), haversack::Error>(())
//! # })?;
//! # Ok(())
//! # }
//! ```

mod changes;
mod client;
mod clock;
mod collection;
mod config;
mod driver;
mod error;
mod outbox;
mod status;
mod transport;
mod typed;
mod watch;

/// One exchange without its network, for a simulation that carries requests itself. Not meant for apps; may change at any time.
#[doc(hidden)]
pub mod carried {
    pub use crate::driver::{Applying, Asking, Exchanged, Outgoing, bind, note_failure, told};
    pub use crate::transport::{Reply, read_answer, read_registration};
}

pub use changes::{Changes, IntoValue, Transaction};
pub use client::{Haversack, SignOut};
pub use clock::{Clock, ClockFuture, SystemClock};
pub use collection::Collection;
pub use config::Config;
pub use error::{Error, ErrorKind};
pub use haversack_core::outbox::EntryState;
pub use haversack_core::sync::Phase;
pub use haversack_core::{
    Candidate, ChangeSet, EditRefusal, Intent, Mark, Origin, Part, Reference, Row, Standing, TypeRefusal,
    Value, ValueRefusal, Write,
};
pub use haversack_core::{value_from_json, value_to_json};
pub use haversack_protocol::{
    ChangeSetId, Code, CollectionSchema, DeviceId, FieldKind, FieldName, FieldSchema, PrincipalId, RecordId,
    Rejection, Role, Schema, SchemaRefusal, ServerId, StoreId, TenantId, UnixMillis,
};
#[cfg(feature = "platform-keys")]
pub use haversack_store::PlatformKeys;
pub use haversack_store::{
    Comparison, Condition, ConflictCandidate, Counts, Direction, Examination, FieldConflict, Filter,
    HistoryEntry, HostKey, Identity, KeyProvider, Notice, NoticeKind, ORGANISATION_KEY_BYTES,
    OrganisationKey, OutboxEntry, Query, RecordState, RecoveryRequest, RecoverySlot, RestoreReport,
    STORE_KEY_BYTES, SalvageReport, SharedSecret, Store, StoreError, StoreKey, StoredRecord, Survey, Tally,
    Touched, add_organisation_slot, add_recovery_slot, back_up, examine, look_at_organisation_slot,
    look_at_recovery_slot, open_organisation_slot, open_recovery_slot, recovery_request, rekey, restore,
    restore_key, restore_key_with_secret, salvage, set_aside,
};
pub use outbox::Outbox;
pub use status::{Status, StatusWatch, SyncReport};
pub use transport::{
    ServerAddress, StaticToken, Token, TokenFuture, TokenProvider, TokenRefusal, TransportError,
};
pub use typed::Typed;
pub use watch::Watch;

/// The README's example, compiled.
#[cfg(all(doctest, feature = "platform-keys"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
