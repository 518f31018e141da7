//! Reading beside the writer: every reader sees one committed state, never half a push.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use haversack_protocol::{DeviceId, LogRow, PrincipalId, RecordId, ServerId};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::sqlite::{StoreRefusal, open_read_only};

/// Idle read connections kept open.
const IDLE_READERS_MAX: usize = 8;

/// Read connections to one database.
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::default() }
    }

    /// Runs `work` on one committed state of the database.
    pub(crate) fn read<T, E: From<StoreRefusal>>(
        &self,
        work: impl FnOnce(&Reader<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = idle.map_or_else(|| open_read_only(&self.path), Ok)?;
        let answer = {
            let transaction = connection.transaction().map_err(StoreRefusal::from)?;
            work(&Reader { transaction })
        };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS_MAX {
            idle.push(connection);
        }
        answer
    }
}

/// One committed state of the database.
pub(crate) struct Reader<'c> {
    transaction: Transaction<'c>,
}

/// One row of the log.
pub(crate) struct StoredRow {
    pub(crate) row: LogRow,
    pub(crate) bytes: usize,
}

impl<'c> Reader<'c> {
    /// Reads one state of a connection that belongs to the caller.
    pub(crate) fn on(connection: &'c mut Connection) -> Result<Self, StoreRefusal> {
        Ok(Self { transaction: connection.transaction()? })
    }

    /// The last position of the log; 0 when it is empty.
    pub(crate) fn head(&self) -> Result<u64, StoreRefusal> {
        let head: Option<i64> =
            self.transaction.query_row("SELECT max(position) FROM log", [], |row| row.get(0))?;
        head.map_or(Ok(0), position_out)
    }

    /// Chain hash at a position; `None` when the log has no such row.
    pub(crate) fn chain_at(&self, position: u64) -> Result<Option<[u8; 32]>, StoreRefusal> {
        let Ok(position) = position_in(position) else { return Ok(None) };
        self.transaction
            .prepare_cached("SELECT chain FROM log WHERE position = ?1")?
            .query_row([position], |row| row.get::<_, Vec<u8>>(0))
            .optional()?
            .map(|chain| fixed(chain, "chain hash"))
            .transpose()
    }

    /// Whose device it is.
    pub(crate) fn principal_of(&self, device: DeviceId) -> Result<Option<PrincipalId>, StoreRefusal> {
        self.transaction
            .prepare_cached("SELECT principal FROM device WHERE id = ?1")?
            .query_row([device.as_bytes()], |row| row.get::<_, String>(0))
            .optional()?
            .map(|name| PrincipalId::new(name).map_err(|_| StoreRefusal::Damaged("principal")))
            .transpose()
    }

    /// Up to where a device has said that nothing of what was erased is left on it.
    pub(crate) fn receipt_of(&self, device: DeviceId) -> Result<u64, StoreRefusal> {
        let position = self
            .transaction
            .prepare_cached("SELECT erased_position FROM device WHERE id = ?1")?
            .query_row([device.as_bytes()], |row| row.get(0))
            .optional()?;
        position.map_or(Ok(0), position_out)
    }

    /// Gives the rows after a position that a device may see, in order, until `take` says stop.
    pub(crate) fn each_row_after(
        &self,
        position: u64,
        device: DeviceId,
        mut take: impl FnMut(StoredRow) -> bool,
    ) -> Result<(), StoreRefusal> {
        let mut statement = self.transaction.prepare_cached(
            "SELECT body FROM log
             WHERE position > ?1 AND (kind <> 1 OR device = ?2) ORDER BY position",
        )?;
        let mut rows = statement.query(params![position_in(position)?, device.as_bytes()])?;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(0)?.as_blob().map_err(|_| StoreRefusal::Damaged("log row"))?;
            let decoded = minicbor::decode(body).map_err(|_| StoreRefusal::Damaged("log row"))?;
            if !take(StoredRow { row: decoded, bytes: body.len() }) {
                break;
            }
        }
        Ok(())
    }

    /// Gives every record in order of its id: id, collection, server id, document, row.
    pub(crate) fn each_record(
        &self,
        mut take: impl FnMut(RecordId, &str, &ServerId, &[u8], &str) -> Result<(), StoreRefusal>,
    ) -> Result<(), StoreRefusal> {
        let mut statement = self
            .transaction
            .prepare("SELECT id, collection, server_id, document, row FROM record ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id = RecordId::from_bytes(fixed(row.get(0)?, "record id")?);
            let server_id =
                ServerId::new(row.get::<_, String>(2)?).map_err(|_| StoreRefusal::Damaged("server id"))?;
            let collection: String = row.get(1)?;
            let document: Vec<u8> = row.get(3)?;
            let json: String = row.get(4)?;
            take(id, &collection, &server_id, &document, &json)?;
        }
        Ok(())
    }

    /// Says whether a record has a server id; every stored record has.
    pub(crate) fn has_server_id(&self, record: RecordId) -> Result<bool, StoreRefusal> {
        Ok(self
            .transaction
            .prepare_cached("SELECT 1 FROM record WHERE id = ?1")?
            .exists([record.as_bytes()])?)
    }

    /// Records and devices.
    pub(crate) fn sizes(&self) -> Result<(u64, u64), StoreRefusal> {
        let (records, devices): (i64, i64) = self.transaction.query_row(
            "SELECT (SELECT count(*) FROM record), (SELECT count(*) FROM device)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok((position_out(records)?, position_out(devices)?))
    }

    /// Log rows, accepted and rejected change sets.
    pub(crate) fn counts(&self) -> Result<(u64, u64, u64), StoreRefusal> {
        let (log, accepted, rejected): (i64, i64, i64) = self.transaction.query_row(
            "SELECT (SELECT count(*) FROM log), (SELECT count(*) FROM verdict WHERE is_accepted = 1),
                    (SELECT count(*) FROM verdict WHERE is_accepted = 0)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        Ok((position_out(log)?, position_out(accepted)?, position_out(rejected)?))
    }
}

pub(super) fn fixed<const N: usize>(bytes: Vec<u8>, what: &'static str) -> Result<[u8; N], StoreRefusal> {
    bytes.try_into().map_err(|_| StoreRefusal::Damaged(what))
}

pub(super) fn position_out(position: i64) -> Result<u64, StoreRefusal> {
    u64::try_from(position).map_err(|_| StoreRefusal::Damaged("position"))
}

pub(super) fn position_in(position: u64) -> Result<i64, StoreRefusal> {
    i64::try_from(position).map_err(|_| StoreRefusal::Damaged("position"))
}
