//! Queries: what apps and people ask of the store. Nothing here writes rows.

mod build;
mod conflict;
mod digest;
mod history;
pub(crate) mod index;
mod list;
mod outbox;
mod subject;

pub use conflict::{ConflictCandidate, FieldConflict};
pub use history::HistoryEntry;
pub use list::{Comparison, Direction, Filter, Query, RecordState, StoredRecord};
pub use outbox::{Counts, OutboxEntry};

pub(crate) use conflict::conflicts;
pub(crate) use digest::{
    digest_from_documents, digest_from_rows, fields_without_schema, stale_rows, temporary_ids,
};
pub(crate) use history::history;
pub(crate) use list::{after, count, explain, get, list, resolve};
pub(crate) use outbox::{counts, entries, set_aside, set_aside_with};
pub(crate) use subject::subject;
