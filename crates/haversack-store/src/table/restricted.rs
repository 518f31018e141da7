//! Records of which no edit is taken until that is lifted.

use haversack_protocol::RecordId;
use rusqlite::Connection;

use super::{one, run};
use crate::StoreError;

/// Remembers that a record is restricted; a repeated row changes nothing.
pub(crate) fn insert(connection: &Connection, record: RecordId, position: u64) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO restricted (record, position) VALUES (?1, ?2)";
    run(connection, sql, (record.as_bytes(), position.cast_signed())).map(drop)
}

/// Lifts the restriction of a record.
pub(crate) fn remove(connection: &Connection, record: RecordId) -> Result<(), StoreError> {
    run(connection, "DELETE FROM restricted WHERE record = ?1", [record.as_bytes()]).map(drop)
}

/// Says whether a record is restricted.
pub(crate) fn contains(connection: &Connection, record: RecordId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM restricted WHERE record = ?1";
    Ok(one(connection, sql, [record.as_bytes()], |_| Ok(()))?.is_some())
}
