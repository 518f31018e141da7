//! The outbox as apps see it.

use haversack_core::ChangeSet;
use haversack_protocol::ChangeSetId;
use haversack_store::OutboxEntry;

use crate::changes::Transaction;
use crate::client::Haversack;
use crate::clock;
use crate::error::Error;

/// Change sets without a final verdict, and refused ones whose input is kept.
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

    /// One entry.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn show(&self, id: ChangeSetId) -> Result<Option<OutboxEntry>, Error> {
        Ok(self.list().await?.into_iter().find(|entry| entry.change_set.id == id))
    }

    /// Sends a refused change set again, as it was.
    ///
    /// # Errors
    /// [`Error::Store`] when it is not a refused one, or no longer fits what is here.
    pub async fn retry(&self, id: ChangeSetId) -> Result<ChangeSetId, Error> {
        let entry = self.show(id).await?.ok_or(haversack_store::StoreError::UnknownChangeSet(id))?;
        let again = ChangeSet { id: clock::new_change_set(), at: clock::now(), ..entry.change_set };
        self.send_instead(id, again).await
    }

    /// Sends a corrected edit in the place of a refused one; both happen in one transaction.
    ///
    /// # Errors
    /// [`Error::Store`]; the refused entry is then still there.
    pub async fn resubmit<T: Send + 'static>(
        &self,
        id: ChangeSetId,
        work: impl FnOnce(&mut Transaction) -> T,
    ) -> Result<T, Error> {
        let mut transaction = Transaction::new();
        let answer = work(&mut transaction);
        let corrected = transaction.into_change_set(self.client.schema_version());
        self.send_instead(id, corrected).await?;
        Ok(answer)
    }

    /// Drops a refused change set and its input for good.
    ///
    /// # Errors
    /// [`Error::Store`] when it is not a refused one.
    pub async fn discard(&self, id: ChangeSetId) -> Result<(), Error> {
        let changed = self.client.with_store(move |store| store.discard(id)).await?;
        self.client.committed(changed, false);
        Ok(())
    }

    async fn send_instead(&self, id: ChangeSetId, corrected: ChangeSet) -> Result<ChangeSetId, Error> {
        let new = corrected.id;
        let changed = self.client.with_store(move |store| store.resubmit(id, corrected)).await?;
        self.client.committed(changed, true);
        Ok(new)
    }
}
