//! Single facts about the store.

use rusqlite::Connection;

use super::{decode, encode, one, run};
use crate::StoreError;

/// Name of the installation, made once.
pub(crate) const INSTALLATION: &str = "installation";
/// Device id the server issued.
pub(crate) const DEVICE: &str = "device";
/// Whose store it is.
pub(crate) const PRINCIPAL: &str = "principal";
/// Role of the principal, as last heard.
pub(crate) const ROLE: &str = "role";
/// Server the store is bound to.
pub(crate) const SERVER: &str = "server";
/// Number of the last push.
pub(crate) const PUSH_ORDINAL: &str = "push_ordinal";
/// Read position.
pub(crate) const CURSOR: &str = "cursor";
/// Set while a salvaged store reads the log anew; nothing is leased meanwhile.
pub(crate) const HEALING: &str = "healing";
/// Log position of the last erasure that was applied.
pub(crate) const ERASED: &str = "erased";
/// Set while pages of the file may still hold bytes of what was erased or let go.
pub(crate) const UNSWEPT: &str = "unswept";
/// When records were let go last, by the server's clock, in milliseconds.
pub(crate) const LET_GO: &str = "let_go";
/// Fingerprint of the schema the rows were made under.
pub(crate) const SCHEMA: &str = "schema";

/// Reads a fact.
pub(crate) fn read<T: for<'b> minicbor::Decode<'b, ()>>(
    connection: &Connection,
    key: &str,
) -> Result<Option<T>, StoreError> {
    let bytes: Option<Vec<u8>> =
        one(connection, "SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))?;
    bytes.map(|bytes| decode(&bytes, "fact about the store")).transpose()
}

/// Writes a fact over the one before.
pub(crate) fn write<T: minicbor::Encode<()>>(
    connection: &Connection,
    key: &str,
    value: &T,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    run(connection, sql, (key, encode(value))).map(drop)
}

/// Forgets a fact.
pub(crate) fn remove(connection: &Connection, key: &str) -> Result<(), StoreError> {
    run(connection, "DELETE FROM meta WHERE key = ?1", [key]).map(drop)
}
