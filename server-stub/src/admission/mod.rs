//! What becomes of a push: decide on each change set, write the answers, commit in groups.
//!
//! `decide` reads and answers, `batch` writes, `writer` owns the connection and the transaction.

mod batch;
mod decide;
mod reference;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use batch::PushJob;
pub(crate) use writer::{Answer, Job, QUEUED_PUSHES_MAX, Writer, WriterHandle, WriterRefusal};

use std::collections::BTreeMap;

use haversack_core::Rules;
use haversack_protocol::{CollectionSchema, RecordId, Schema};

use crate::store::{Identity, PushTransaction, StoreRefusal, StoredRecord};

/// What does not change while the server runs.
pub(crate) struct Law {
    pub(crate) schema: Schema,
    pub(crate) rules: Rules,
    pub(crate) identity: Identity,
}

impl Law {
    /// What the server's own ids of a collection begin with.
    pub(crate) fn server_id_prefix(name: &str, collection: &CollectionSchema) -> String {
        collection.server_id_prefix.clone().unwrap_or_else(|| name.to_uppercase())
    }
}

/// Records kept loaded between transactions.
const LOADED_RECORDS_MAX: usize = 2048;

/// Records as the writer last saw or made them.
#[derive(Default)]
pub(crate) struct Loaded {
    records: BTreeMap<RecordId, StoredRecord>,
    foreign_commits: Option<i64>,
}

impl Loaded {
    /// Forgets what may be stale: everything, when another process wrote, and when there is too much.
    fn refresh(&mut self, transaction: &PushTransaction<'_>) -> Result<(), StoreRefusal> {
        let foreign = Some(transaction.foreign_commits()?);
        if self.foreign_commits != foreign || self.records.len() > LOADED_RECORDS_MAX {
            self.records.clear();
        }
        self.foreign_commits = foreign;
        Ok(())
    }

    fn forget(&mut self) {
        self.records.clear();
    }

    fn get(
        &mut self,
        transaction: &PushTransaction<'_>,
        id: RecordId,
    ) -> Result<Option<&StoredRecord>, StoreRefusal> {
        use std::collections::btree_map::Entry;
        Ok(match self.records.entry(id) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(vacant) => transaction.record(id)?.map(|record| &*vacant.insert(record)),
        })
    }
}
