//! What a damaged store still gives, asked for row by row.

use std::collections::{BTreeMap, BTreeSet};

use haversack_core::outbox::Entry;
use haversack_protocol::limits::OUTBOX_ENTRIES_MAX;
use haversack_protocol::{RecordId, ServerId};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::damaged_copy::DamagedCopy;
use super::{LOST_GENERATIONS, Lanes, Tally, is_frozen, live_records};
use crate::StoreError;
use crate::table::damaged::{self, Numbered, Side};
use crate::table::document::StoredDocument;
use crate::table::{lane, meta, outbox};
use crate::unit_of_work::{self, Identity};

/// An entry that was read.
pub(super) struct FoundEntry {
    pub(super) entry: Entry,
    /// What its author had seen was read, too.
    pub(super) has_base: bool,
    /// All its bytes were read, if it is frozen.
    has_bytes: bool,
}

/// Numbers of rows.
#[derive(Default)]
pub(super) struct Numbers {
    pub(super) found: BTreeSet<i64>,
    /// The table stopped before its end, from each side, and no index said what lies between.
    is_cut: bool,
    /// Rows known to be lost before any is read: one, where nobody can say how many.
    pub(super) lost: u64,
}

/// Who the store spoke for, and the number of its last push; `None` unless all of it was read.
pub(super) fn identity(copy: &mut DamagedCopy) -> Option<(Identity, u64)> {
    let read = copy.ask(|connection| {
        let ordinal = meta::read(connection, meta::PUSH_ORDINAL)?;
        Ok((unit_of_work::identity(connection)?, ordinal.unwrap_or(0)))
    });
    read.ok()
}

/// Writes who the store speaks for.
pub(super) fn write_identity(tx: &Connection, identity: &Identity, ordinal: u64) -> Result<(), StoreError> {
    meta::write(tx, meta::INSTALLATION, &identity.installation)?;
    meta::write(tx, meta::ROLE, &identity.role)?;
    meta::write(tx, meta::PUSH_ORDINAL, &ordinal)?;
    if let (Some(device), Some(principal), Some(server)) =
        (identity.device, &identity.principal, &identity.server)
    {
        meta::write(tx, meta::DEVICE, &device)?;
        meta::write(tx, meta::PRINCIPAL, principal)?;
        meta::write(tx, meta::SERVER, server)?;
    }
    Ok(())
}

/// Every entry of the outbox that can be read, in order.
pub(super) fn entries(copy: &mut DamagedCopy) -> (Vec<FoundEntry>, Tally) {
    let mut found = BTreeMap::new();
    let mut tally = Tally::default();
    for table in [Numbered::Outbox, Numbered::Tail] {
        let numbers = numbers(copy, table);
        tally.lost += numbers.lost;
        for order in numbers.found {
            match entry(copy, table, order) {
                Ok(Some(entry)) => drop(found.insert(order, entry)),
                Ok(None) => {}
                Err(_) => tally.count(false),
            }
        }
    }
    tally.kept = found.len() as u64;
    (found.into_values().collect(), tally)
}

fn entry(copy: &mut DamagedCopy, table: Numbered, order: i64) -> Result<Option<FoundEntry>, StoreError> {
    let read = |copy: &mut DamagedCopy, has_base| copy.ask(|c| damaged::entry(c, table, order, has_base));
    let (read, has_base) = match read(copy, true) {
        Ok(whole) => (whole, true),
        Err(_) => (read(copy, false)?, false),
    };
    let Some(mut entry) = read else { return Ok(None) };
    let frozen = if is_frozen(&entry) { copy.ask(|c| outbox::frozen_parts(c, order)) } else { Ok(vec![]) };
    let expected = if is_frozen(&entry) { entry.change_set.parts.len() } else { 0 };
    entry.frozen = frozen.unwrap_or_default();
    let has_bytes = entry.frozen.len() == expected;
    Ok(Some(FoundEntry { entry, has_base, has_bytes }))
}

/// Numbers of the rows that hold documents.
pub(super) fn document_numbers(copy: &mut DamagedCopy) -> Numbers {
    numbers(copy, Numbered::Document)
}

/// The document in a row, if it can be read and loads.
pub(super) fn document(
    copy: &mut DamagedCopy,
    number: i64,
    tally: &mut Tally,
) -> Option<(RecordId, StoredDocument)> {
    match copy.ask(|connection| damaged::document(connection, number)) {
        Ok(found) => {
            if found.is_some() {
                tally.count(true);
            }
            found
        }
        Err(_) => {
            tally.count(false);
            None
        }
    }
}

