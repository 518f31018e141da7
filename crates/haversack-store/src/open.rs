//! Opening of the store file.

use std::path::Path;

use haversack_protocol::StoreId;
use rusqlite::Connection;

use crate::connection::Connections;
use crate::{KeyProvider, StoreError};

/// An opened store file.
pub struct Opened {
    pub(crate) connections: Connections,
    /// Name of the store.
    pub store_id: StoreId,
    /// The file was made by this opening.
    pub created: bool,
}

/// Opens the store in `folder`.
///
/// # Errors
/// [`StoreError`].
pub fn open_store(folder: &Path, _keys: &dyn KeyProvider) -> Result<Opened, StoreError> {
    let connection = Connection::open(folder.join("store.db"))?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;")?;
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if format == 0 {
        connection.execute_batch(include_str!("../migrations/0001_create_store.sql"))?;
        connection.execute_batch("PRAGMA user_version = 1")?;
    }
    let store_id = StoreId::from_bytes([7; 16]);
    Ok(Opened { connections: Connections::new(connection), store_id, created: format == 0 })
}
