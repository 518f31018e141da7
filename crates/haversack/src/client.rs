//! The public handle: every call an app makes begins here.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use haversack_core::sync::{Input, Phase};
use haversack_core::{ChangeSet, Intent, Mark, Reference, Value};
use haversack_protocol::{RecordId, Schema, UnixMillis};
use haversack_store::{
    FieldConflict, HistoryEntry, Notice, OutboxEntry, Query, Store, StoreError, StoredRecord, Touched,
    erase_store,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::changes::{Changes, Transaction};
use crate::clock::Clock;
use crate::collection::Collection;
use crate::config::Config;
use crate::driver::{Driver, Message};
use crate::error::Error;
use crate::outbox::Outbox;
use crate::status::{Progress, Status, StatusWatch, SyncReport};
use crate::transport::{ServerAddress, TokenProvider};
use crate::watch::Commits;

/// Pause between two looks whether a call still uses a store that is to be closed; such calls end by themselves.
const STILL_USED_PAUSE: Duration = Duration::from_millis(5);

/// What to do with work that has not reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignOut {
    /// Refuse when there is any, and say how much.
    Refuse,
    /// Keep the encrypted store as it is, for the same person's return.
    Keep,
    /// Close the store and remove its files for good, whatever they hold.
    Discard,
}

struct Shared {
    store: Mutex<Option<Arc<Store>>>,
    folder: PathBuf,
    schema: Arc<Schema>,
    clock: Arc<dyn Clock>,
    commits: Commits,
    progress: watch::Receiver<Progress>,
    driver: mpsc::UnboundedSender<Message>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// An open store. Clones share it.
#[derive(Clone)]
pub struct Haversack {
    shared: Arc<Shared>,
}

impl Haversack {
    /// Opens a store, creating it when its folder holds none. Never creates over an existing file.
    ///
    /// # Errors
    /// [`Error::Store`]: every row of the opening table has its own variant.
    pub async fn open(config: Config) -> Result<Self, Error> {
        let wants_live = config.wants_live;
        let (schema, folder) = (config.schema.clone(), config.folder.clone());
        let clock = config.clock.clone();
        let store =
            run_blocking(move || Store::open(&config.folder, config.schema, config.keys.as_ref())).await??;
        let store = Arc::new(store);
        let commits = Commits::new();
        let (progress_in, progress) =
            watch::channel(Progress { phase: Phase::Disconnected, synced_at: None, last_error: None });
        let (driver, messages) = mpsc::unbounded_channel();
        let task = Driver::new(store.clone(), commits.clone(), progress_in, wants_live, clock.clone())
            .spawn(messages);
        Ok(Self {
            shared: Arc::new(Shared {
                store: Mutex::new(Some(store)),
                folder,
                schema,
                clock,
                commits,
                progress,
                driver,
                task: Mutex::new(Some(task)),
            }),
        })
    }

    /// A handle on a collection.
    pub fn collection(&self, name: &str) -> Collection {
        Collection::new(self.clone(), name)
    }

    /// Edits several records as one change set: all of it happens, here and everywhere, or nothing.
    ///
    /// # Errors
    /// [`Error::Store`]; nothing was stored then.
    pub async fn transaction<T>(&self, work: impl FnOnce(&mut Transaction) -> T) -> Result<T, Error> {
        let mut transaction = Transaction::new();
        let answer = work(&mut transaction);
        let change_set = self.change_set(transaction);
        self.commit(true, move |store| store.local_write(change_set)).await?;
        Ok(answer)
    }

    /// Says whether a record was erased: nothing is left of it, and nothing of it can come back.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn is_erased(&self, record: RecordId) -> Result<bool, Error> {
        self.with_store(move |store| store.is_erased(record)).await
    }

