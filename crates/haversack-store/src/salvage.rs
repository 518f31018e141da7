//! Bringing what can still be read of a damaged store into a new one beside it: the outbox first, then documents, then what
//! is told of them.
//!
//! Never writes to the damaged store, never opens its files but to copy them, and never lets one damaged record take
//! others along. Rows are made anew when the new store is opened; the read position is dropped, so that the log heals the
//! rest, and nothing is sent before it has. Serves the promise "what lies beside a damaged page is brought home".

mod damaged_copy;
mod examine;
mod log;
mod read;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use haversack_core::outbox::{BaseHeads, Entry, EntryState};
use haversack_protocol::{ChangeHash, RecordId, StoreId};
use rusqlite::Connection;

use crate::connection::Connections;
use crate::files::{DatabaseFile, StoreFiles, unfinished_beside};
use crate::lock::StoreLock;
use crate::open::{keys_of, open_store};
use crate::table::damaged::{self, COPIED};
use crate::table::{document, id_map, meta, outbox};
use crate::{KeyProvider, StoreError};

use damaged_copy::DamagedCopy;
use read::{Authorship, FoundEntry};

pub use examine::{Condition, Examination, examine};
pub use survey::Survey;

/// Documents written in one transaction.
const DOCUMENTS_PER_TRANSACTION: usize = 256;

/// Added to the greatest known generation where a record's own is lost: generations rise by one at a time, and a number
/// of a change must never be used for another.
const LOST_GENERATIONS: u32 = 1 << 16;

/// How many of something could be read and how many could not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Read, and kept.
    pub kept: u64,
    /// Not readable any more, at least: where nothing says how many there were, one stands for them.
    pub lost: u64,
}

impl Tally {
    fn count(&mut self, is_kept: bool) {
        *(if is_kept { &mut self.kept } else { &mut self.lost }) += 1;
    }
}

/// What became of a damaged store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SalvageReport {
    /// The new store.
    pub store_id: StoreId,
    /// Entries of the outbox.
    pub entries: Tally,
    /// Confirmed documents. The log brings lost ones back.
    pub documents: Tally,
    /// Whether the new store still knows whose it is; if not, it is bound anew at the next contact.
    pub is_identity_kept: bool,
    /// Whether server ids, notices, envelopes or quarantined changes may be missing; the log brings back the first.
    pub has_lost_more: bool,
}

/// Writes what can be read of the damaged store in `from` into a new store in `to`, a folder that is not there yet or
/// empty. The damaged store is not touched. An interrupted call leaves nothing under that name and may be repeated.
///
/// # Errors
/// [`StoreError::Corrupt`] when the list of tables cannot be read and nobody noted where they begin, [`StoreError::Io`]
/// when `to` holds something,
/// [`StoreError::AlreadyOpen`], what the key provider answers, or a failure of the disk.
pub fn salvage(from: &Path, to: &Path, keys: &dyn KeyProvider) -> Result<SalvageReport, StoreError> {
    let files = StoreFiles::in_folder(from);
    let _lock = StoreLock::acquire_if_there(&files.lock())?;
    if !matches!(files.look_at_database()?, DatabaseFile::Opaque | DatabaseFile::Foreign) {
        return Err(StoreError::NotAStore);
    }
    let unfinished = unfinished_beside(to)?;
    let candidates = keys_of(&files, keys)?;
    StoreFiles::in_folder(&unfinished).make_folder()?;
    let mut copy = DamagedCopy::make(&files, candidates, &unfinished)?;
    let report = fill(&mut copy, &unfinished, keys)?;
    drop(copy);
    fs::rename(&unfinished, to)?;
    Ok(report)
}

