//! The conflicts of a record: every concurrent value with who wrote it, when, and why it is or is not shown.

use haversack_core::{Candidate, Mark, Row, Value};
use haversack_protocol::{DeviceId, PrincipalId, RecordId, Schema, UnixMillis};
use rusqlite::Connection;

use super::list::get;
use crate::StoreError;
use crate::table::envelope;

/// One of the concurrent values of a field.
#[derive(Clone, Debug, PartialEq)]
pub struct ConflictCandidate {
    /// The value; `None` when it clears the field.
    pub value: Option<Value>,
    /// Who wrote it, where known.
    pub principal: Option<PrincipalId>,
    /// Device it was written on; `None` for a mark.
    pub device: Option<DeviceId>,
    /// Device time of the writing, where known.
    pub at: Option<UnixMillis>,
    /// It is the value shown.
    pub is_shown: bool,
    /// Why it is or is not shown.
    pub reason: &'static str,
}

/// A field with concurrent values.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldConflict {
    /// Field.
    pub field: String,
    /// Value shown.
    pub shown: Option<Value>,
    /// All concurrent values, the winning one first; marks before values.
    pub candidates: Vec<ConflictCandidate>,
}

const WINS: &str = "the latest of the concurrent writes in the order all devices share";
const LOSES: &str = "a concurrent write comes later in the order all devices share";
const COVERED: &str = "an override mark covers it";

/// Lists the conflicts of a record, by field.
pub(crate) fn conflicts(
    connection: &Connection,
    schema: &Schema,
    record: RecordId,
) -> Result<Vec<FieldConflict>, StoreError> {
    let row = get(connection, schema, record)?.ok_or(StoreError::UnknownRecord(record))?.row;
    let mut names: Vec<_> = row.conflicts.keys().chain(row.beaten_marks.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|field| field_conflict(connection, &row, field)).collect()
}

fn field_conflict(connection: &Connection, row: &Row, field: &str) -> Result<FieldConflict, StoreError> {
    let mark = row.marks.get(field);
    let mut candidates = Vec::new();
    if let Some(beaten) = row.beaten_marks.get(field) {
        candidates.extend(mark.map(|mark| mark_candidate(mark, true)));
        candidates.extend(beaten.iter().map(|mark| mark_candidate(mark, false)));
    }
    for (rank, candidate) in row.conflicts.get(field).into_iter().flatten().enumerate() {
        let (is_shown, reason) = match (mark, rank) {
            (Some(_), _) => (false, COVERED),
            (None, 0) => (true, WINS),
            (None, _) => (false, LOSES),
        };
        candidates.push(value_candidate(connection, candidate, is_shown, reason)?);
    }
    Ok(FieldConflict { field: field.to_owned(), shown: row.effective(field).cloned(), candidates })
}

fn mark_candidate(mark: &Mark, is_shown: bool) -> ConflictCandidate {
    ConflictCandidate {
        value: mark.value.clone(),
        principal: Some(mark.by.clone()),
        device: None,
        at: Some(mark.at),
        is_shown,
        reason: if is_shown { WINS } else { LOSES },
    }
}

fn value_candidate(
    connection: &Connection,
    candidate: &Candidate,
    is_shown: bool,
    reason: &'static str,
) -> Result<ConflictCandidate, StoreError> {
    Ok(ConflictCandidate {
        value: candidate.value.clone(),
        principal: envelope::principal(connection, candidate.device)?,
        device: Some(candidate.device),
        at: envelope::at(connection, candidate.change)?,
        is_shown,
        reason,
    })
}
