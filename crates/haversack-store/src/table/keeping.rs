//! Records of collections that are kept for so many days: when they were edited last, and whether they are still here.

use haversack_protocol::{RecordId, UnixMillis};
use rusqlite::Connection;

use super::{all, count, one, record_at, run};
use crate::StoreError;

/// Notes an edit of a record; an earlier one than that known changes nothing.
pub(crate) fn note(
    connection: &Connection,
    record: RecordId,
    at: UnixMillis,
    position: u64,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO keeping (record, edited_ms, position, is_let_go) VALUES (?1, ?2, ?3, 0)
               ON CONFLICT (record) DO UPDATE
               SET edited_ms = max(edited_ms, excluded.edited_ms), position = max(position, excluded.position)";
    run(connection, sql, (record.as_bytes(), at.0, position.cast_signed())).map(drop)
}

/// Counts from now for the records of a collection of which no edit was noted.
pub(crate) fn begin(connection: &Connection, collection: &str, now: UnixMillis) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO keeping (record, edited_ms, position, is_let_go)
               SELECT record, ?2, (SELECT coalesce(max(position), 0) FROM change_envelope), 0
               FROM document WHERE collection = ?1";
    run(connection, sql, (collection, now.0)).map(drop)
}

/// Forgets what was noted of the records of a collection.
pub(crate) fn end(connection: &Connection, collection: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM keeping WHERE record IN (SELECT record FROM document WHERE collection = ?1)";
    run(connection, sql, [collection]).map(drop)
}

/// Records of a collection that are here, and when each was edited last, ascending.
pub(crate) fn edited(
    connection: &Connection,
    collection: &str,
) -> Result<Vec<(RecordId, UnixMillis)>, StoreError> {
    let sql = "SELECT record, edited_ms FROM keeping JOIN document USING (record)
               WHERE collection = ?1 ORDER BY record";
    all(connection, sql, [collection], |row| Ok((record_at(row, 0)?, UnixMillis(row.get(1)?))))
}

/// When a record was edited last, as far as noted.
pub(crate) fn edited_at(connection: &Connection, record: RecordId) -> Result<Option<UnixMillis>, StoreError> {
    let sql = "SELECT edited_ms FROM keeping WHERE record = ?1";
    one(connection, sql, [record.as_bytes()], |row| row.get(0).map(UnixMillis))
}

/// Says that a record is let go, or wanted back.
pub(crate) fn let_go(connection: &Connection, record: RecordId, is_let_go: bool) -> Result<(), StoreError> {
    let sql = "UPDATE keeping SET is_let_go = ?2 WHERE record = ?1";
    run(connection, sql, (record.as_bytes(), is_let_go)).map(drop)
}

/// Up to which log position the edits of a record were known when it was let go; `None` for one that was not.
pub(crate) fn let_go_at(connection: &Connection, record: RecordId) -> Result<Option<u64>, StoreError> {
    let sql = "SELECT position FROM keeping WHERE record = ?1 AND is_let_go = 1";
    one(connection, sql, [record.as_bytes()], |row| row.get(0).map(i64::cast_unsigned))
}

/// Forgets a record that was erased.
pub(crate) fn remove(connection: &Connection, record: RecordId) -> Result<(), StoreError> {
    run(connection, "DELETE FROM keeping WHERE record = ?1", [record.as_bytes()]).map(drop)
}

/// Number of records that were let go.
pub(crate) fn number_let_go(connection: &Connection) -> Result<u64, StoreError> {
    count(connection, "SELECT count(*) FROM keeping WHERE is_let_go = 1", [])
}
