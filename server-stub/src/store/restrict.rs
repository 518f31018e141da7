//! Restrictions: records that stay as they are until that is lifted.

use haversack_protocol::{DeviceId, LogRow, RecordId, RestrictedRow, ServerId};
use rusqlite::{Connection, OptionalExtension, params};

use super::read::{fixed, position_in, position_out};
use super::sqlite::StoreRefusal;
use super::write::{PushTransaction, read_server_id};

/// Whose rows those are that the server makes of itself.
const SERVER: DeviceId = DeviceId::from_bytes([0; 8]);

/// One restriction as the database keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRestriction {
    pub(crate) record: RecordId,
    pub(crate) server_id: Option<ServerId>,
    pub(crate) position: u64,
}

impl PushTransaction<'_> {
    /// Where the log says that a record is restricted; `None` when it is not.
    pub(crate) fn restricted_at(&self, record: RecordId) -> Result<Option<u64>, StoreRefusal> {
        let position = self
            .transaction
            .prepare_cached("SELECT position FROM restriction WHERE record = ?1")?
            .query_row([record.as_bytes()], |row| row.get(0))
            .optional()?;
        position.map(position_out).transpose()
    }

    /// Restricts a record or lifts that, and tells devices in a row. Returns its position.
    pub(crate) fn restrict(&mut self, record: RecordId, is_restricted: bool) -> Result<u64, StoreRefusal> {
        let row = RestrictedRow { position: self.next_position(), record, is_restricted };
        let position = self.append(&LogRow::Restricted(row), SERVER, None)?;
        self.transaction.execute("DELETE FROM restriction WHERE record = ?1", [record.as_bytes()])?;
        if is_restricted {
            let sql = "INSERT INTO restriction (record, position) VALUES (?1, ?2)";
            self.transaction.execute(sql, params![record.as_bytes(), position_in(position)?])?;
        }
        Ok(position)
    }
}

/// Every restriction, in the order of their rows.
pub(crate) fn restrictions(connection: &Connection) -> Result<Vec<StoredRestriction>, StoreRefusal> {
    let sql = "SELECT r.record, record.server_id, r.position
               FROM restriction AS r LEFT JOIN record ON record.id = r.record ORDER BY r.position";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(StoredRestriction {
            record: RecordId::from_bytes(fixed(row.get(0)?, "record id")?),
            server_id: row.get::<_, Option<String>>(1)?.map(read_server_id).transpose()?,
            position: position_out(row.get(2)?)?,
        });
    }
    Ok(found)
}
