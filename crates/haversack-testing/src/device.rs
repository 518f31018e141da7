//! A device: a real store in a folder of its own, its owner's token, its clock, and its gate before the server.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use haversack::{
    Config, EntryState, Error, Haversack, HostKey, OutboxEntry, PrincipalId, Rejection, Schema,
    ServerAddress, StoreKey, SyncReport, TenantId, restore,
};

use crate::clock::TestClock;
use crate::error::TestingError;
use crate::gate::Gate;
use crate::tokens::Tokens;

/// Time after which a story has failed; far above what any of them takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks at a condition, and between two tries of a delivery.
const LOOK_AGAIN: Duration = Duration::from_millis(15);

/// Waits until the condition holds.
///
/// # Panics
/// When it did not within two minutes, with `what` it was.
pub async fn expect_eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("it never came true that {what}"));
}

/// What a device is made of, and opened again with.
#[derive(Clone)]
pub(crate) struct Making {
    pub(crate) schema: Schema,
    pub(crate) tenant: TenantId,
    pub(crate) principal: PrincipalId,
    pub(crate) token: String,
    pub(crate) wants_live: bool,
}

/// A change set the server refused, and why; its input is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The entry of the outbox, with the input.
    pub entry: OutboxEntry,
    /// The reason, as the app sees it.
    pub rejection: Rejection,
}

/// A phone in somebody's hands: a real store in a temporary folder, its key in memory. It is offline until it is told
/// otherwise, and its folder goes with it.
pub struct Device {
    /// The store, as the app uses it.
    pub store: Haversack,
    folder: PathBuf,
    /// Removes a folder of its own with the device.
    _owned: Option<tempfile::TempDir>,
    key: StoreKey,
    gate: Arc<Gate>,
    clock: Arc<TestClock>,
    is_connected: AtomicBool,
    making: Making,
}

impl Device {
    pub(crate) async fn new(making: Making, gate: Gate) -> Result<Self, TestingError> {
        let owned = tempfile::tempdir()?;
        let folder = owned.path().to_owned();
        let key = StoreKey::random().map_err(Error::from)?;
        let clock = Arc::new(TestClock::default());
        let store = open(&folder, &key, &clock, &making).await?;
        Ok(Self {
            store,
            folder,
            _owned: Some(owned),
            key,
            gate: Arc::new(gate),
            clock,
            is_connected: AtomicBool::new(false),
            making,
        })
    }

    /// The gate between this device and the server: what happens to its next requests is said there.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The clock of this device.
    pub fn clock(&self) -> &TestClock {
        &self.clock
    }

    /// The folder of the store.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The key of the store.
    pub fn key(&self) -> &StoreKey {
        &self.key
    }

    /// The owner's token.
    pub fn token(&self) -> &str {
        &self.making.token
    }

    /// Gives the device a network; at the first time, connects it to the server. Delivery begins by itself.
    ///
    /// # Errors
    /// [`Error::Closed`] once the store was closed.
    pub async fn go_online(&self) -> Result<(), Error> {
        self.store.set_online(true)?;
        if !self.is_connected.load(Ordering::Relaxed) {
            self.connect(self.gate.address()).await?;
        }
        Ok(())
    }

    /// Takes the network away; what was under way is dropped.
    ///
    /// # Errors
    /// [`Error::Closed`] once the store was closed.
    pub fn go_offline(&self) -> Result<(), Error> {
        self.store.set_online(false)
    }

    /// Sends and fetches once, until nothing is left to do or something fails: what an app's "sync now" does.
    ///
    /// # Errors
    /// The first failure, as the app sees it, also of a request that was under way already.
    pub async fn sync(&self) -> Result<SyncReport, Error> {
        self.store.sync_once(PATIENCE).await
    }

    /// Sends and fetches, and tries again where that may help, until nothing is left to do: what a device does by itself in
    /// time. Pauses are cut short, also those a server asked for.
    ///
    /// # Errors
    /// The first failure that trying again does not mend, or the last one after two minutes.
    pub async fn deliver(&self) -> Result<SyncReport, Error> {
        let begun = tokio::time::Instant::now();
        loop {
            match self.sync().await {
                Err(error) if error.is_retryable() && begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                ended => return ended,
            }
        }
    }

