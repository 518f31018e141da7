//! Changes from the server that a record refused.

use std::collections::BTreeMap;

use haversack_protocol::RecordId;
use rusqlite::Connection;

use super::{all, count, record_at, run};
use crate::StoreError;

/// Keeps a refused change. True when it is the first of its record.
pub(crate) fn insert(
    connection: &Connection,
    record: RecordId,
    position: u64,
    bytes: &[u8],
) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM quarantine WHERE record = ?1";
    let before = count(connection, sql, [record.as_bytes()])?;
    let sql = "INSERT OR IGNORE INTO quarantine (record, position, bytes) VALUES (?1, ?2, ?3)";
    run(connection, sql, (record.as_bytes(), position.cast_signed(), bytes))?;
    Ok(before == 0)
}

/// Removes what is kept of a record. True when there was any.
pub(crate) fn remove(connection: &Connection, record: RecordId) -> Result<bool, StoreError> {
    Ok(run(connection, "DELETE FROM quarantine WHERE record = ?1", [record.as_bytes()])? > 0)
}

/// Number of changes kept there, by record.
pub(crate) fn counts(connection: &Connection) -> Result<BTreeMap<RecordId, u64>, StoreError> {
    let sql = "SELECT record, count(*) FROM quarantine GROUP BY record";
    let counts =
        all(connection, sql, [], |row| Ok((record_at(row, 0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
    Ok(counts.into_iter().collect())
}
