//! Notices: what changed or threatens user data without the user's doing.

use haversack_protocol::{ChangeSetId, RecordId};
use rusqlite::Connection;

use super::{all, one, run};
use crate::StoreError;

/// What a notice tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoticeKind {
    /// Change sets were refused; their input is kept in the outbox.
    Rejected,
    /// Change sets were taken back after repeated failure; their input is kept in the outbox.
    Parked,
    /// An accepted edit is covered by an override mark.
    Shadowed,
    /// A record refused changes from the server and stays as it was.
    Quarantined,
    /// A record, or fields of it, were erased; change sets that concerned them are gone, or reach less far than they did.
    Erased,
}

impl NoticeKind {
    const ALL: [Self; 5] = [Self::Rejected, Self::Parked, Self::Shadowed, Self::Quarantined, Self::Erased];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Parked => "parked",
            Self::Shadowed => "shadowed",
            Self::Quarantined => "quarantined",
            Self::Erased => "erased",
        }
    }
}

/// A durable message about user data. Ids and counts, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Names the notice for acknowledging.
    pub id: i64,
    /// What happened.
    pub kind: NoticeKind,
    /// The record concerned.
    pub record: Option<RecordId>,
    /// The change set it began with.
    pub change_set: Option<ChangeSetId>,
    /// Code of the refusal; what failed, a code or a transport word, for what was parked.
    pub cause: Option<String>,
    /// Number of change sets concerned.
    pub entries: u64,
    /// Log position; `None` for a cause on this device.
    pub position: Option<u64>,
}

/// Adds a notice, or counts one more to the notice about the same change set.
pub(crate) fn insert(connection: &Connection, notice: &Notice) -> Result<(), StoreError> {
    let entries = notice.entries.cast_signed();
    let change_set = notice.change_set.map(|id| *id.as_bytes());
    let record = notice.record.map(|id| *id.as_bytes());
    if matches!(notice.kind, NoticeKind::Rejected | NoticeKind::Parked) {
        let sql = "UPDATE notice SET entries = entries + ?2 WHERE kind = ?3 AND change_set = ?1";
        if run(connection, sql, (change_set, entries, notice.kind.as_str()))? > 0 {
            return Ok(());
        }
    }
    let sql = "INSERT INTO notice (kind, record, change_set, cause, entries, at_position)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let position = notice.position.map(u64::cast_signed);
    run(connection, sql, (notice.kind.as_str(), record, change_set, &notice.cause, entries, position))
        .map(drop)
}

/// Removes what was told about a record, seen or not.
pub(crate) fn remove_of(connection: &Connection, record: RecordId) -> Result<(), StoreError> {
    run(connection, "DELETE FROM notice WHERE record = ?1", [record.as_bytes()]).map(drop)
}

/// Removes what was told about a change set, seen or not.
pub(crate) fn remove_about(connection: &Connection, id: ChangeSetId) -> Result<(), StoreError> {
    run(connection, "DELETE FROM notice WHERE change_set = ?1", [id.as_bytes()]).map(drop)
}

/// Notices nobody acknowledged yet, oldest first.
pub(crate) fn open(connection: &Connection) -> Result<Vec<Notice>, StoreError> {
    let sql = "SELECT id, kind, record, change_set, cause, entries, at_position
               FROM notice WHERE acknowledged = 0 ORDER BY id";
    all(connection, sql, [], |row| {
        let kind: String = row.get(1)?;
        let known = NoticeKind::ALL.into_iter().find(|known| known.as_str() == kind);
        Ok(Notice {
            id: row.get(0)?,
            kind: known.unwrap_or(NoticeKind::Rejected),
            record: row.get::<_, Option<_>>(2)?.map(RecordId::from_bytes),
            change_set: row.get::<_, Option<_>>(3)?.map(ChangeSetId::from_bytes),
            cause: row.get(4)?,
            entries: row.get::<_, i64>(5)?.cast_unsigned(),
            position: row.get::<_, Option<i64>>(6)?.map(i64::cast_unsigned),
        })
    })
}

/// Marks a notice as seen. False when there is none of that id.
pub(crate) fn acknowledge(connection: &Connection, id: i64) -> Result<bool, StoreError> {
    Ok(run(connection, "UPDATE notice SET acknowledged = 1 WHERE id = ?1", [id])? > 0)
}

/// Number of notices nobody acknowledged yet.
pub(crate) fn open_count(connection: &Connection) -> Result<u64, StoreError> {
    let count = one(connection, "SELECT count(*) FROM notice WHERE acknowledged = 0", [], |row| {
        row.get::<_, i64>(0)
    })?;
    Ok(count.unwrap_or(0).cast_unsigned())
}
