//! The outbox as apps see it.

use std::collections::BTreeMap;

use haversack_core::ChangeSet;
use haversack_protocol::ChangeSetId;
use haversack_store::OutboxEntry;

use crate::changes::Transaction;
use crate::client::Haversack;
use crate::clock;
use crate::error::Error;

/// Change sets without a final verdict, and refused and parked ones whose input is kept.
#[derive(Clone)]
pub struct Outbox {
    client: Haversack,
}

impl Outbox {
    pub(crate) fn new(client: Haversack) -> Self {
        Self { client }
    }

    /// Every entry in outbox order, with attempts, last error, next try and what it waits for.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self) -> Result<Vec<OutboxEntry>, Error> {
        self.client.with_store(|store| store.outbox()).await
    }

    /// The refused and parked entries alone, in outbox order.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn set_aside(&self) -> Result<Vec<OutboxEntry>, Error> {
        self.client.with_store(|store| store.set_aside()).await
    }

    /// One entry.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn show(&self, id: ChangeSetId) -> Result<Option<OutboxEntry>, Error> {
        Ok(self.list().await?.into_iter().find(|entry| entry.change_set.id == id))
    }

    /// Sends a refused or parked change set again, as it was, and with it all that was parked for its sake. The server
    /// remembers what it refused by id, so each goes under a new one; returned is that of the change set asked for.
    ///
    /// # Errors
    /// [`Error::Store`] when it is on its way, or no longer fits what is here; nothing is changed then.
    pub async fn retry(&self, id: ChangeSetId) -> Result<ChangeSetId, Error> {
        let again = self.client.with_store(move |store| store.set_aside_with(id)).await?;
        let mut renamed = BTreeMap::new();
        let mut replaced = Vec::new();
        for entry in again {
            // It is checked under the schema of today, so that is what it is made under now.
            let (old, schema_version) = (entry.change_set.id, self.client.schema().version);
            let mut change_set = ChangeSet { at: self.client.now(), schema_version, ..entry.change_set };
            change_set.id = clock::new_change_set();
            renamed.insert(old, change_set.id);
            for earlier in &mut change_set.after {
                *earlier = *renamed.get(earlier).unwrap_or(earlier);
            }
            replaced.push((old, change_set));
        }
        let new = renamed[&id];
        self.send_instead(replaced).await?;
        Ok(new)
    }

    /// Sends a corrected edit in the place of a refused or parked one; both happen in one transaction.
    ///
    /// # Errors
    /// [`Error::Store`]; the entry is then still there.
    pub async fn resubmit<T: Send + 'static>(
        &self,
        id: ChangeSetId,
        work: impl FnOnce(&mut Transaction) -> T,
    ) -> Result<T, Error> {
        let mut transaction = Transaction::new();
        let answer = work(&mut transaction);
        let corrected = self.client.change_set(transaction);
        self.send_instead(vec![(id, corrected)]).await?;
        Ok(answer)
    }

    /// Drops a refused or parked change set and its input for good. What was parked for its sake is refused with it.
    ///
    /// # Errors
    /// [`Error::Store`] when it is on its way.
    pub async fn discard(&self, id: ChangeSetId) -> Result<(), Error> {
        self.client.commit(false, move |store| store.discard(id)).await
    }

    async fn send_instead(&self, replaced: Vec<(ChangeSetId, ChangeSet)>) -> Result<(), Error> {
        self.client.commit(true, move |store| store.resubmit(replaced)).await
    }
}
