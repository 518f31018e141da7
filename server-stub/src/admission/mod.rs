//! What becomes of a push: decide on each change set, write the answers, commit in groups.
//!
//! `decide` reads and answers, `batch` writes, `writer` owns the connection and the transaction.

mod batch;
mod decide;
mod device_id;
mod reference;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use batch::PushJob;
pub use device_id::DeviceIds;
pub(crate) use writer::{Answer, Job, QUEUED_PUSHES_MAX, Writer, WriterHandle, WriterRefusal};

use std::collections::BTreeMap;

use haversack_core::Rules;
use haversack_protocol::limits::LOADED_BYTES_MAX;
use haversack_protocol::{CollectionSchema, RecordId, Schema};

use crate::store::{Identity, PushTransaction, StoreRefusal, StoredRecord};

/// What does not change while the server runs.
pub(crate) struct Law {
    pub(crate) schema: Schema,
    pub(crate) rules: Rules,
    pub(crate) identity: Identity,
    pub(crate) device_ids: DeviceIds,
}

impl Law {
    /// What the server's own ids of a collection begin with.
    pub(crate) fn server_id_prefix(name: &str, collection: &CollectionSchema) -> String {
        collection.server_id_prefix.clone().unwrap_or_else(|| name.to_uppercase())
    }
}

/// Records as the writer last saw or made them, as many as fit in [`LOADED_BYTES_MAX`].
#[derive(Default)]
pub(crate) struct Loaded {
    records: BTreeMap<RecordId, StoredRecord>,
    /// Memory they are reckoned to take.
    bytes: usize,
    foreign_commits: Option<i64>,
}

impl Loaded {
    /// Forgets what may be stale: everything, when another process wrote.
    fn refresh(&mut self, transaction: &PushTransaction<'_>) -> Result<(), StoreRefusal> {
        let foreign = Some(transaction.foreign_commits()?);
        if self.foreign_commits != foreign {
            self.forget();
        }
        self.foreign_commits = foreign;
        Ok(())
    }

    fn forget(&mut self) {
        self.records.clear();
        self.bytes = 0;
    }

    /// Keeps a record. Where it does not fit, all others are forgotten: they are read again as they are needed.
    fn keep(&mut self, id: RecordId, record: StoredRecord) {
        if let Some(before) = self.records.remove(&id) {
            self.bytes -= before.loaded_bytes();
        }
        if self.bytes + record.loaded_bytes() > LOADED_BYTES_MAX {
            self.forget();
        }
        self.bytes += record.loaded_bytes();
        self.records.insert(id, record);
    }

    fn get(
        &mut self,
        transaction: &PushTransaction<'_>,
        id: RecordId,
    ) -> Result<Option<&StoredRecord>, StoreRefusal> {
        if !self.records.contains_key(&id)
            && let Some(record) = transaction.record(id)?
        {
            self.keep(id, record);
        }
        Ok(self.records.get(&id))
    }
}
