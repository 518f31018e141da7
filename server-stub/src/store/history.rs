//! What is kept of a record's past: its documents, of this epoch and of those that were compacted, and who sent its changes.

use std::collections::BTreeMap;

use haversack_core::{Document, Reference, inspect};
use haversack_protocol::{ChangeHash, DeviceId, LogRow, PartChange, PrincipalId, RecordId, RowOrigin};
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::read::fixed;
use super::sqlite::StoreRefusal;

/// One committed state of the database, asked for one record.
pub(crate) struct Past<'c> {
    transaction: Transaction<'c>,
    pub(crate) record: RecordId,
    pub(crate) collection: String,
}

impl<'c> Past<'c> {
    /// Finds the record of either name.
    pub(crate) fn of(
        connection: &'c mut Connection,
        record: &Reference,
    ) -> Result<Option<Self>, StoreRefusal> {
        let transaction = connection.transaction()?;
        let (sql, name): (_, &dyn rusqlite::ToSql) = match record {
            Reference::Record(record) => {
                ("SELECT id, collection FROM record WHERE id = ?1", record.as_bytes())
            }
            Reference::Server(id) => ("SELECT id, collection FROM record WHERE server_id = ?1", &id.as_str()),
        };
        let found: Option<(Vec<u8>, String)> =
            transaction.query_row(sql, [name], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((id, collection)) = found else { return Ok(None) };
        Ok(Some(Self { transaction, record: RecordId::from_bytes(fixed(id, "record id")?), collection }))
    }

    /// Its documents by epoch, the one of today last.
    pub(crate) fn documents(&self) -> Result<Vec<(u32, Document)>, StoreRefusal> {
        let sql = "SELECT epoch, document FROM archive WHERE record = ?1
                   UNION ALL SELECT epoch, document FROM record WHERE id = ?1 ORDER BY epoch";
        let mut statement = self.transaction.prepare(sql)?;
        let mut rows = statement.query([self.record.as_bytes()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let document = Document::load(&row.get::<_, Vec<u8>>(1)?);
            found.push((row.get(0)?, document.map_err(|_| StoreRefusal::Damaged("document"))?));
        }
        Ok(found)
    }

    /// Who sent each of its changes.
    pub(crate) fn origins(&self) -> Result<BTreeMap<ChangeHash, RowOrigin>, StoreRefusal> {
        let sql = "SELECT body FROM log WHERE kind = 0 AND instr(body, ?1) > 0 ORDER BY position";
        let mut statement = self.transaction.prepare(sql)?;
        let mut rows = statement.query([self.record.as_bytes()])?;
        let mut found = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let body: Vec<u8> = row.get(0)?;
            let Ok(LogRow::Accepted(row)) = minicbor::decode(&body) else {
                return Err(StoreRefusal::Damaged("log row"));
            };
            for part in row.parts.iter().filter(|part| part.record == self.record) {
                if let PartChange::Full(bytes) = &part.change
                    && let Ok(header) = inspect(bytes)
                {
                    found.insert(header.hash, row.origin.clone());
                }
            }
        }
        Ok(found)
    }

    /// Whose a device is.
    pub(crate) fn principal_of(&self, device: DeviceId) -> Result<Option<PrincipalId>, StoreRefusal> {
        let sql = "SELECT principal FROM device WHERE id = ?1";
        let name: Option<String> =
            self.transaction.query_row(sql, [device.as_bytes()], |row| row.get(0)).optional()?;
        name.map(|name| PrincipalId::new(name).map_err(|_| StoreRefusal::Damaged("principal"))).transpose()
    }
}