fn fill(copy: &mut DamagedCopy, folder: &Path, keys: &dyn KeyProvider) -> Result<SalvageReport, StoreError> {
    let opened = open_store(folder, keys)?;
    let connections = &opened.connections;
    let identity = read::identity(copy);
    let (found, mut entries) = read::entries(copy);
    let numbers = read::document_numbers(copy);
    let authorship = Authorship::read(copy, &found, entries, identity.is_some());

    // The work first: whatever happens later, it is stored.
    connections.write(|tx| {
        meta::write(tx, meta::HEALING, &true)?;
        if let Some((identity, ordinal)) = &identity {
            read::write_identity(tx, identity, *ordinal)?;
        }
        for found in &found {
            damaged::insert_entry(tx, &found.entry)?;
        }
        Ok(())
    })?;
    entries.kept = found.len() as u64;

    let mut documents = Tally { kept: 0, lost: numbers.lost };
    let mut with_document = BTreeSet::new();
    let numbers: Vec<i64> = numbers.found.into_iter().collect();
    for chunk in numbers.chunks(DOCUMENTS_PER_TRANSACTION) {
        let read: Vec<_> =
            chunk.iter().filter_map(|number| read::document(copy, *number, &mut documents)).collect();
        connections.write(|tx| {
            for (record, stored) in &read {
                document::save(tx, *record, stored, &stored.document.save())?;
            }
            Ok(())
        })?;
        with_document.extend(read.into_iter().map(|(record, _)| record));
    }

    let lanes = authorship.lanes(copy, &found, &with_document);
    connections.write(|tx| {
        for (record, lane) in lanes {
            damaged::insert_lane(tx, record, lane)?;
        }
        found.iter().try_for_each(|found| finish_entry(tx, found, authorship.is_whole))
    })?;
    let has_lost_more = copy_rest(copy, &opened.connections)?;
    let store_id = opened.store_id;
    opened.connections.close()?;
    Ok(SalvageReport { store_id, entries, documents, is_identity_kept: identity.is_some(), has_lost_more })
}

/// Gives an entry back its bytes, and what its author had seen where that is lost: what is confirmed now.
fn finish_entry(tx: &Connection, found: &FoundEntry, is_authorship_whole: bool) -> Result<(), StoreError> {
    let entry = &found.entry;
    if !found.has_base {
        let base = entry.change_set.parts.iter().map(|part| {
            let (epoch, heads) = document::heads(tx, part.record)?.unwrap_or_default();
            Ok(BaseHeads { record: part.record, epoch, heads })
        });
        outbox::set_base(tx, entry.order, &base.collect::<Result<_, StoreError>>()?)?;
    }
    if is_authorship_whole && entry.state == EntryState::Frozen {
        outbox::freeze(tx, entry.order, &entry.frozen)?;
    }
    Ok(())
}

/// Copies what is told of records. True when some of it could not be read.
fn copy_rest(copy: &mut DamagedCopy, connections: &Connections) -> Result<bool, StoreError> {
    let (assignments, mut has_lost) = read::assignments(copy);
    connections.write(|tx| {
        for (record, server_id) in &assignments {
            if id_map::holder(tx, server_id)?.is_none() {
                id_map::insert(tx, *record, server_id)?;
            }
        }
        Ok(())
    })?;
    for table in COPIED {
        let (rows, is_cut) = read::rows(copy, table);
        has_lost |= is_cut;
        connections.write(|tx| rows.iter().try_for_each(|row| damaged::insert_copied(tx, table.0, row)))?;
    }
    Ok(has_lost)
}

/// Lanes by record.
type Lanes = BTreeMap<RecordId, (u32, Option<ChangeHash>)>;

/// Live entries' records, whose lanes matter to what is authored next.
fn live_records(found: &[FoundEntry]) -> BTreeSet<RecordId> {
    let live = found.iter().filter(|found| found.entry.is_live());
    live.flat_map(|found| found.entry.change_set.parts.iter().map(|part| part.record)).collect()
}

/// Says whether an entry is frozen.
fn is_frozen(entry: &Entry) -> bool {
    entry.state == EntryState::Frozen
}
