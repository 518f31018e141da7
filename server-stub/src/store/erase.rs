//! Erasing: what is kept of a record leaves the tables, the log and the file.
//!
//! Rows of the log stay where they are, for positions and chain hashes are promised to devices; what they hold of the
//! record goes. Never names what was erased: hashes of record ids stand for it.

use haversack_core::erased_name;
use haversack_protocol::{
    DeviceId, ErasedName, ErasedRow, ErasureId, LogRow, PartChange, PrincipalId, RecordId, ServerId,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::read::{fixed, position_in, position_out};
use super::sqlite::StoreRefusal;
use super::write::PushTransaction;

/// Whose rows those are that the server makes of itself.
const SERVER: DeviceId = DeviceId::from_bytes([0; 8]);

/// One erasure as the database keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredErasure {
    pub(crate) id: ErasureId,
    pub(crate) record: ErasedName,
    /// Fields erased; `None`: the whole record.
    pub(crate) fields: Option<Vec<String>>,
    pub(crate) position: u64,
}

/// What is known of a record that is to be erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErasureState {
    /// It is here.
    Kept(RecordId),
    /// It was erased, or never here.
    Absent,
}

impl PushTransaction<'_> {
    /// Says whether the whole record was erased.
    pub(crate) fn is_erased(&self, record: RecordId) -> Result<bool, StoreRefusal> {
        self.has_erased(erased_name(record))
    }

    /// Says whether the whole record behind a name was erased.
    pub(crate) fn has_erased(&self, name: ErasedName) -> Result<bool, StoreRefusal> {
        Ok(self
            .transaction
            .prepare_cached("SELECT 1 FROM erasure WHERE record_hash = ?1 AND fields IS NULL")?
            .exists([name.as_bytes()])?)
    }

    /// The record behind a server id.
    pub(crate) fn holder(&self, server_id: &ServerId) -> Result<Option<RecordId>, StoreRefusal> {
        self.transaction
            .query_row("SELECT id FROM record WHERE server_id = ?1", [server_id.as_str()], |row| row.get(0))
            .optional()?
            .map(|id| Ok(RecordId::from_bytes(fixed(id, "record id")?)))
            .transpose()
    }

    /// The record a name stands for, where it is here.
    pub(crate) fn behind(&self, name: ErasedName) -> Result<ErasureState, StoreRefusal> {
        let mut statement = self.transaction.prepare("SELECT id FROM record ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let record = RecordId::from_bytes(fixed(row.get(0)?, "record id")?);
            if erased_name(record) == name {
                return Ok(ErasureState::Kept(record));
            }
        }
        Ok(ErasureState::Absent)
    }

    /// Removes a record and all the log holds of it, and tells devices in a row. Returns its position.
    pub(crate) fn erase_record(&mut self, id: ErasureId, name: ErasedName) -> Result<u64, StoreRefusal> {
        if let ErasureState::Kept(record) = self.behind(name)? {
            self.empty_log_of(record)?;
            for sql in [
                "DELETE FROM record WHERE id = ?1",
                "DELETE FROM archive WHERE record = ?1",
                "DELETE FROM restriction WHERE record = ?1",
            ] {
                self.transaction.execute(sql, [record.as_bytes()])?;
            }
        }
        let row = LogRow::Erased(ErasedRow { position: self.next_position(), record: name });
        let position = self.append(&row, SERVER, None)?;
        self.put_erasure(&StoredErasure { id, record: name, fields: None, position })?;
        Ok(position)
    }

    /// Takes every byte of a record's changes out of the log. Its positions and chain hashes stay.
    pub(super) fn empty_log_of(&self, record: RecordId) -> Result<(), StoreRefusal> {
        // An id stands in the bytes as it is: what does not hold it need not be decoded.
        let mut found = self
            .transaction
            .prepare("SELECT position, body FROM log WHERE kind IN (0, 4) AND instr(body, ?1) > 0")?;
        let rows: Vec<(i64, Vec<u8>)> = found
            .query_map([record.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (position, body) in rows {
            let mut row = minicbor::decode(&body).map_err(|_| StoreRefusal::Damaged("log row"))?;
            if empty_row_of(&mut row, record) {
                let body = minicbor::to_vec(&row).expect("writing to a vector cannot fail");
                self.transaction
                    .execute("UPDATE log SET body = ?2 WHERE position = ?1", params![position, body])?;
            }
        }
        Ok(())
    }

    pub(super) fn put_erasure(&self, erasure: &StoredErasure) -> Result<(), StoreRefusal> {
        let fields = erasure.fields.as_ref().map(|fields| serde_json::json!(fields).to_string());
        self.transaction.execute(
            "INSERT INTO erasure (id, record_hash, fields, position) VALUES (?1, ?2, ?3, ?4)",
            params![erasure.id.as_bytes(), erasure.record.as_bytes(), fields, position_in(erasure.position)?],
        )?;
        Ok(())
    }

    /// Keeps a device's receipt; an earlier one than that known changes nothing.
    pub(crate) fn remember_receipt(&self, device: DeviceId, position: u64) -> Result<(), StoreRefusal> {
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        self.transaction
            .prepare_cached("UPDATE device SET erased_position = max(erased_position, ?2) WHERE id = ?1")?
            .execute(params![device.as_bytes(), position])?;
        Ok(())
    }
}

/// Takes what a row holds of a record out of it. True when there was any.
fn empty_row_of(row: &mut LogRow, record: RecordId) -> bool {
    match row {
        LogRow::Accepted(row) => {
            let before = row.clone();
            for part in row.parts.iter_mut().filter(|part| part.record == record) {
                part.change = PartChange::Erased;
            }
            row.server_changes.retain(|change| change.record != record);
            row.shadowed.retain(|(shadowed, _)| *shadowed != record);
            *row != before
        }
        LogRow::Epoch(row) if row.record == record => {
            row.root.clear();
            true
        }
        _ => false,
    }
}

/// Names of the erasures a database has seen.
pub(crate) fn known_erasures(connection: &Connection) -> Result<Vec<ErasureId>, StoreRefusal> {
    let mut statement = connection.prepare("SELECT id FROM erasure")?;
    let ids: Vec<Vec<u8>> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    ids.into_iter().map(|id| Ok(ErasureId::from_bytes(fixed(id, "erasure id")?))).collect()
}

/// Every erasure, in the order of their rows.
pub(crate) fn erasures(connection: &Connection) -> Result<Vec<StoredErasure>, StoreRefusal> {
    let mut statement =
        connection.prepare("SELECT id, record_hash, fields, position FROM erasure ORDER BY position, id")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let fields: Option<String> = row.get(2)?;
        let fields = fields.map(|text| serde_json::from_str(&text)).transpose();
        found.push(StoredErasure {
            id: ErasureId::from_bytes(fixed(row.get(0)?, "erasure id")?),
            record: ErasedName::from_bytes(fixed(row.get(1)?, "name of what was erased")?),
            fields: fields.map_err(|_| StoreRefusal::Damaged("list of fields"))?,
            position: position_out(row.get(3)?)?,
        });
    }
    Ok(found)
}

/// Devices that were registered before an erasure and have sent no receipt for it.
pub(crate) fn outstanding(
    connection: &Connection,
    position: u64,
) -> Result<Vec<(DeviceId, PrincipalId)>, StoreRefusal> {
    let mut statement = connection.prepare(
        "SELECT id, principal FROM device
         WHERE registered_position < ?1 AND erased_position < ?1 ORDER BY registered_position",
    )?;
    let mut rows = statement.query([position_in(position)?])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let principal = PrincipalId::new(row.get::<_, String>(1)?);
        let device = DeviceId::from_bytes(fixed(row.get(0)?, "device id")?);
        found.push((device, principal.map_err(|_| StoreRefusal::Damaged("principal"))?));
    }
    Ok(found)
}

/// Writes the whole file anew and empties its log, so that no page keeps what was freed. False when somebody else reads at
/// this moment: nothing is lost, and it can be done again.
pub(crate) fn sweep(connection: &Connection) -> Result<bool, StoreRefusal> {
    connection.execute_batch("VACUUM")?;
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(busy == 0)
}
