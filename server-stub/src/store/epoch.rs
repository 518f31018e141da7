//! New epochs: a record's document is replaced by what it shows, and its row of the log says so.

use haversack_core::{DocumentRefusal, Root, erased_name, project};
use haversack_protocol::{
    CollectionSchema, DeviceId, EpochCause, EpochRow, ErasureId, LogRow, RecordId, UnixMillis,
};
use rusqlite::{OptionalExtension, params};

use super::erase::StoredErasure;
use super::read::fixed;
use super::sqlite::StoreRefusal;
use super::write::{PushTransaction, StoredRecord};

/// Whose rows those are that the server makes of itself.
const SERVER: DeviceId = DeviceId::from_bytes([0; 8]);
/// Epochs of one log; those of a log that was begun anew lie above, so that no epoch of a record is two.
const EPOCHS_PER_LOG: u32 = 1 << 20;

impl From<DocumentRefusal> for StoreRefusal {
    fn from(_: DocumentRefusal) -> Self {
        Self::Damaged("document")
    }
}

/// A record that is to begin anew, with the epoch it will have.
pub(crate) struct Beginning<'a> {
    pub(crate) id: RecordId,
    pub(crate) record: StoredRecord,
    pub(crate) collection: &'a CollectionSchema,
    pub(crate) log_epoch: u32,
}

impl Beginning<'_> {
    fn epoch(&self) -> u32 {
        let first = self.log_epoch.saturating_sub(1).saturating_mul(EPOCHS_PER_LOG);
        self.record.epoch.saturating_add(1).max(first)
    }
}

impl PushTransaction<'_> {
    /// Begins a new epoch without these fields and without any history; the log keeps nothing of what was before.
    pub(crate) fn erase_fields(
        &mut self,
        erasure: ErasureId,
        beginning: Beginning<'_>,
        fields: &[String],
    ) -> Result<u64, StoreRefusal> {
        let id = beginning.id;
        self.empty_log_of(id)?;
        self.transaction.execute("DELETE FROM archive WHERE record = ?1", [id.as_bytes()])?;
        let root = Root::of(&beginning.record.document, &fields.iter().cloned().collect());
        let position = self.begin_epoch(beginning, &root, EpochCause::Erased(fields.to_vec()))?;
        let record = erased_name(id);
        self.put_erasure(&StoredErasure { id: erasure, record, fields: Some(fields.to_vec()), position })?;
        Ok(position)
    }

    /// Begins a new epoch with everything the record shows; the one that ends is kept for the history.
    pub(crate) fn compact(&mut self, beginning: Beginning<'_>) -> Result<u64, StoreRefusal> {
        let (id, epoch) = (beginning.id, beginning.record.epoch);
        let ended = beginning.record.document.save();
        self.transaction
            .prepare_cached("INSERT INTO archive (record, epoch, document) VALUES (?1, ?2, ?3)")?
            .execute(params![id.as_bytes(), epoch, ended])?;
        let root = Root::of(&beginning.record.document, &[].into());
        self.begin_epoch(beginning, &root, EpochCause::Compacted)
    }

    fn begin_epoch(
        &mut self,
        beginning: Beginning<'_>,
        root: &Root,
        cause: EpochCause,
    ) -> Result<u64, StoreRefusal> {
        let epoch = beginning.epoch();
        let Beginning { id, record, collection, .. } = beginning;
        let document = root.plant(id, epoch)?.document;
        let saved = document.save_checked()?;
        let row = project(&document, collection);
        let told = LogRow::Epoch(EpochRow {
            position: self.next_position(),
            record: id,
            collection: record.collection.clone(),
            epoch,
            root: root.to_bytes()?,
            cause,
        });
        let position = self.append(&told, SERVER, None)?;
        let record = StoredRecord { epoch, document, saved_bytes: saved.len(), ..record };
        self.put_record(id, &record, &saved, &row, position)?;
        Ok(position)
    }

    /// Every record, ascending.
    pub(crate) fn records(&self) -> Result<Vec<RecordId>, StoreRefusal> {
        let mut statement = self.transaction.prepare("SELECT id FROM record ORDER BY id")?;
        let ids: Vec<Vec<u8>> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        ids.into_iter().map(|id| Ok(RecordId::from_bytes(fixed(id, "record id")?))).collect()
    }

    /// When the last change of a record was made, by the server's clock; `None` when it was none of a device.
    pub(crate) fn changed_at(&self, id: RecordId) -> Result<Option<UnixMillis>, StoreRefusal> {
        let body: Option<Vec<u8>> = self
            .transaction
            .prepare_cached(
                "SELECT body FROM log WHERE position = (SELECT updated_position FROM record WHERE id = ?1)",
            )?
            .query_row([id.as_bytes()], |row| row.get(0))
            .optional()?;
        let row = body.map(|body| minicbor::decode(&body)).transpose();
        Ok(match row.map_err(|_| StoreRefusal::Damaged("log row"))? {
            Some(LogRow::Accepted(row)) => {
                Some(UnixMillis(row.origin.at.0.saturating_add(row.origin.skew_ms)))
            }
            _ => None,
        })
    }
}
