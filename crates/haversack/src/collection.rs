//! One collection of records.

use haversack_core::{ChangeSet, EditRefusal, Intent, Reference};
use haversack_protocol::{CollectionSchema, RecordId};
use haversack_store::{Query, Store, StoreError, StoredRecord};

use crate::changes::{Changes, Transaction};
use crate::client::Haversack;
use crate::error::Error;
use crate::watch::Watch;

/// A handle on one collection. Cheap; an unknown name fails on use, typed.
#[derive(Clone)]
pub struct Collection {
    client: Haversack,
    name: String,
}

impl Collection {
    pub(crate) fn new(client: Haversack, name: &str) -> Self {
        Self { client, name: name.to_owned() }
    }

    /// Creates a record. Durable and visible when this returns; survives a kill at any moment after.
    ///
    /// # Errors
    /// [`Error::Store`] when the schema or the store refuses it; nothing was stored then.
    pub async fn create(&self, changes: Changes) -> Result<RecordId, Error> {
        self.client.transaction(|tx| tx.create(&self.name, changes)).await
    }

    /// Creates records under ids of the app's own making, each as a change set of its own: the server refuses or accepts
    /// one without the others. On this device all are stored in one transaction.
    ///
    /// # Errors
    /// [`Error::Store`] for the first that is refused; none was stored then.
    pub async fn create_all(&self, records: Vec<(RecordId, Changes)>) -> Result<(), Error> {
        let change_sets = self.creations(records);
        self.client.commit(true, move |store| store.local_write_all(change_sets)).await
    }

    /// Says whether [`Collection::create_all`] would create these records; stores nothing.
    ///
    /// # Errors
    /// Those of [`Collection::create_all`].
    pub async fn check_all(&self, records: Vec<(RecordId, Changes)>) -> Result<(), Error> {
        let change_sets = self.creations(records);
        self.client.with_store(move |store| store.rehearse_all(change_sets)).await
    }

    fn creations(&self, records: Vec<(RecordId, Changes)>) -> Vec<ChangeSet> {
        let creation = |(record, changes)| {
            let mut transaction = Transaction::new();
            transaction.create_as(record, &self.name, changes);
            self.client.change_set(transaction)
        };
        records.into_iter().map(creation).collect()
    }

    /// Edits a record. Durable and visible when this returns.
    ///
    /// # Errors
    /// [`Error::Store`]; nothing was stored then.
    pub async fn edit(&self, record: RecordId, changes: Changes) -> Result<(), Error> {
        self.client.transaction(|tx: &mut Transaction| tx.edit(record, &self.name, changes)).await
    }

    /// Marks a record deleted; [`Collection::restore`] takes it back.
    ///
    /// # Errors
    /// [`Error::Store`]; nothing was stored then.
    pub async fn delete(&self, record: RecordId) -> Result<(), Error> {
        self.edit(record, Changes(vec![Intent::Delete])).await
    }

    /// Takes a deletion back.
    ///
    /// # Errors
    /// [`Error::Store`]; nothing was stored then.
    pub async fn restore(&self, record: RecordId) -> Result<(), Error> {
        self.edit(record, Changes(vec![Intent::Restore])).await
    }

    /// Reads a record by either of its names; `None` when it is not here or of another collection.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get(&self, name: impl Into<Reference>) -> Result<Option<StoredRecord>, Error> {
        let found = self.client.get(name).await?;
        Ok(found.filter(|record| record.collection == self.name))
    }

    /// Lists records; filters and sorting go over indexed fields.
    ///
    /// # Errors
    /// [`Error::Store`], with `NotIndexed` for other fields.
    pub async fn list(&self, query: Query) -> Result<Vec<StoredRecord>, Error> {
        self.client.list(Query { collection: self.name.clone(), ..query }).await
    }

    pub(crate) fn known(&self) -> Result<&CollectionSchema, Error> {
        let unknown = || StoreError::Edit(EditRefusal::UnknownCollection(self.name.clone()));
        Ok(self.client.schema().collection(&self.name).ok_or_else(unknown)?)
    }

    /// Subscribes to the outcome of a query: once at the start, then once per commit that changes it. Commits that touch
    /// nothing in the collection cost nothing.
    pub fn watch(&self, query: Query) -> Watch {
        let query = Query { collection: self.name.clone(), ..query };
        Watch::of_collection(self.client.clone(), self.name.clone(), move |store| store.list(&query))
    }

    /// Subscribes to a record: once at the start, then once per commit that changes how it reads. `None` while it is not
    /// here or of another collection. Commits that do not touch it cost nothing.
    pub fn watch_record(&self, record: RecordId) -> Watch<Option<StoredRecord>> {
        let name = self.name.clone();
        let read = move |store: &Store| Ok(store.get(record)?.filter(|found| found.collection == name));
        Watch::of_record(self.client.clone(), self.name.clone(), record, read)
    }
}
