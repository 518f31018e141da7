//! Subscriptions to committed changes.

use haversack_store::{Query, StoredRecord};
use tokio::sync::broadcast;

use crate::client::Haversack;
use crate::error::Error;

/// A subscription to the outcome of a query. Dropping it ends it.
pub struct Watch {
    client: Haversack,
    query: Query,
    commits: broadcast::Receiver<()>,
    last: Option<Vec<StoredRecord>>,
}

impl Watch {
    pub(crate) fn new(client: Haversack, query: Query) -> Self {
        let commits = client.subscribe();
        Self { client, query, commits, last: None }
    }

    /// The outcome now at the first call, then the next one that differs. `None` when the store was closed.
    /// Commits that happened between two calls are seen as one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn next(&mut self) -> Result<Option<Vec<StoredRecord>>, Error> {
        loop {
            if self.last.is_some() {
                match self.commits.recv().await {
                    Ok(()) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Ok(None),
                }
                // Whatever else was committed meanwhile is in the same answer.
                while !matches!(
                    self.commits.try_recv(),
                    Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed)
                ) {}
            }
            let records = match self.client.list(self.query.clone()).await {
                Err(Error::Closed) => return Ok(None),
                listed => listed?,
            };
            if self.last.as_ref() != Some(&records) {
                self.last = Some(records.clone());
                return Ok(Some(records));
            }
        }
    }
}