    /// Says whether a record is restricted: no edit of it is taken until that is lifted.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn is_restricted(&self, record: RecordId) -> Result<bool, Error> {
        self.with_store(move |store| store.is_restricted(record)).await
    }

    /// Reads a record by either of its names.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get(&self, name: impl Into<Reference>) -> Result<Option<StoredRecord>, Error> {
        let name = name.into();
        self.with_store(move |store| match store.resolve(&name)? {
            Some(record) => store.get(record),
            None => Ok(None),
        })
        .await
    }

    /// The record id behind either name; both resolve for ever.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn resolve_id(&self, name: impl Into<Reference>) -> Result<Option<RecordId>, Error> {
        let name = name.into();
        self.with_store(move |store| store.resolve(&name)).await
    }

    /// Says how a listing will be found, a step a line, in the words of SQLite's planner.
    ///
    /// # Errors
    /// Those of [`Haversack::list`].
    pub async fn explain(&self, query: Query) -> Result<Vec<String>, Error> {
        self.with_store(move |store| store.explain(&query)).await
    }

    /// Lists records of the query's collection.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self, query: Query) -> Result<Vec<StoredRecord>, Error> {
        self.with_store(move |store| store.list(&query)).await
    }

    /// Puts an override mark on a field: it shows `value` until released, whatever else is written.
    ///
    /// # Errors
    /// [`Error::Store`], with `Forbidden` when the role may not.
    pub async fn override_field(
        &self,
        record: RecordId,
        field: &str,
        value: Option<Value>,
        reason: &str,
    ) -> Result<(), Error> {
        let (field, reason) = (field.to_owned(), reason.to_owned());
        let identity = self.with_store(|store| store.identity()).await?;
        let by = identity.principal.ok_or(Error::NotConnected)?;
        let mark = Mark { value, by, role: identity.role, at: self.now(), reason };
        self.mark(record, Intent::Override { field, mark }).await
    }

    /// Takes an override mark away; the value beneath shows again.
    ///
    /// # Errors
    /// [`Error::Store`], with `Forbidden` when the role may not.
    pub async fn release_override(&self, record: RecordId, field: &str) -> Result<(), Error> {
        self.mark(record, Intent::Release { field: field.to_owned() }).await
    }

    async fn mark(&self, record: RecordId, intent: Intent) -> Result<(), Error> {
        let found = self.get(record).await?.ok_or(StoreError::UnknownRecord(record))?;
        self.transaction(|tx| tx.edit(record, &found.collection, Changes(vec![intent]))).await
    }

    /// Concurrent values of a record's fields: the one shown, and every other with author, device, time and why it
    /// lost. Choosing another is an ordinary edit.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn conflicts(&self, record: RecordId) -> Result<Vec<FieldConflict>, Error> {
        self.with_store(move |store| store.conflicts(record)).await
    }

    /// The whole timeline of a field: every write of it that was accepted, of its override marks, and every deletion and
    /// restoring of the record, in causal order, each with author, time and what became of it; this device's edits that
    /// wait come last.
    ///
    /// # Errors
    /// [`Error::Store`], with `UnknownField` for a field the collection does not have.
    pub async fn history(&self, record: RecordId, field: &str) -> Result<Vec<HistoryEntry>, Error> {
        let field = field.to_owned();
        self.with_store(move |store| store.history(record, Some(&field))).await
    }

    /// The timelines of all fields of a record in one, as [`Haversack::history`] tells each.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn record_history(&self, record: RecordId) -> Result<Vec<HistoryEntry>, Error> {
        self.with_store(move |store| store.history(record, None)).await
    }

    /// The outbox.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(self.clone())
    }

    /// Notices not acknowledged yet, oldest first.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn notices(&self) -> Result<Vec<Notice>, Error> {
        self.with_store(|store| store.notices()).await
    }

    /// Takes a notice off the list; false when there is none of that id.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn acknowledge_notice(&self, id: i64) -> Result<bool, Error> {
        self.with_store(move |store| store.acknowledge_notice(id)).await
    }

    /// Counts and sync state.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn status(&self) -> Result<Status, Error> {
        let counts = self.with_store(|store| store.counts()).await?;
        Ok(self.shared.progress.borrow().with(&counts))
    }

    /// Subscribes to the sync state.
    pub fn watch_status(&self) -> StatusWatch {
        StatusWatch(self.shared.progress.clone())
    }

    /// Connects to a server: from now on pending work is delivered and changes are fetched in the background. A live
    /// connection tells when others changed something, where the server offers one and the app did not decline it.
    ///
    /// # Errors
    /// [`Error::Transport`] for an address that is neither https nor loopback.
    pub async fn connect(&self, server: ServerAddress, tokens: Arc<dyn TokenProvider>) -> Result<(), Error> {
        let (ready, done) = oneshot::channel();
        self.send(Message::Connect { server, tokens, ready })?;
        done.await.map_err(|_| Error::Closed)?
    }

    /// Tells whether the device has a network. Regained connectivity is used at once.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn set_online(&self, is_online: bool) -> Result<(), Error> {
        self.send(Message::Input(Input::Online(is_online)))
    }

    /// Sends and fetches until nothing is left to do, at most until the deadline.
    ///
    /// # Errors
    /// The first failure; delivery goes on in the background all the same.
    pub async fn sync_once(&self, deadline: Duration) -> Result<SyncReport, Error> {
        let (done, report) = oneshot::channel();
        self.send(Message::SyncOnce(done))?;
        match tokio::time::timeout(deadline, report).await {
            Err(_) => Err(Error::Deadline),
            Ok(Err(_)) => Err(Error::Closed),
            Ok(Ok(report)) => report,
        }
    }

    /// Ends the connection. Returns the entries whose work never reached the server: kept on this device, or, with
    /// [`SignOut::Discard`], lost with it.
    ///
    /// # Errors
    /// [`Error::Unsynced`] with the count when it was to be refused then; the connection is kept. After
    /// [`SignOut::Discard`] the store is closed, also when a file could not be removed.
    pub async fn sign_out(&self, mode: SignOut) -> Result<Vec<OutboxEntry>, Error> {
        let unsynced = self.outbox().list().await?;
        if mode == SignOut::Refuse && !unsynced.is_empty() {
            return Err(Error::Unsynced { count: unsynced.len() as u64 });
        }
        if mode == SignOut::Discard {
            let folder = self.shared.folder.clone();
            let erased = self.clone().end(move |store| {
                let lost = store.outbox()?;
                // What the log still holds goes with it.
                let _ = store.close();
                erase_store(&folder)?;
                Ok(lost)
            });
            return erased.await;
        }
        self.send(Message::Disconnect)?;
        Ok(unsynced)
    }

    /// Checks every page of the store; empty when all is well. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn check(&self) -> Result<Vec<String>, Error> {
        self.with_store(|store| store.check()).await
    }

    /// Writes an encrypted copy of this moment into `to`, a folder that is not there yet or empty; edits and delivery go on
    /// meanwhile. [`restore`](haversack_store::restore()) goes back to it, as a new device.
    ///
    /// # Errors
    /// [`Error::Store`]; the store is as it was, and nothing lies under that name.
    pub async fn back_up(&self, to: impl Into<PathBuf>) -> Result<(), Error> {
        let to = to.into();
        self.with_store(move |store| store.back_up(&to)).await
    }

    /// Ends delivery and closes the file. Waits for a request under way to be dropped; nothing is lost by that.
    ///
    /// # Errors
    /// [`Error::Closed`] when it already was.
    pub async fn close(self) -> Result<(), Error> {
        self.end(Store::close).await
    }

    /// Ends delivery, then hands the store to its last piece of work. In a task of its own, which goes on to its end when the
    /// caller stops waiting: half of it would leave a store nobody can close.
    async fn end<T: Send + 'static>(
        self,
        work: impl FnOnce(Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        let ending = tokio::spawn(async move {
            let store = self.take_store().await?;
            Ok(run_blocking(move || work(store)).await??)
        });
        ending.await.map_err(|_| Error::Panicked)?
    }

    /// Ends delivery and takes the store away from every clone, once the calls that still use it have ended.
    async fn take_store(&self) -> Result<Store, Error> {
        let task = lock(&self.shared.task).take().ok_or(Error::Closed)?;
        self.send(Message::Close)?;
        task.await.map_err(|_| Error::Closed)?;
        let mut shared = lock(&self.shared.store).take().ok_or(Error::Closed)?;
        // Watches ask once more, and learn that the store is closed.
        self.shared.commits.tell_of_the_end();
        loop {
            match Arc::try_unwrap(shared) {
                Ok(store) => return Ok(store),
                Err(still_used) => shared = still_used,
            }
            tokio::time::sleep(STILL_USED_PAUSE).await;
        }
    }

    /// Runs `work` on the store, off the async threads.
    ///
    /// # Errors
    /// [`Error::Store`], or [`Error::Closed`].
    pub async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        let store = lock(&self.shared.store).clone().ok_or(Error::Closed)?;
        Ok(run_blocking(move || work(&store)).await??)
    }

    /// The schema it was opened with.
    pub fn schema(&self) -> &Schema {
        &self.shared.schema
    }

    pub(crate) fn commits(&self) -> &Commits {
        &self.shared.commits
    }

    /// The change set a transaction becomes now.
    pub(crate) fn change_set(&self, transaction: Transaction) -> ChangeSet {
        transaction.into_change_set(self.shared.schema.version, self.now())
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.shared.clock.now()
    }

    /// Runs a unit of work that changes records. Watchers and the driver are told after the commit, and from inside: they
    /// hear of it even when the caller has stopped waiting meanwhile.
    pub(crate) async fn commit(
        &self,
        has_work: bool,
        work: impl FnOnce(&Store) -> Result<Touched, StoreError> + Send + 'static,
    ) -> Result<(), Error> {
        let (commits, driver) = (self.shared.commits.clone(), self.shared.driver.clone());
        let told = move |store: &Store| {
            commits.tell(&work(store)?);
            if has_work {
                // A store that is closing delivers at the next opening.
                let _ = driver.send(Message::Input(Input::LocalWork));
            }
            Ok(())
        };
        self.with_store(told).await
    }

    fn send(&self, message: Message) -> Result<(), Error> {
        self.shared.driver.send(message).map_err(|_| Error::Closed)
    }
}

/// Takes a lock whose holders never leave it half changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs blocking work off the async threads, to its end also when nobody waits for it any more.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| if error.is_panic() { Error::Panicked } else { Error::Closed })
}
