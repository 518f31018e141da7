//! Records as types of the app.

use std::collections::BTreeMap;

use haversack_core::{Reference, difference, read_as, written_by};
use haversack_protocol::RecordId;
use haversack_store::{Query, StoreError, StoredRecord};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::changes::Changes;
use crate::collection::Collection;
use crate::error::Error;

/// A record, and what it shows as a type of the app.
#[derive(Clone, Debug, PartialEq)]
pub struct Typed<T> {
    /// What it shows: overridden fields as overridden.
    pub value: T,
    /// Its ids and state, marks, conflicts and values beneath.
    pub stored: StoredRecord,
}

impl Collection {
    /// Reads a record as a `T`, a struct whose fields are named as the schema's.
    ///
    /// # Errors
    /// [`Error::Type`] when the record does not fit the type; [`Error::Store`].
    pub async fn get_as<T: DeserializeOwned>(
        &self,
        name: impl Into<Reference>,
    ) -> Result<Option<Typed<T>>, Error> {
        let found = self.get(name).await?;
        found.map(|stored| self.typed(stored)).transpose()
    }

    /// Lists records as `T`s.
    ///
    /// # Errors
    /// [`Error::Type`] when one of them does not fit the type; [`Error::Store`].
    pub async fn list_as<T: DeserializeOwned>(&self, query: Query) -> Result<Vec<Typed<T>>, Error> {
        let found = self.list(query).await?;
        found.into_iter().map(|stored| self.typed(stored)).collect()
    }

    /// Creates a record from a `T`. What it leaves empty is not written.
    ///
    /// # Errors
    /// [`Error::Type`] when the type does not fit the collection; [`Error::Store`]. Nothing was stored then.
    pub async fn create_from<T: Serialize>(&self, value: &T) -> Result<RecordId, Error> {
        let written = written_by(self.known()?, value)?;
        let intents = difference(&BTreeMap::new(), &written);
        self.create(Changes(intents)).await
    }

    /// Hands what a record shows to `work` and writes what that changed, and nothing else: fields it leaves alone merge with what
    /// others write. True when something was changed.
    ///
    /// # Errors
    /// [`Error::Type`] when record and type do not fit; [`StoreError::UnknownRecord`] when the record is not here; other
    /// [`Error::Store`]s. Nothing was stored then.
    pub async fn edit_as<T: Serialize + DeserializeOwned>(
        &self,
        record: RecordId,
        work: impl FnOnce(&mut T),
    ) -> Result<bool, Error> {
        let collection = self.known()?;
        let found = self.get_as::<T>(record).await?;
        let mut value = found.ok_or(StoreError::UnknownRecord(record))?.value;
        let before = written_by(collection, &value)?;
        work(&mut value);
        let intents = difference(&before, &written_by(collection, &value)?);
        let is_changed = !intents.is_empty();
        if is_changed {
            self.edit(record, Changes(intents)).await?;
        }
        Ok(is_changed)
    }

    fn typed<T: DeserializeOwned>(&self, stored: StoredRecord) -> Result<Typed<T>, Error> {
        Ok(Typed { value: read_as(self.known()?, &stored.row)?, stored })
    }
}
