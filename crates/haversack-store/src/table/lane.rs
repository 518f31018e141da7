//! The device's own line of changes in each record.

use haversack_protocol::{ChangeHash, RecordId};
use rusqlite::Connection;

use super::{one, run};
use crate::StoreError;

/// Generation and own last accepted change of a record.
pub(crate) fn load(
    connection: &Connection,
    record: RecordId,
) -> Result<(u32, Option<ChangeHash>), StoreError> {
    let sql = "SELECT generation, accepted_tip FROM lane WHERE record = ?1";
    let found = one(connection, sql, [record.as_bytes()], |row| {
        Ok((row.get(0)?, row.get::<_, Option<[u8; 32]>>(1)?.map(ChangeHash::from_bytes)))
    })?;
    Ok(found.unwrap_or_default())
}

/// Starts a new generation: the numbers of the one before are never used again.
pub(crate) fn raise(connection: &Connection, record: RecordId) -> Result<(), StoreError> {
    let sql = "INSERT INTO lane (record, generation) VALUES (?1, 1)
               ON CONFLICT (record) DO UPDATE SET generation = generation + 1";
    run(connection, sql, [record.as_bytes()]).map(drop)
}

/// Forgets a record that was erased: nothing is authored on it again.
pub(crate) fn remove(connection: &Connection, record: RecordId) -> Result<(), StoreError> {
    run(connection, "DELETE FROM lane WHERE record = ?1", [record.as_bytes()]).map(drop)
}

/// Forgets the own last accepted change, whose history ended.
pub(crate) fn forget_tip(connection: &Connection, record: RecordId) -> Result<(), StoreError> {
    run(connection, "UPDATE lane SET accepted_tip = NULL WHERE record = ?1", [record.as_bytes()]).map(drop)
}

/// Remembers the own last accepted change.
pub(crate) fn accept(connection: &Connection, record: RecordId, tip: ChangeHash) -> Result<(), StoreError> {
    let sql = "INSERT INTO lane (record, generation, accepted_tip) VALUES (?1, 0, ?2)
               ON CONFLICT (record) DO UPDATE SET accepted_tip = excluded.accepted_tip";
    run(connection, sql, (record.as_bytes(), tip.as_bytes())).map(drop)
}
