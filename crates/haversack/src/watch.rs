//! Subscriptions to committed changes.
//!
//! A commit tells what it touched. A watch asks the store again only when that concerns it, and tells its app only when
//! the answer is another one.

use std::sync::Arc;

use haversack_protocol::RecordId;
use haversack_store::{Store, StoreError, StoredRecord, Touched};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::client::Haversack;
use crate::error::Error;

/// Commits a slow watcher may lag behind before it reads anew.
const COMMITS_KEPT: usize = 64;

/// What watches are told.
#[derive(Clone)]
pub(crate) enum Told {
    /// A commit touched this.
    Touched(Arc<Touched>),
    /// The store was closed.
    Closed,
}

/// Where commits are told.
#[derive(Clone)]
pub(crate) struct Commits(broadcast::Sender<Told>);

impl Commits {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(COMMITS_KEPT))
    }

    /// Tells of a commit, after it. Nobody listening is fine.
    pub(crate) fn tell(&self, touched: &Touched) {
        if !touched.is_empty() && self.0.receiver_count() > 0 {
            let _ = self.0.send(Told::Touched(Arc::new(touched.clone())));
        }
    }

    /// Tells that the store was closed.
    pub(crate) fn tell_of_the_end(&self) {
        let _ = self.0.send(Told::Closed);
    }
}

/// What a watch is about.
enum Subject {
    Collection(String),
    Record { collection: String, record: RecordId },
}

impl Subject {
    fn is_concerned(&self, told: &Told) -> bool {
        match (told, self) {
            (Told::Closed, _) => true,
            (Told::Touched(touched), Self::Collection(collection)) => touched.has_collection(collection),
            (Told::Touched(touched), Self::Record { collection, record }) => {
                touched.has_record(collection, *record)
            }
        }
    }
}

type Read<T> = Arc<dyn Fn(&Store) -> Result<T, StoreError> + Send + Sync>;

/// A subscription to what a query or a record reads as. Dropping it ends it.
pub struct Watch<T = Vec<StoredRecord>> {
    client: Haversack,
    subject: Subject,
    read: Read<T>,
    commits: broadcast::Receiver<Told>,
    last: Option<T>,
    /// The store is to be asked; until it has answered, also when nobody waited for the answer.
    is_due: bool,
    reads: u64,
}

impl<T: Clone + PartialEq + Send + 'static> Watch<T> {
    pub(crate) fn of_collection(
        client: Haversack,
        collection: String,
        read: impl Fn(&Store) -> Result<T, StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self::new(client, Subject::Collection(collection), Arc::new(read))
    }

    pub(crate) fn of_record(
        client: Haversack,
        collection: String,
        record: RecordId,
        read: impl Fn(&Store) -> Result<T, StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self::new(client, Subject::Record { collection, record }, Arc::new(read))
    }

    fn new(client: Haversack, subject: Subject, read: Read<T>) -> Self {
        let commits = client.commits().0.subscribe();
        Self { client, subject, read, commits, last: None, is_due: true, reads: 0 }
    }

    /// The outcome now at the first call, then the next one that differs. `None` when the store was closed.
    /// Commits that happened between two calls are seen as one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        loop {
            self.until_due().await;
            self.reads += 1;
            let read = self.read.clone();
            let outcome = match self.client.with_store(move |store| read(store)).await {
                Err(Error::Closed) => return Ok(None),
                read => read?,
            };
            self.is_due = false;
            if self.last.as_ref() != Some(&outcome) {
                self.last = Some(outcome.clone());
                return Ok(Some(outcome));
            }
        }
    }

    /// How often the store was asked: once at the first call, then once for each commit that concerned the watch, or for
    /// several that happened between two calls.
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// Waits until something that may change the outcome was committed, and takes all that is told by then: it is in the
    /// same answer.
    async fn until_due(&mut self) {
        loop {
            self.is_due |= match self.commits.try_recv() {
                Ok(told) => self.subject.is_concerned(&told),
                Err(TryRecvError::Lagged(_)) => true,
                Err(TryRecvError::Empty | TryRecvError::Closed) if self.is_due => return,
                Err(TryRecvError::Empty | TryRecvError::Closed) => match self.commits.recv().await {
                    Ok(told) => self.subject.is_concerned(&told),
                    Err(RecvError::Lagged(_) | RecvError::Closed) => true,
                },
            };
        }
    }
}
