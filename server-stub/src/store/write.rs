//! The push transaction: everything a group of pushes reads and writes, committed at once.

use haversack_core::{Document, Row};
use haversack_protocol::{
    ChangeSetId, Code, DeviceId, InstallationId, LogRow, PrincipalId, RecordId, Rejection, ServerId,
};
use ring::digest::{Context, SHA256};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::read::{fixed, position_in, position_out};
use super::sqlite::{Identity, StoreRefusal};

/// The only audience for now; every row says so, so that more can come without touching old ones.
const SCOPE_ORGANISATION: &str = "org";
/// Position of the grants in force; there are none yet.
const GRANT_POSITION: i64 = 0;

/// A record as the writer works with it.
pub(crate) struct StoredRecord {
    pub(crate) collection: String,
    pub(crate) server_id: ServerId,
    pub(crate) epoch: u32,
    pub(crate) document: Document,
    /// Bytes of the document as it is saved.
    pub(crate) saved_bytes: usize,
}

/// Memory of a loaded document beside what grows with its saved bytes, and for each of these. Measured on documents of 15
/// fields, from their creation to 500 edits and with texts of 4 KB.
const LOADED_BYTES_EACH: usize = 10 * 1024;
const LOADED_BYTES_PER_SAVED: usize = 6;

impl StoredRecord {
    /// Memory it is reckoned to take while it is kept loaded.
    pub(crate) fn loaded_bytes(&self) -> usize {
        LOADED_BYTES_EACH + self.saved_bytes * LOADED_BYTES_PER_SAVED
    }
}

/// The stored answer to a change set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredVerdict {
    pub(crate) position: u64,
    pub(crate) device: DeviceId,
    pub(crate) is_accepted: bool,
}

/// What a row of the log decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Rejected(Code),
}

/// One row that a transaction appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AppendedRow {
    pub(crate) position: u64,
    pub(crate) device: DeviceId,
    /// Absent on device rows.
    pub(crate) verdict: Option<Verdict>,
}

/// What a transaction added to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    /// Last position of the log before it.
    pub(crate) head_before: u64,
    /// Its rows, in order.
    pub(crate) rows: Vec<AppendedRow>,
}

/// One open write transaction with the head of the log.
pub(crate) struct PushTransaction<'c> {
    pub(super) transaction: Transaction<'c>,
    head: u64,
    chain: [u8; 32],
    added: Committed,
}

impl<'c> PushTransaction<'c> {
    /// Takes the write lock and reads the head.
    pub(crate) fn begin(connection: &'c mut Connection, identity: &Identity) -> Result<Self, StoreRefusal> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let head = transaction
            .prepare_cached("SELECT position, chain FROM log ORDER BY position DESC LIMIT 1")?
            .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
            .optional()?;
        let (head, chain) = match head {
            Some((position, chain)) => (position_out(position)?, fixed(chain, "chain hash")?),
            None => (0, identity.genesis()),
        };
        let added = Committed { head_before: head, rows: vec![] };
        Ok(Self { transaction, head, chain, added })
    }

    /// A number that changes when another connection committed.
    pub(crate) fn foreign_commits(&self) -> Result<i64, StoreRefusal> {
        Ok(self.transaction.query_row("PRAGMA data_version", [], |row| row.get(0))?)
    }

    /// Makes it durable and says what it added to the log.
    pub(crate) fn commit(self) -> Result<Committed, StoreRefusal> {
        self.transaction.commit()?;
        Ok(self.added)
    }

    /// The position the next row will have.
    pub(crate) fn next_position(&self) -> u64 {
        self.head + 1
    }

