//! Records that were erased. Names, never ids: they say nothing to whoever does not have the record.

use haversack_core::erased_name;
use haversack_protocol::{ErasedName, RecordId};
use rusqlite::Connection;

use super::{all, one, run};
use crate::StoreError;

/// Remembers that a record was erased; a repeated row changes nothing.
pub(crate) fn insert(connection: &Connection, name: ErasedName, position: u64) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO erased (name, position) VALUES (?1, ?2)";
    run(connection, sql, (name.as_bytes(), position.cast_signed())).map(drop)
}

/// Says whether a record was erased.
pub(crate) fn contains(connection: &Connection, record: RecordId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM erased WHERE name = ?1";
    Ok(one(connection, sql, [erased_name(record).as_bytes()], |_| Ok(()))?.is_some())
}

/// Says whether anything was ever erased: most stores need no hash of a record id then.
pub(crate) fn is_empty(connection: &Connection) -> Result<bool, StoreError> {
    Ok(one(connection, "SELECT 1 FROM erased LIMIT 1", [], |_| Ok(()))?.is_none())
}

/// Every record of which anything is kept, ascending.
pub(crate) fn kept(connection: &Connection) -> Result<Vec<RecordId>, StoreError> {
    let sql = "SELECT id FROM record UNION SELECT record FROM document UNION SELECT record FROM lane
               UNION SELECT record FROM outbox_record UNION SELECT record FROM quarantine
               UNION SELECT record FROM restricted UNION SELECT record FROM keeping ORDER BY 1";
    all(connection, sql, [], |row| super::record_at(row, 0))
}