    /// What the server refused and its user has not dealt with, in outbox order.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn refused(&self) -> Result<Vec<Refused>, Error> {
        let entries = self.store.outbox().set_aside().await?;
        let refused = entries.into_iter().filter_map(|entry| match &entry.state {
            EntryState::Rejected(rejection) => Some(Refused { rejection: rejection.clone(), entry }),
            _ => None,
        });
        Ok(refused.collect())
    }

    /// Connects past the gate, to whatever listens at this address.
    ///
    /// # Errors
    /// [`Error::Transport`] for an address that is not of this machine; [`Error::Closed`].
    pub async fn connect(&self, address: SocketAddr) -> Result<(), Error> {
        let tokens = Tokens::of(self.making.principal.clone(), &[&self.making.token]);
        self.connect_with(address, tokens).await
    }

    /// Connects to this address with these tokens.
    ///
    /// # Errors
    /// Those of [`Device::connect`].
    pub async fn connect_with(&self, address: SocketAddr, tokens: Arc<Tokens>) -> Result<(), Error> {
        let server = ServerAddress::new(&format!("http://{address}"), self.making.tenant.clone())?;
        self.store.connect(server, tokens).await?;
        self.is_connected.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Opens the store of the same folder once more, without closing it.
    ///
    /// # Errors
    /// [`Error::Store`], with `AlreadyOpen` while it is open.
    pub async fn open_again(&self) -> Result<Haversack, Error> {
        open(&self.folder, &self.key, &self.clock, &self.making).await
    }

    /// Closes the store, unless it is closed, and opens it again, as an app that was restarted: connected to nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn reopen(self) -> Result<Self, Error> {
        match self.store.clone().close().await {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
        let store = self.open_again().await?;
        Ok(Self { store, is_connected: AtomicBool::new(false), ..self })
    }

    /// Closes the store and opens it under another schema, as after an update of the app.
    ///
    /// # Errors
    /// The library's; the store is then closed.
    pub async fn turn_to(&mut self, schema: &Schema) -> Result<(), Error> {
        self.store.clone().close().await?;
        self.making.schema = schema.clone();
        self.store = self.open_again().await?;
        *self.is_connected.get_mut() = false;
        Ok(())
    }

    /// Closes the store, puts a backup in its place and opens that. Returns the device, and the folder in which the store
    /// that was there lies whole.
    ///
    /// # Errors
    /// The library's; nothing is lost.
    pub async fn restore(self, backup: &Path) -> Result<(Self, Option<PathBuf>), Error> {
        self.store.clone().close().await?;
        let report = restore(backup, &self.folder, &HostKey::new(self.key.clone()))?;
        Ok((self.reopen().await?, report.aside))
    }

    /// The store in another folder under the same key, as one more device of the same owner.
    ///
    /// # Errors
    /// The library's.
    pub async fn beside(&self, folder: &Path) -> Result<Self, Error> {
        let (making, clock) = (self.making.clone(), Arc::new(TestClock::default()));
        let store = open(folder, &self.key, &clock, &making).await?;
        let (folder, key, gate) = (folder.to_owned(), self.key.clone(), self.gate.clone());
        Ok(Self {
            store,
            folder,
            _owned: None,
            key,
            gate,
            clock,
            is_connected: AtomicBool::new(false),
            making,
        })
    }

    /// The digests of what the device shows, from its rows and from its documents.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn digests(&self) -> Result<(String, String), Error> {
        let both = self.store.with_store(|store| {
            Ok((store.digest_from_rows()?.finish(), store.digest_from_documents()?.finish()))
        });
        both.await
    }
}

async fn open(
    folder: &Path,
    key: &StoreKey,
    clock: &Arc<TestClock>,
    making: &Making,
) -> Result<Haversack, Error> {
    let keys = Arc::new(HostKey::new(key.clone()));
    let config = Config::new(folder, making.schema.clone(), keys).with_clock(clock.clone());
    Haversack::open(if making.wants_live { config } else { config.without_live_connection() }).await
}
