//! The tail of the outbox: entries as they were written, without indexes, until they are filed in the outbox.
//!
//! An edit then changes two pages, that of its row and that of its entry. Who asks the outbox for entries by record, by
//! change set or by turn files the tail first, in the same transaction; readers, who cannot, take both into account. Ids
//! ascend within the tail, so that no change set is there twice. Orders follow on those of the outbox without gaps, and
//! none is used twice: SQLite remembers the greatest one that was ever filed.

use haversack_core::ChangeSet;
use haversack_core::outbox::BaseHeads;
use haversack_protocol::ChangeSetId;
use rusqlite::Connection;

use super::{all, count, decode, encode, one, outbox, run};
use crate::StoreError;

/// Entries of the tail. Filing holds up one edit for some tens of milliseconds then, and a lease after a long time offline
/// for no longer.
const TAIL_ENTRIES_MAX: i64 = 1_000;

/// Adds a pending entry at the end of the outbox, unless that holds `entries_max` entries or more.
pub(crate) fn append(
    connection: &Connection,
    change_set: &ChangeSet,
    base: &Vec<BaseHeads>,
    priority: u8,
    entries_max: u64,
) -> Result<(), StoreError> {
    let end = look(connection, change_set)?;
    // Counts only when the span of orders leaves it open.
    if end.span >= entries_max && outbox::entries(connection)? + entries(connection)? >= entries_max {
        return Err(StoreError::OutboxFull);
    }
    if !end.has_place {
        file(connection)?;
        return outbox::insert(connection, change_set, base, priority);
    }
    let sql =
        "INSERT INTO outbox_tail (entry_order, change_set_id, priority, body, base) VALUES (1 + coalesce(
                   (SELECT max(entry_order) FROM outbox_tail),
                   (SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0), ?1, ?2, ?3, ?4)";
    run(connection, sql, (change_set.id.as_bytes(), priority, encode(change_set), encode(base))).map(drop)
}

/// What an edit has to know before it is added.
#[derive(Default)]
struct End {
    /// Orders from the first entry of the outbox to the last of the tail.
    span: u64,
    /// The tail is not full, and the change set certainly neither there nor in the outbox.
    has_place: bool,
}

fn look(connection: &Connection, change_set: &ChangeSet) -> Result<End, StoreError> {
    let sql = "
        SELECT 1 + coalesce((SELECT max(entry_order) FROM outbox_tail), (SELECT max(entry_order) FROM outbox))
            - coalesce((SELECT min(entry_order) FROM outbox), (SELECT min(entry_order) FROM outbox_tail)),
        ?1 > coalesce((SELECT change_set_id FROM outbox_tail ORDER BY entry_order DESC LIMIT 1), x'')
        AND coalesce((SELECT max(entry_order) FROM outbox_tail) - (SELECT min(entry_order) FROM outbox_tail), 0)
            < ?2 - 1
        AND NOT EXISTS (SELECT 1 FROM outbox WHERE change_set_id = ?1)";
    let end = one(connection, sql, (change_set.id.as_bytes(), TAIL_ENTRIES_MAX), |row| {
        let span = row.get::<_, Option<i64>>(0)?.unwrap_or(0);
        Ok(End { span: span.cast_unsigned(), has_place: row.get(1)? })
    })?;
    Ok(end.unwrap_or_default())
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

/// Says whether the change set is in the tail.
pub(crate) fn contains(connection: &Connection, id: ChangeSetId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM outbox_tail WHERE change_set_id = ?1";
    Ok(one(connection, sql, [id.as_bytes()], |_| Ok(()))?.is_some())
}

/// Number of entries in the tail.
pub(crate) fn entries(connection: &Connection) -> Result<u64, StoreError> {
    // Orders have no gaps: nothing leaves the tail but all of it.
    let sql =
        "SELECT coalesce(
                   1 + (SELECT max(entry_order) FROM outbox_tail) - (SELECT min(entry_order) FROM outbox_tail), 0)";
    count(connection, sql, [])
}
