//! Confirmed documents.

use haversack_core::Document;
use haversack_protocol::{ChangeHash, RecordId};
use rusqlite::Connection;

use super::{all, count, hashes_from, hashes_to, one, record_at, run};
use crate::StoreError;

/// A confirmed document with what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct StoredDocument {
    pub(crate) collection: String,
    pub(crate) epoch: u32,
    pub(crate) document: Document,
}

/// Reads the document of a record.
pub(crate) fn load(connection: &Connection, record: RecordId) -> Result<Option<StoredDocument>, StoreError> {
    let sql = "SELECT collection, epoch, bytes FROM document WHERE record = ?1";
    let found = one(connection, sql, [record.as_bytes()], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?))
    })?;
    let Some((collection, epoch, bytes)) = found else { return Ok(None) };
    let document = Document::load(&bytes).map_err(|source| StoreError::Document { record, source })?;
    Ok(Some(StoredDocument { collection, epoch, document }))
}

/// Writes a document, with bytes that were proven to load.
pub(crate) fn save(
    connection: &Connection,
    record: RecordId,
    stored: &StoredDocument,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let sql = "INSERT INTO document (record, collection, epoch, heads, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (record) DO UPDATE
               SET epoch = excluded.epoch, heads = excluded.heads, bytes = excluded.bytes";
    let heads = hashes_to(&stored.document.heads());
    run(connection, sql, (record.as_bytes(), &stored.collection, stored.epoch, heads, bytes)).map(drop)
}

/// Removes the document of a record.
pub(crate) fn remove(connection: &Connection, record: RecordId) -> Result<(), StoreError> {
    run(connection, "DELETE FROM document WHERE record = ?1", [record.as_bytes()]).map(drop)
}

/// Epoch and heads of a record, without reading its document.
pub(crate) fn heads(
    connection: &Connection,
    record: RecordId,
) -> Result<Option<(u32, Vec<ChangeHash>)>, StoreError> {
    let sql = "SELECT epoch, heads FROM document WHERE record = ?1";
    one(connection, sql, [record.as_bytes()], |row| {
        Ok((row.get(0)?, hashes_from(&row.get::<_, Vec<u8>>(1)?)))
    })
}

/// Collections of which there are documents, known or not to the schema of today.
pub(crate) fn collections(connection: &Connection) -> Result<Vec<String>, StoreError> {
    all(connection, "SELECT DISTINCT collection FROM document ORDER BY collection", [], |row| row.get(0))
}

/// Number of records that have a document and no row: of a collection the schema does not have.
pub(crate) fn without_row(connection: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM document
               WHERE NOT EXISTS (SELECT 1 FROM record WHERE record.id = document.record)";
    count(connection, sql, [])
}

/// Every record with a document, ascending.
pub(crate) fn records(connection: &Connection) -> Result<Vec<RecordId>, StoreError> {
    all(connection, "SELECT record FROM document ORDER BY record", [], |row| record_at(row, 0))
}
