//! Who made a change, and when.

use haversack_protocol::{ChangeHash, DeviceId, PrincipalId, RowOrigin, UnixMillis};
use rusqlite::Connection;

use super::{one, run};
use crate::StoreError;

/// Keeps what the log says of a change; a repeated row changes nothing.
pub(crate) fn insert(
    connection: &Connection,
    hash: ChangeHash,
    origin: &RowOrigin,
) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO change_envelope (hash, device, at_ms, skew_ms, position)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    let position = origin.position.cast_signed();
    let row = (hash.as_bytes(), origin.device.as_bytes(), origin.at.0, origin.skew_ms, position);
    run(connection, sql, row).map(drop)
}

/// Forgets who made a change.
pub(crate) fn remove(connection: &Connection, hash: ChangeHash) -> Result<(), StoreError> {
    run(connection, "DELETE FROM change_envelope WHERE hash = ?1", [hash.as_bytes()]).map(drop)
}

/// Device time of the edit that made a change.
pub(crate) fn at(connection: &Connection, hash: ChangeHash) -> Result<Option<UnixMillis>, StoreError> {
    let sql = "SELECT at_ms FROM change_envelope WHERE hash = ?1";
    one(connection, sql, [hash.as_bytes()], |row| row.get(0).map(UnixMillis))
}

/// What the log says of a change beside its device.
pub(crate) struct Envelope {
    /// Device time of the edit.
    pub(crate) at: UnixMillis,
    /// Server clock minus device clock, in milliseconds.
    pub(crate) skew_ms: i64,
    /// Log position.
    pub(crate) position: u64,
}

/// Reads what the log says of a change.
pub(crate) fn load(connection: &Connection, hash: ChangeHash) -> Result<Option<Envelope>, StoreError> {
    let sql = "SELECT at_ms, skew_ms, position FROM change_envelope WHERE hash = ?1";
    one(connection, sql, [hash.as_bytes()], |row| {
        let position: i64 = row.get(2)?;
        Ok(Envelope { at: UnixMillis(row.get(0)?), skew_ms: row.get(1)?, position: position.cast_unsigned() })
    })
}

/// Keeps whose a device is.
pub(crate) fn insert_device(
    connection: &Connection,
    device: DeviceId,
    principal: &PrincipalId,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO device (id, principal) VALUES (?1, ?2)
               ON CONFLICT (id) DO UPDATE SET principal = excluded.principal";
    run(connection, sql, (device.as_bytes(), principal.as_str())).map(drop)
}

/// Whose a device is.
pub(crate) fn principal(
    connection: &Connection,
    device: DeviceId,
) -> Result<Option<PrincipalId>, StoreError> {
    let sql = "SELECT principal FROM device WHERE id = ?1";
    let text: Option<String> = one(connection, sql, [device.as_bytes()], |row| row.get(0))?;
    text.map(PrincipalId::new).transpose().map_err(|_| StoreError::Unreadable("principal"))
}
