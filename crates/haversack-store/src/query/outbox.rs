//! The outbox as people see it, and counts for status displays.

use std::collections::{BTreeMap, BTreeSet};

use haversack_core::outbox::{Entry, EntryState};
use haversack_core::{ChangeSet, Reference};
use haversack_protocol::{ChangeSetId, RecordId, UnixMillis};
use rusqlite::Connection;

use crate::StoreError;
use crate::table::{notice, outbox, tail};

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
    let mut earlier = Earlier::default();
    let listed = outbox::list(connection)?.into_iter().map(|entry| {
        let waits_for = if entry.is_live() { earlier.waits_for(&entry) } else { vec![] };
        listed(entry, waits_for)
    });
    Ok(listed.collect())
}

/// Lists the rejected and parked entries in order.
pub(crate) fn set_aside(connection: &Connection) -> Result<Vec<OutboxEntry>, StoreError> {
    let entries = outbox::all_set_aside(connection)?;
    Ok(entries.into_iter().map(|entry| listed(entry, vec![])).collect())
}

/// Lists an entry that was set aside, and behind it those that are parked for its sake in order.
pub(crate) fn set_aside_with(
    connection: &Connection,
    id: ChangeSetId,
) -> Result<Vec<OutboxEntry>, StoreError> {
    let entry = match outbox::find(connection, id)? {
        Some(entry) if !entry.is_live() => entry,
        None if !tail::contains(connection, id)? => return Err(StoreError::UnknownChangeSet(id)),
        _ => return Err(StoreError::NotSetAside(id)),
    };
    let all = std::iter::once(entry).chain(outbox::parked_for(connection, id)?);
    Ok(all.map(|entry| listed(entry, vec![])).collect())
}

fn listed(entry: Entry, waits_for: Vec<ChangeSetId>) -> OutboxEntry {
    OutboxEntry {
        waits_for,
        order: entry.order,
        change_set: entry.change_set,
        state: entry.state,
        attempts: entry.attempts,
        last_error: entry.last_error,
        next_try: entry.next_try,
    }
}

/// Live entries before the one looked at, by what a later one may need of them. Says the same as [`outbox::needs`],
/// also of the tail.
#[derive(Default)]
struct Earlier {
    latest: BTreeMap<RecordId, (i64, ChangeSetId)>,
    creators: BTreeMap<RecordId, Vec<(i64, ChangeSetId)>>,
    orders: BTreeMap<ChangeSetId, i64>,
}

impl Earlier {
    /// What the entry waits for; it counts as an earlier one afterwards.
    fn waits_for(&mut self, entry: &Entry) -> Vec<ChangeSetId> {
        let change_set = &entry.change_set;
        let mut needs = BTreeSet::new();
        for (_, _, reference) in change_set.references() {
            if let Reference::Record(target) = reference {
                needs.extend(self.creators.get(target).into_iter().flatten());
            }
        }
        needs.extend(change_set.after.iter().filter_map(|id| Some((*self.orders.get(id)?, *id))));
        for part in &change_set.parts {
            let place = (entry.order, change_set.id);
            needs.extend(self.latest.insert(part.record, place));
            if part.creates {
                self.creators.entry(part.record).or_default().push(place);
            }
        }
        self.orders.insert(change_set.id, entry.order);
        needs.into_iter().map(|(_, id)| id).collect()
    }
}

/// Counts records, entries and notices.
pub(crate) fn counts(connection: &Connection) -> Result<Counts, StoreError> {
    let count = |sql: &str| -> Result<u64, StoreError> {
        let count: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(count.cast_unsigned())
    };
    Ok(Counts {
        records: count("SELECT count(*) FROM record")?,
        pending: outbox::count_in(connection, "pending")? + tail::entries(connection)?,
        sending: outbox::count_in(connection, "frozen")?,
        rejected: outbox::count_in(connection, "rejected")?,
        parked: outbox::count_in(connection, "parked")?,
        notices: notice::open_count(connection)?,
        conflicts: count("SELECT count(*) FROM record WHERE has_conflict = 1")?,
    })
}
