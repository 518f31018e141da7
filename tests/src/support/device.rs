//! A device: a real store in a folder of its own, and the token of its owner.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use haversack::{
    Changes, Config, Error, Haversack, HostKey, OutboxEntry, PrincipalId, RecordId, Row, Schema,
    ServerAddress, StoreKey, StoredRecord, SyncReport, TenantId, Token, TokenFuture, TokenProvider,
    TokenRefusal, restore,
};

use super::shape::{NORTH, schema};

/// Time after which a story has failed; far above what any of them takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(15);

/// Waits until the condition holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("it never came true that {what}"));
}

/// Tokens in the order they are given out, and what the library asked for. The last is given again and again.
pub struct Tokens {
    principal: PrincipalId,
    left: Mutex<VecDeque<String>>,
    asked: Mutex<Vec<bool>>,
}

impl Tokens {
    /// Tokens that speak for `principal`.
    pub fn new(principal: &str, tokens: &[&str]) -> Arc<Self> {
        let left = tokens.iter().map(|token| (*token).to_owned()).collect();
        let principal = PrincipalId::new(principal).expect("plain");
        Arc::new(Self { principal, left: Mutex::new(left), asked: Mutex::default() })
    }

    /// The `renew` of every call.
    pub fn asked(&self) -> Vec<bool> {
        self.asked.lock().expect("whole").clone()
    }
}

impl TokenProvider for Tokens {
    fn token(&self, renew: bool) -> TokenFuture<'_> {
        self.asked.lock().expect("whole").push(renew);
        let mut left = self.left.lock().expect("whole");
        let next = if left.len() > 1 { left.pop_front() } else { left.front().cloned() };
        let token = next.map(|secret| Token::new(secret, self.principal.clone())).ok_or(TokenRefusal);
        Box::pin(std::future::ready(token))
    }
}

/// A store and its owner.
pub struct Device {
    /// The store.
    pub store: Haversack,
    folder: Option<tempfile::TempDir>,
    key: StoreKey,
    principal: String,
    token: String,
    wants_live: bool,
    schema: Schema,
}

impl Device {
    /// A device that talks to the server only when its story says so.
    pub(super) async fn new(principal: &str, token: String) -> Self {
        Self::under(principal, token, schema()).await
    }

    pub(super) async fn listening(principal: &str, token: String) -> Self {
        Self::made(principal, token, schema(), true).await
    }

    pub(super) async fn under(principal: &str, token: String, schema: Schema) -> Self {
        Self::made(principal, token, schema, false).await
    }

    async fn made(principal: &str, token: String, schema: Schema, wants_live: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = StoreKey::from_bytes([7; 32]);
        let store = open(folder.path(), &key, &schema, wants_live).await.expect("a new store");
        let principal = principal.to_owned();
        Self { store, folder: Some(folder), key, principal, token, wants_live, schema }
    }

    /// Opens the store of the same folder once more, without closing it.
    ///
    /// # Errors
    /// The library's.
    pub async fn open_again(&self) -> Result<Haversack, Error> {
        let folder = self.folder.as_ref().expect("there until the end");
        open(folder.path(), &self.key, &self.schema, self.wants_live).await
    }

    /// Closes the store and opens it again.
    pub async fn reopen(self) -> Self {
        self.store.clone().close().await.expect("closed");
        let store = self.open_again().await.expect("the store is still there");
        Self { store, ..self }
    }

    /// Closes the store and opens it under another schema, as after an update of the app.
    pub async fn turn_to(&mut self, schema: &Schema) {
        self.store.clone().close().await.expect("closed");
        self.schema = schema.clone();
        self.store = self.open_again().await.expect("the store is still there");
    }

    /// Closes the store, puts a backup in its place and opens that. Returns the device, and the folder in which the store
    /// there was lies whole.
    pub async fn restore(self, backup: &Path) -> (Self, PathBuf) {
        self.store.clone().close().await.expect("closed");
        let folder = self.folder.as_ref().expect("there until the end").path();
        let keys = HostKey::new(self.key.clone());
        let report = restore(backup, folder, &keys).expect("restored");
        let aside = report.aside.expect("there was a store");
        let store = self.open_again().await.expect("the restored store");
        (Self { store, ..self }, aside)
    }

    /// The store in another folder, as a device of the same owner.
    pub async fn beside(&self, folder: &Path) -> Self {
        let store = open(folder, &self.key, &self.schema, false).await.expect("a store");
        let (key, principal, token) = (self.key.clone(), self.principal.clone(), self.token.clone());
        Self { store, folder: None, key, principal, token, wants_live: false, schema: self.schema.clone() }
    }

    /// The key of the store.
    pub fn keys(&self) -> HostKey {
        HostKey::new(self.key.clone())
    }

    /// The owner's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Connects with the owner's token.
    pub async fn connect(&self, address: SocketAddr) {
        let tokens = Tokens::new(&self.principal, &[&self.token]);
        self.connect_with(address, tokens).await;
    }

    /// Connects with these tokens.
    pub async fn connect_with(&self, address: SocketAddr, tokens: Arc<Tokens>) {
        let tenant = TenantId::new(NORTH).expect("plain");
        let server = ServerAddress::new(&format!("http://{address}"), tenant).expect("loopback");
        self.store.connect(server, tokens).await.expect("connected");
    }

    /// Sends and fetches until nothing is left to do.
    pub async fn sync(&self) -> SyncReport {
        self.try_sync().await.expect("synced")
    }

    /// Sends and fetches until nothing is left to do, or something fails.
    ///
    /// # Errors
    /// The library's.
    pub async fn try_sync(&self) -> Result<SyncReport, Error> {
        self.store.sync_once(PATIENCE).await
    }

    /// Creates a record.
    pub async fn create(&self, collection: &str, changes: Changes) -> RecordId {
        self.store.collection(collection).create(changes).await.expect("stored")
    }

    /// Edits a record.
    pub async fn edit(&self, collection: &str, record: RecordId, changes: Changes) {
        self.store.collection(collection).edit(record, changes).await.expect("stored");
    }

    /// Sends and fetches after answers were spoilt: one may still be under way, so the first try may fail.
    pub async fn sync_after_trouble(&self) -> SyncReport {
        drop(self.try_sync().await);
        self.sync().await
    }

    /// The record; it must be here.
    pub async fn record(&self, record: RecordId) -> StoredRecord {
        self.store.get(record).await.expect("read").expect("the record is here")
    }

    /// The row of the record; it must be here.
    pub async fn row(&self, record: RecordId) -> Row {
        self.record(record).await.row
    }

    /// The outbox.
    pub async fn outbox(&self) -> Vec<OutboxEntry> {
        self.store.outbox().list().await.expect("listed")
    }

    /// The digests of rows and of documents.
    pub async fn digests(&self) -> (String, String) {
        let both = self.store.with_store(|store| {
            Ok((store.digest_from_rows()?.finish(), store.digest_from_documents()?.finish()))
        });
        both.await.expect("digested")
    }
}

async fn open(folder: &Path, key: &StoreKey, schema: &Schema, wants_live: bool) -> Result<Haversack, Error> {
    let keys = Arc::new(HostKey::new(key.clone()));
    let config = Config::new(folder, schema.clone(), keys);
    Haversack::open(if wants_live { config } else { config.without_live_connection() }).await
}
