//! The tables: one file per table with all its SQL. Nothing is decided here.

pub(crate) mod damaged;
pub(crate) mod document;
pub(crate) mod envelope;
pub(crate) mod erased;
pub(crate) mod id_map;
pub(crate) mod keeping;
pub(crate) mod lane;
pub(crate) mod meta;
pub(crate) mod notice;
pub(crate) mod outbox;
pub(crate) mod quarantine;
pub(crate) mod record;
pub(crate) mod restricted;
pub(crate) mod survey;
pub(crate) mod tail;

use haversack_protocol::{ChangeHash, ChangeSetId, RecordId};
use rusqlite::{Connection, Params, Row, Statement};

use crate::StoreError;

fn record_at(row: &Row<'_>, column: usize) -> rusqlite::Result<RecordId> {
    row.get(column).map(RecordId::from_bytes)
}

fn change_set_at(row: &Row<'_>, column: usize) -> rusqlite::Result<ChangeSetId> {
    row.get(column).map(ChangeSetId::from_bytes)
}

/// Reads hashes laid end to end.
fn hashes_from(bytes: &[u8]) -> Vec<ChangeHash> {
    let (hashes, _) = bytes.as_chunks();
    hashes.iter().copied().map(ChangeHash::from_bytes).collect()
}

fn hashes_to(hashes: &[ChangeHash]) -> Vec<u8> {
    hashes.iter().flat_map(ChangeHash::as_bytes).copied().collect()
}

/// Runs a cached query and collects what `read` makes of each of its rows.
fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, read)?.collect::<Result<_, _>>();
    count_steps(&statement);
    Ok(rows?)
}

/// Runs a cached query for at most one row.
fn one<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreError> {
    use rusqlite::OptionalExtension;
    let mut statement = connection.prepare_cached(sql)?;
    let row = statement.query_row(params, read).optional();
    count_steps(&statement);
    Ok(row?)
}

/// Runs a cached statement.
fn run(connection: &Connection, sql: &str, params: impl Params) -> Result<usize, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let changed = statement.execute(params);
    count_steps(&statement);
    Ok(changed?)
}

/// A count as SQLite gives it.
fn count(connection: &Connection, sql: &str, params: impl Params) -> Result<u64, StoreError> {
    let count: Option<i64> = one(connection, sql, params, |row| row.get(0))?;
    Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}

fn encode<T: minicbor::Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("writing to a vector cannot fail")
}

fn decode<T: for<'b> minicbor::Decode<'b, ()>>(bytes: &[u8], what: &'static str) -> Result<T, StoreError> {
    minicbor::decode(bytes).map_err(|_| StoreError::Unreadable(what))
}

#[cfg(not(test))]
fn count_steps(_: &Statement<'_>) {}

/// Adds what SQLite's machine did for a statement to the steps of this thread.
#[cfg(test)]
fn count_steps(statement: &Statement<'_>) {
    let steps = statement.reset_status(rusqlite::StatementStatus::VmStep);
    STEPS.with(|sum| sum.set(sum.get() + i64::from(steps)));
}

#[cfg(test)]
thread_local! {
    /// Steps of SQLite's machine, summed over the statements this thread ran.
    pub(crate) static STEPS: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}