/// Numbers of a table's rows, from every side. What lies between two ends that stopped is added number by number.
fn numbers(copy: &mut DamagedCopy, table: Numbered) -> Numbers {
    let mut numbers = Numbers::default();
    let mut ends = vec![];
    for side in Side::ALL {
        let mut found = BTreeSet::new();
        let take = |number| {
            found.insert(number);
        };
        let is_whole = copy.ask(|connection| damaged::numbers(connection, table, side, take)).is_ok();
        if is_whole {
            return Numbers { found, is_cut: false, lost: 0 };
        }
        ends.push((found.first().copied(), found.last().copied()));
        numbers.found.extend(found);
    }
    numbers.is_cut = true;
    let from = ends[0].1.unwrap_or(0).saturating_add(1);
    let to = ends[1].0.or(numbers.found.last().copied()).unwrap_or(0);
    let span = to.saturating_sub(from);
    if (1..=OUTBOX_ENTRIES_MAX.cast_signed()).contains(&span) {
        numbers.found.extend(from..to);
    } else if numbers.found.is_empty() {
        // Not even how many there were.
        numbers.lost = 1;
    }
    numbers
}

/// What is known of the device's own changes.
pub(super) struct Authorship {
    lanes: Lanes,
    /// Every lane there was is in the list.
    has_all_lanes: bool,
    /// The device goes on as itself, with every byte it may have sent.
    pub(super) is_whole: bool,
    is_same_device: bool,
}

impl Authorship {
    /// Reads lanes, and whether anything is lost that may have been sent.
    pub(super) fn read(
        copy: &mut DamagedCopy,
        found: &[FoundEntry],
        entries: Tally,
        is_same_device: bool,
    ) -> Self {
        let mut lanes = Lanes::new();
        let mut has_all_lanes = false;
        for side in [Side::Front, Side::Back] {
            has_all_lanes |= copy
                .ask(|connection| {
                    damaged::lanes(connection, side, |(record, lane)| {
                        lanes.insert(record, lane);
                    })
                })
                .is_ok();
        }
        let has_all_entries = entries.lost == 0
            && [Numbered::Outbox, Numbered::Tail].iter().all(|table| !numbers(copy, *table).is_cut);
        let has_all_bytes = found.iter().all(|found| found.has_bytes);
        let is_whole = is_same_device && has_all_lanes && has_all_entries && has_all_bytes;
        Self { lanes, has_all_lanes, is_whole, is_same_device }
    }

    /// Lanes of the new store. Where bytes may have been sent that are lost, a new generation begins; a device that begins
    /// anew has no lanes.
    pub(super) fn lanes(
        &self,
        copy: &mut DamagedCopy,
        found: &[FoundEntry],
        with_document: &BTreeSet<RecordId>,
    ) -> Lanes {
        if !self.is_same_device {
            return Lanes::new();
        }
        let mut lanes = self.lanes.clone();
        let live = live_records(found);
        let beyond = lanes.values().map(|(generation, _)| *generation).max().unwrap_or(0) + LOST_GENERATIONS;
        if !self.has_all_lanes {
            for record in live.union(with_document) {
                if !lanes.contains_key(record) && copy.ask(|c| lane::load(c, *record)).is_err() {
                    lanes.insert(*record, (beyond, None));
                }
            }
        }
        if !self.is_whole {
            for record in live {
                lanes.entry(record).or_default().0 += 1;
            }
        }
        lanes
    }
}

/// Every assignment that can be read, and whether some may be missing.
pub(super) fn assignments(copy: &mut DamagedCopy) -> (BTreeMap<RecordId, ServerId>, bool) {
    let mut found = BTreeMap::new();
    for side in Side::ALL {
        let read = copy.ask(|connection| {
            damaged::assignments(connection, side, |record, server_id| drop(found.insert(record, server_id)))
        });
        if read.is_ok() {
            return (found, false);
        }
    }
    (found, true)
}

/// Rows of a table that is copied as it is, and whether some may be missing.
pub(super) fn rows(copy: &mut DamagedCopy, table: (&str, usize, [&str; 2])) -> (Vec<Vec<Value>>, bool) {
    let mut found = vec![];
    for side in [Side::Front, Side::Back] {
        if copy.ask(|connection| damaged::copied(connection, table, side, |row| found.push(row))).is_ok() {
            return (found, false);
        }
    }
    (found, true)
}
