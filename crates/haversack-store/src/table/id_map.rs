//! Record ids and server ids.

use std::cell::RefCell;
use std::collections::BTreeMap;

use haversack_core::id_map::Resolve;
use haversack_protocol::{RecordId, ServerId};
use rusqlite::Connection;

use super::{one, record_at, run};
use crate::StoreError;

/// The server id of a record.
pub(crate) fn server_id(connection: &Connection, record: RecordId) -> Result<Option<ServerId>, StoreError> {
    let sql = "SELECT server_id FROM id_map WHERE record = ?1";
    let text: Option<String> = one(connection, sql, [record.as_bytes()], |row| row.get(0))?;
    text.map(ServerId::new).transpose().map_err(|_| StoreError::Unreadable("server id"))
}

/// The record a server id names.
pub(crate) fn holder(connection: &Connection, server_id: &ServerId) -> Result<Option<RecordId>, StoreError> {
    let sql = "SELECT record FROM id_map WHERE server_id = ?1";
    one(connection, sql, [server_id.as_str()], |row| record_at(row, 0))
}

/// Every assignment, by record.
pub(crate) fn all(connection: &Connection) -> Result<BTreeMap<RecordId, ServerId>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT record, server_id FROM id_map ORDER BY record")?;
    let rows = statement.query_map([], |row| Ok((record_at(row, 0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| {
        let (record, text) = row?;
        Ok((record, ServerId::new(text).map_err(|_| StoreError::Unreadable("server id"))?))
    })
    .collect()
}

/// Adds an assignment that was checked to be new.
pub(crate) fn insert(
    connection: &Connection,
    record: RecordId,
    server_id: &ServerId,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO id_map (record, server_id) VALUES (?1, ?2)";
    run(connection, sql, (record.as_bytes(), server_id.as_str()))?;
    let sql = "UPDATE record SET server_id = ?2 WHERE id = ?1";
    run(connection, sql, (record.as_bytes(), server_id.as_str())).map(drop)
}

/// Runs work that asks for server ids, and fails if one of its questions did.
pub(crate) fn resolving<T>(
    connection: &Connection,
    work: impl FnOnce(Resolve<'_>) -> T,
) -> Result<T, StoreError> {
    let failure = RefCell::new(None);
    let answer = work(&|record| {
        server_id(connection, record).unwrap_or_else(|error| {
            failure.replace(Some(error));
            None
        })
    });
    failure.into_inner().map_or(Ok(answer), Err)
}
