//! Compaction: long histories of quiet records begin anew. What was is kept in the archive; nobody's work is refused for it.

use std::path::Path;

use haversack_core::{Document, project};
use haversack_protocol::limits::{COMPACT_ACTORS, COMPACT_CHANGES};
use haversack_protocol::{Schema, UnixMillis};
use serde::Serialize;

use super::beginning;
use crate::ServerError;
use crate::store::{Beginning, PushTransaction, open_existing};

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// Records that began anew.
    pub compacted: u64,
    /// Records whose history is long, but which somebody edited of late, or which are in conflict.
    pub waiting: u64,
}

/// Begins the records anew whose history has grown long, one transaction each: none that was edited after `quiet_since`, none in
/// conflict. A server may run beside it.
///
/// # Errors
/// [`ServerError`]; records compacted before stay so.
pub fn compact(database: &Path, schema: &Schema, quiet_since: UnixMillis) -> Result<Compacted, ServerError> {
    let (mut connection, identity) = open_existing(database)?;
    let records = PushTransaction::begin(&mut connection, &identity)?.records()?;
    let mut done = Compacted::default();
    for id in records {
        let mut transaction = PushTransaction::begin(&mut connection, &identity)?;
        let found = match beginning(&transaction, schema, identity.log_epoch, id) {
            // Gone meanwhile, or of a collection this schema does not have.
            Err(ServerError::UnknownRecord | ServerError::UnknownCollection(_)) => continue,
            found => found?,
        };
        if !is_long(&found.record.document) {
            continue;
        }
        let is_quiet = transaction.changed_at(id)?.is_none_or(|at| at <= quiet_since);
        if !is_quiet || is_divided(&found) {
            done.waiting += 1;
            continue;
        }
        transaction.compact(found)?;
        transaction.commit()?;
        done.compacted += 1;
    }
    Ok(done)
}

fn is_long(document: &Document) -> bool {
    let (changes, actors) = document.history_size();
    changes >= COMPACT_CHANGES || actors >= COMPACT_ACTORS
}

/// A new epoch keeps only what is shown.
fn is_divided(beginning: &Beginning<'_>) -> bool {
    let row = project(&beginning.record.document, beginning.collection);
    !row.conflicts.is_empty() || !row.beaten_marks.is_empty()
}
