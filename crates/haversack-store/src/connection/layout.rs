//! The layout of a database: on which page each table and index begins, and the salt. Kept beside the database, so that
//! what its pages hold is found again where the first page or the list of tables is damaged.
//!
//! None of it is secret: the salt stands at the beginning of the file, and page numbers say nothing of values. Names of
//! indexes over fields, which are the organisation's, are left out. Serves the promise "what lies beside a damaged page is
//! brought home".

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde::{Deserialize, Serialize};

use super::keyed::SALT_BYTES;
use super::{KeyedConnection, MIGRATIONS};
use crate::files::PAGE_BYTES;
use crate::{StoreError, StoreKey};

/// Bytes of one row of filling.
const FILLING_BYTES: u64 = 64 << 20;

/// Tables of which one at least must be readable.
const PROBED: [&str; 6] = ["meta", "outbox", "outbox_tail", "document", "lane", "id_map"];

/// Where things begin in a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// As hexadecimal digits.
    salt: String,
    /// Pages by names of tables and indexes.
    roots: BTreeMap<String, u32>,
}

impl Layout {
    /// Reads the layout of an open database.
    ///
    /// # Errors
    /// As [`StoreError`] names SQLite's failures.
    pub(crate) fn read(connection: &Connection) -> Result<Self, StoreError> {
        let salt = connection.query_row("PRAGMA cipher_salt", [], |row| row.get(0))?;
        let sql = "SELECT name, rootpage FROM sqlite_master WHERE rootpage > 0 AND instr(name, ':') = 0";
        let mut statement = connection.prepare(sql)?;
        let roots = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self { salt, roots: roots.collect::<Result<_, _>>()? })
    }

    /// The salt; `None` where it does not read.
    pub(crate) fn salt(&self) -> Option<[u8; SALT_BYTES]> {
        let (pairs, rest) = self.salt.as_bytes().as_chunks::<2>();
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        bytes.filter(|_| rest.is_empty())?.try_into().ok()
    }

    /// Questions for the first row of tables that matter; one answer proves that salt and key are the database's.
    pub(crate) fn probes(&self) -> impl Iterator<Item = String> {
        let is_known = |table: &&str| self.roots.contains_key(*table);
        PROBED.into_iter().filter(is_known).map(|table| format!("SELECT 1 FROM {table} LIMIT 1"))
    }

    /// Makes a database whose first page says that the tables begin where this layout has them, and whose own pages lie
    /// behind the first `pages`: put over a damaged database, the first page and those behind make it readable again.
    /// Tables the layout does not have are there and empty.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a layout that does not read, [`StoreError::DiskFull`], among others.
    pub(crate) fn scaffold(&self, path: &Path, key: &StoreKey, pages: u64) -> Result<(), StoreError> {
        let salt = self.salt().ok_or(StoreError::Corrupt)?;
        let mut connection = KeyedConnection::create_salted(path, key, &salt)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        connection.execute_batch("PRAGMA synchronous = OFF; CREATE TABLE filling (bytes BLOB)")?;
        let mut left = pages * PAGE_BYTES;
        while left > 0 {
            let bytes = left.min(FILLING_BYTES);
            connection.execute("INSERT INTO filling VALUES (zeroblob(?1))", [bytes.cast_signed()])?;
            left -= bytes;
        }
        MIGRATIONS.run(&mut connection)?;
        connection.execute_batch("PRAGMA writable_schema = ON; BEGIN")?;
        for (name, root) in self.roots.iter().filter(|(_, root)| (2..=pages).contains(&u64::from(**root))) {
            let sql = "UPDATE sqlite_schema SET rootpage = ?2 WHERE name = ?1";
            connection.execute(sql, (name, root))?;
        }
        connection.execute_batch("COMMIT; PRAGMA journal_mode = WAL")?;
        connection.close().map_err(|(_, error)| error.into())
    }
}
