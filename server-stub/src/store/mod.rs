//! The server's memory: one SQLite file per tenant.
//!
//! Holds all SQL of the server. Written by one thread in one transaction per group of pushes, read by others beside it.

mod epoch;
mod erase;
mod history;
mod prepare;
mod probe;
mod read;
mod restrict;
mod sqlite;
mod write;

pub(crate) use epoch::Beginning;
pub(crate) use erase::{ErasureState, StoredErasure, erasures, known_erasures, outstanding, sweep};
pub(crate) use history::Past;
pub(crate) use prepare::prepare;
pub(crate) use probe::{Probe, probe};
pub(crate) use read::{Reader, Readers, StoredRow};
pub(crate) use restrict::{StoredRestriction, restrictions};
pub use sqlite::{DATABASE_FORMAT, StoreRefusal};
pub(crate) use sqlite::{Identity, open, open_existing, open_read_only};
pub(crate) use write::{Committed, PushTransaction, StoredRecord, StoredVerdict, Verdict};
