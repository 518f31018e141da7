//! The tail of the outbox: entries as they were written, without indexes, until they are filed in the outbox.
//!
//! An edit then changes two pages, that of its row and that of its entry. Who asks the outbox for entries by record, by
//! change set or by turn files the tail first, in the same transaction; readers, who cannot, take both into account. Ids
//! ascend within the tail, so that no change set is there twice. Orders follow on those of the outbox without gaps, and
//! none is used twice: SQLite remembers the greatest one that was ever filed.

use haversack_core::ChangeSet;
use haversack_core::outbox::BaseHeads;
use rusqlite::Connection;

use super::{all, count, decode, encode, one, outbox, run};
use crate::StoreError;

/// Entries of the tail. Filing holds up one edit for some ten milliseconds then, and a lease after a long time offline
/// for no longer.
const TAIL_ENTRIES_MAX: i64 = 1_000;

/// Adds a pending entry at the end of the outbox.
pub(crate) fn append(
    connection: &Connection,
    change_set: &ChangeSet,
    base: &Vec<BaseHeads>,
    priority: u8,
) -> Result<(), StoreError> {
    if !has_place(connection, change_set)? {
        file(connection)?;
        return outbox::insert(connection, change_set, base, priority);
    }
    let sql =
        "INSERT INTO outbox_tail (entry_order, change_set_id, priority, body, base) VALUES (1 + coalesce(
                   (SELECT max(entry_order) FROM outbox_tail),
                   (SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0), ?1, ?2, ?3, ?4)";
    run(connection, sql, (change_set.id.as_bytes(), priority, encode(change_set), encode(base))).map(drop)
}

/// Says whether the tail is not full and the change set certainly new.
fn has_place(connection: &Connection, change_set: &ChangeSet) -> Result<bool, StoreError> {
    let sql = "SELECT ?1 > coalesce((SELECT change_set_id FROM outbox_tail ORDER BY entry_order DESC LIMIT 1), x'')
               AND coalesce((SELECT max(entry_order) FROM outbox_tail) - (SELECT min(entry_order) FROM outbox_tail), 0)
                   < ?2 - 1
               AND NOT EXISTS (SELECT 1 FROM outbox WHERE change_set_id = ?1)";
    let has_place = one(connection, sql, (change_set.id.as_bytes(), TAIL_ENTRIES_MAX), |row| row.get(0))?;
    Ok(has_place.unwrap_or(false))
}

/// Moves the tail into the outbox and its side tables.
pub(crate) fn file(connection: &Connection) -> Result<(), StoreError> {
    let sql = "INSERT INTO outbox (entry_order, change_set_id, priority, state, body, base)
               SELECT entry_order, change_set_id, priority, 'pending', body, base
               FROM outbox_tail ORDER BY entry_order";
    if run(connection, sql, [])? == 0 {
        return Ok(());
    }
    let sql = "SELECT entry_order, body FROM outbox_tail ORDER BY entry_order";
    let entries = all(connection, sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    for (order, body) in entries {
        outbox::insert_sides(connection, order, &decode(&body, "change set")?)?;
    }
    run(connection, "DELETE FROM outbox_tail", []).map(drop)
}

/// Number of entries in the tail.
pub(crate) fn entries(connection: &Connection) -> Result<u64, StoreError> {
    // Orders have no gaps: nothing leaves the tail but all of it.
    let sql =
        "SELECT coalesce(
                   1 + (SELECT max(entry_order) FROM outbox_tail) - (SELECT min(entry_order) FROM outbox_tail), 0)";
    count(connection, sql, [])
}