    /// Appends a row at the next position.
    pub(crate) fn append(
        &mut self,
        row: &LogRow,
        device: DeviceId,
        change_set: Option<ChangeSetId>,
    ) -> Result<u64, StoreRefusal> {
        let position = self.next_position();
        debug_assert_eq!(row.position(), position, "a row states where it stands");
        let (kind, verdict) = match row {
            LogRow::Accepted(_) => (0, Some(Verdict::Accepted)),
            LogRow::Rejected(rejected) => (1, Some(Verdict::Rejected(rejected.rejection.code))),
            LogRow::Device(_) => (2, None),
            LogRow::Erased(_) => (3, None),
            LogRow::Epoch(_) => (4, None),
            LogRow::Restricted(_) => (5, None),
            _ => return Err(StoreRefusal::Damaged("log row")),
        };
        let body = minicbor::to_vec(row).expect("writing to a vector cannot fail");
        let mut digest = Context::new(&SHA256);
        digest.update(&self.chain);
        digest.update(&body);
        let chain: [u8; 32] = digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
        self.transaction
            .prepare_cached(
                "INSERT INTO log (position, scope, grant_position, kind, device, change_set, body, chain)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                position_in(position)?,
                SCOPE_ORGANISATION,
                GRANT_POSITION,
                kind,
                device.as_bytes(),
                change_set.as_ref().map(ChangeSetId::as_bytes),
                body,
                chain,
            ])?;
        (self.head, self.chain) = (position, chain);
        self.added.rows.push(AppendedRow { position, device, verdict });
        Ok(position)
    }

    pub(crate) fn verdict(&self, change_set: ChangeSetId) -> Result<Option<StoredVerdict>, StoreRefusal> {
        self.transaction
            .prepare_cached("SELECT position, device, is_accepted FROM verdict WHERE change_set = ?1")?
            .query_row([change_set.as_bytes()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, bool>(2)?))
            })
            .optional()?
            .map(|(position, device, is_accepted)| {
                let device = DeviceId::from_bytes(fixed(device, "device id")?);
                Ok(StoredVerdict { position: position_out(position)?, device, is_accepted })
            })
            .transpose()
    }

    pub(crate) fn put_verdict(
        &self,
        change_set: ChangeSetId,
        verdict: StoredVerdict,
    ) -> Result<(), StoreRefusal> {
        self.transaction
            .prepare_cached(
                "INSERT INTO verdict (change_set, position, device, is_accepted) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                change_set.as_bytes(),
                position_in(verdict.position)?,
                verdict.device.as_bytes(),
                verdict.is_accepted,
            ])?;
        Ok(())
    }

    /// Where a refusal was told to a device.
    pub(crate) fn refusal_position(
        &self,
        change_set: ChangeSetId,
        device: DeviceId,
    ) -> Result<Option<u64>, StoreRefusal> {
        self.transaction
            .prepare_cached(
                "SELECT position FROM log WHERE kind = 1 AND change_set = ?1 AND device = ?2 LIMIT 1",
            )?
            .query_row(params![change_set.as_bytes(), device.as_bytes()], |row| row.get::<_, i64>(0))
            .optional()?
            .map(position_out)
            .transpose()
    }

    /// The refusal that stands at a position.
    pub(crate) fn rejection_at(&self, position: u64) -> Result<Rejection, StoreRefusal> {
        let body: Vec<u8> = self.transaction.query_row(
            "SELECT body FROM log WHERE position = ?1",
            [position_in(position)?],
            |row| row.get(0),
        )?;
        match minicbor::decode(&body) {
            Ok(LogRow::Rejected(row)) => Ok(row.rejection),
            _ => Err(StoreRefusal::Damaged("refusal")),
        }
    }

    pub(crate) fn record(&self, id: RecordId) -> Result<Option<StoredRecord>, StoreRefusal> {
        let found = self
            .transaction
            .prepare_cached("SELECT collection, server_id, epoch, document FROM record WHERE id = ?1")?
            .query_row([id.as_bytes()], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, u32>(2)?,
                    row.get::<_, Vec<u8>>(3)?,
                ))
            })
            .optional()?;
        let Some((collection, server_id, epoch, document)) = found else { return Ok(None) };
        let saved_bytes = document.len();
        let document = Document::load(&document).map_err(|_| StoreRefusal::Damaged("document"))?;
        let server_id = read_server_id(server_id)?;
        Ok(Some(StoredRecord { collection, server_id, epoch, document, saved_bytes }))
    }

    /// Collection and server id of a record, without its document.
    pub(crate) fn names(&self, id: RecordId) -> Result<Option<(String, ServerId)>, StoreRefusal> {
        self.transaction
            .prepare_cached("SELECT collection, server_id FROM record WHERE id = ?1")?
            .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
            .optional()?
            .map(|(collection, server_id)| Ok((collection, read_server_id(server_id)?)))
            .transpose()
    }

    /// Collection of the record that has a server id.
    pub(crate) fn collection_of(&self, server_id: &ServerId) -> Result<Option<String>, StoreRefusal> {
        Ok(self
            .transaction
            .prepare_cached("SELECT collection FROM record WHERE server_id = ?1")?
            .query_row([server_id.as_str()], |row| row.get(0))
            .optional()?)
    }

    pub(crate) fn put_record(
        &self,
        id: RecordId,
        record: &StoredRecord,
        saved: &[u8],
        row: &Row,
        position: u64,
    ) -> Result<(), StoreRefusal> {
        self.transaction
            .prepare_cached(
                "INSERT INTO record (id, collection, server_id, epoch, document, row, updated_position)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, document = excluded.document,
                     row = excluded.row, updated_position = excluded.updated_position",
            )?
            .execute(params![
                id.as_bytes(),
                record.collection,
                record.server_id.as_str(),
                record.epoch,
                saved,
                row.to_text(),
                position_in(position)?,
            ])?;
        Ok(())
    }

    /// The number the next server id with this prefix gets.
    pub(crate) fn next_number(&self, prefix: &str) -> Result<u64, StoreRefusal> {
        let next = self
            .transaction
            .prepare_cached("SELECT next FROM counter WHERE prefix = ?1")?
            .query_row([prefix], |row| row.get::<_, i64>(0))
            .optional()?;
        next.map_or(Ok(1), position_out)
    }

    pub(crate) fn put_next_number(&self, prefix: &str, next: u64) -> Result<(), StoreRefusal> {
        self.transaction
            .prepare_cached("INSERT OR REPLACE INTO counter (prefix, next) VALUES (?1, ?2)")?
            .execute(params![prefix, position_in(next)?])?;
        Ok(())
    }

    /// The device of an installation in a principal's hands, with its greatest push ordinal.
    pub(crate) fn device(
        &self,
        installation: InstallationId,
        principal: &PrincipalId,
    ) -> Result<Option<(DeviceId, u64)>, StoreRefusal> {
        self.transaction
            .query_row(
                "SELECT id, push_ordinal FROM device WHERE installation = ?1 AND principal = ?2",
                params![installation.as_bytes(), principal.as_str()],
                |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?)),
            )
            .optional()?
            .map(|(id, ordinal)| Ok((DeviceId::from_bytes(fixed(id, "device id")?), position_out(ordinal)?)))
            .transpose()
    }

    /// Stores a new device. `false` when the id is taken.
    pub(crate) fn put_device(
        &self,
        device: DeviceId,
        installation: InstallationId,
        principal: &PrincipalId,
        position: u64,
    ) -> Result<bool, StoreRefusal> {
        let stored = self.transaction.execute(
            "INSERT INTO device (id, installation, principal, push_ordinal, registered_position)
             VALUES (?1, ?2, ?3, 0, ?4) ON CONFLICT (id) DO NOTHING",
            params![device.as_bytes(), installation.as_bytes(), principal.as_str(), position_in(position)?],
        )?;
        Ok(stored == 1)
    }

    /// Remembers the greatest push ordinal of a device.
    pub(crate) fn remember_ordinal(&self, device: DeviceId, ordinal: u64) -> Result<(), StoreRefusal> {
        let ordinal = i64::try_from(ordinal).unwrap_or(i64::MAX);
        self.transaction
            .prepare_cached("UPDATE device SET push_ordinal = max(push_ordinal, ?2) WHERE id = ?1")?
            .execute(params![device.as_bytes(), ordinal])?;
        Ok(())
    }
}

pub(super) fn read_server_id(text: String) -> Result<ServerId, StoreRefusal> {
    ServerId::new(text).map_err(|_| StoreRefusal::Damaged("server id"))
}
