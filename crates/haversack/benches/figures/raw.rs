//! What nobody can do without: the same two rows in one SQLCipher transaction, written by hand.

use std::path::Path;

use rusqlite::Connection;

/// How a commit meets the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Before it returns, as the store does.
    Each,
    /// Never; tells what flushing costs.
    Never,
}

/// A row and an outbox table with the store's key length, pragmas and page cache.
pub(crate) struct Raw(Connection);

impl Raw {
    pub(crate) fn create(path: &Path, flush: Flush) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        let key = "07".repeat(32);
        connection.execute_batch(&format!("PRAGMA key = \"x'{key}'\""))?;
        let synchronous = if flush == Flush::Each { "FULL" } else { "OFF" };
        connection.execute_batch(&format!(
            "PRAGMA cipher_log = off; PRAGMA synchronous = {synchronous}; PRAGMA fullfsync = ON;
             PRAGMA checkpoint_fullfsync = ON; PRAGMA wal_autocheckpoint = 4000;
             PRAGMA journal_size_limit = 16777216; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;
             PRAGMA cell_size_check = ON; PRAGMA secure_delete = FAST; PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -8000; PRAGMA journal_mode = WAL;
             CREATE TABLE record (id BLOB PRIMARY KEY NOT NULL, row TEXT NOT NULL) STRICT;
             CREATE TABLE outbox (entry_order INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL) STRICT;"
        ))?;
        Ok(Self(connection))
    }

    pub(crate) fn insert(&self, id: &[u8; 16], row: &str, body: &[u8]) -> rusqlite::Result<()> {
        self.write("INSERT INTO record (row, id) VALUES (?1, ?2)", id, row, body)
    }

    pub(crate) fn update(&self, id: &[u8; 16], row: &str, body: &[u8]) -> rusqlite::Result<()> {
        self.write("UPDATE record SET row = ?1 WHERE id = ?2", id, row, body)
    }

    fn write(&self, sql: &str, id: &[u8; 16], row: &str, body: &[u8]) -> rusqlite::Result<()> {
        self.0.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        self.0.prepare_cached("INSERT INTO outbox (body) VALUES (?1)")?.execute([body])?;
        self.0.prepare_cached(sql)?.execute((row, id))?;
        self.0.prepare_cached("COMMIT")?.execute([]).map(drop)
    }
}
