//! A device of a story that is not about its calls: what does not work out ends the story.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use haversack::{Changes, Error, HostKey, OutboxEntry, RecordId, Row, Schema, StoredRecord, SyncReport};
use haversack_testing::Tokens;

/// A device whose calls work out.
pub struct Device(pub(super) haversack_testing::Device);

impl Deref for Device {
    type Target = haversack_testing::Device;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Device {
    /// Closes the store and opens it again.
    pub async fn reopen(self) -> Self {
        Self(self.0.reopen().await.expect("the store is still there"))
    }

    /// Closes the store and opens it under another schema, as after an update of the app.
    pub async fn turn_to(&mut self, schema: &Schema) {
        self.0.turn_to(schema).await.expect("the store is still there");
    }

    /// Closes the store, puts a backup in its place and opens that. Returns the device, and the folder in which the store
    /// there was lies whole.
    pub async fn restore(self, backup: &Path) -> (Self, PathBuf) {
        let (device, aside) = self.0.restore(backup).await.expect("restored");
        (Self(device), aside.expect("there was a store"))
    }

    /// The store in another folder, as a device of the same owner.
    pub async fn beside(&self, folder: &Path) -> Self {
        Self(self.0.beside(folder).await.expect("a store"))
    }

    /// The key of the store.
    pub fn keys(&self) -> HostKey {
        HostKey::new(self.key().clone())
    }

    /// Connects with the owner's token.
    pub async fn connect(&self, address: SocketAddr) {
        self.0.connect(address).await.expect("connected");
    }

    /// Connects with these tokens.
    pub async fn connect_with(&self, address: SocketAddr, tokens: Arc<Tokens>) {
        self.0.connect_with(address, tokens).await.expect("connected");
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
        self.0.sync().await
    }

    /// Sends and fetches after answers were spoilt: one may still be under way, so the first try may fail.
    pub async fn sync_after_trouble(&self) -> SyncReport {
        drop(self.try_sync().await);
        self.sync().await
    }

    /// Creates a record.
    pub async fn create(&self, collection: &str, changes: Changes) -> RecordId {
        self.store.collection(collection).create(changes).await.expect("stored")
    }

    /// Edits a record.
    pub async fn edit(&self, collection: &str, record: RecordId, changes: Changes) {
        self.store.collection(collection).edit(record, changes).await.expect("stored");
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
        self.0.digests().await.expect("digested")
    }
}
