//! The outbox as people see it, and counts for status displays.

use haversack_core::ChangeSet;
use haversack_core::outbox::EntryState;
use haversack_protocol::{ChangeSetId, UnixMillis};
use rusqlite::Connection;

use crate::StoreError;
use crate::table::{notice, outbox};

/// An entry of the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxEntry {
    /// Place in the outbox; never reused.
    pub order: i64,
    /// What the user did.
    pub change_set: ChangeSet,
    /// Where it stands.
    pub state: EntryState,
    /// Requests it was part of that brought no verdict.
    pub attempts: u32,
    /// Code or transport word of the last one.
    pub last_error: Option<String>,
    /// Earliest next try, when it waits for one.
    pub next_try: Option<UnixMillis>,
    /// Change sets it must not overtake.
    pub waits_for: Vec<ChangeSetId>,
}

/// Counts for status displays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records with a row, deleted ones included.
    pub records: u64,
    /// Change sets that wait to be sent.
    pub pending: u64,
    /// Change sets that may have reached the server.
    pub sending: u64,
    /// Change sets that were refused and wait for their user.
    pub rejected: u64,
    /// Change sets that were taken back after repeated failure and wait for their user.
    pub parked: u64,
    /// Notices nobody acknowledged yet.
    pub notices: u64,
    /// Records with concurrent values.
    pub conflicts: u64,
}

/// Lists the outbox in order.
pub(crate) fn entries(connection: &Connection) -> Result<Vec<OutboxEntry>, StoreError> {
    let of_table = outbox::list(connection)?.into_iter();
    of_table
        .map(|entry| {
            let needs = match entry.state {
                EntryState::Rejected(_) | EntryState::Parked(_) => vec![],
                _ => outbox::needs(connection, entry.order)?,
            };
            let waits_for = needs.into_iter().map(|order| outbox::id_of(connection, order));
            Ok(OutboxEntry {
                order: entry.order,
                change_set: entry.change_set,
                state: entry.state,
                attempts: entry.attempts,
                last_error: entry.last_error,
                next_try: entry.next_try,
                waits_for: waits_for.collect::<Result<_, _>>()?,
            })
        })
        .collect()
}

/// Counts records, entries and notices.
pub(crate) fn counts(connection: &Connection) -> Result<Counts, StoreError> {
    let count = |sql: &str| -> Result<u64, StoreError> {
        let count: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(count.cast_unsigned())
    };
    Ok(Counts {
        records: count("SELECT count(*) FROM record")?,
        pending: outbox::count_in(connection, "pending")?,
        sending: outbox::count_in(connection, "frozen")?,
        rejected: outbox::count_in(connection, "rejected")?,
        parked: outbox::count_in(connection, "parked")?,
        notices: notice::open_count(connection)?,
        conflicts: count("SELECT count(*) FROM record WHERE has_conflict = 1")?,
    })
}
