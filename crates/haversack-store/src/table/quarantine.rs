//! Changes from the server that a record refused.

use haversack_protocol::RecordId;
use rusqlite::Connection;

use super::{count, run};
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
