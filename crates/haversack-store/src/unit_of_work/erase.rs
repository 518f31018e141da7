//! An erased record leaves the device: everything that is kept of it, in one transaction with the page that says so.
//!
//! What its user had not sent of it goes, too, and is told by a notice without content. Change sets that touch other records
//! go on without it.

use haversack_core::erased_name;
use haversack_core::outbox::Entry;
use haversack_protocol::{ErasedRow, RecordId};
use rusqlite::Connection;

use super::apply_page::PageWork;
use crate::StoreError;
use crate::table::notice::{self, Notice, NoticeKind};
use crate::table::{document, envelope, erased, keeping, lane, meta, outbox, quarantine, restricted};

/// Applies an erasure. One of a record that was never here is remembered all the same.
pub(super) fn erase(work: &mut PageWork<'_>, row: &ErasedRow) -> Result<(), StoreError> {
    let connection = work.connection;
    erased::insert(connection, row.record, row.position)?;
    let known: u64 = meta::read(connection, meta::ERASED)?.unwrap_or(0);
    meta::write(connection, meta::ERASED, &known.max(row.position))?;
    let held = work.held_records();
    let kept = erased::kept(connection)?.into_iter().chain(held);
    for record in kept.filter(|record| erased_name(*record) == row.record).collect::<Vec<_>>() {
        erase_record(work, record, row.position)?;
    }
    Ok(())
}

fn erase_record(work: &mut PageWork<'_>, record: RecordId, position: u64) -> Result<(), StoreError> {
    let connection = work.connection;
    for hash in work.forget(record)? {
        envelope::remove(connection, hash)?;
    }
    document::remove(connection, record)?;
    lane::remove(connection, record)?;
    quarantine::remove(connection, record)?;
    restricted::remove(connection, record)?;
    keeping::remove(connection, record)?;
    notice::remove_of(connection, record)?;
    let entries = outbox::all_of(connection, record)?;
    for entry in &entries {
        leave_out(work, entry, record)?;
    }
    work.touched.insert(record);
    meta::write(connection, meta::UNSWEPT, &true)?;
    match entries.len() as u64 {
        0 => Ok(()),
        entries => tell(connection, record, entries, position),
    }
}

/// Says how many change sets of this device went, or reach less far than they did.
pub(super) fn tell(
    connection: &Connection,
    record: RecordId,
    entries: u64,
    position: u64,
) -> Result<(), StoreError> {
    let told = Notice {
        id: 0,
        kind: NoticeKind::Erased,
        record: Some(record),
        change_set: None,
        cause: None,
        entries,
        position: Some(position),
    };
    notice::insert(connection, &told)
}

/// Takes an erased record out of an entry. One that is about nothing else goes as though it had arrived.
fn leave_out(work: &mut PageWork<'_>, entry: &Entry, record: RecordId) -> Result<(), StoreError> {
    let mut left = entry.change_set.clone();
    left.parts.retain(|part| part.record != record);
    if left.parts.is_empty() {
        return drop_entry(work.connection, entry);
    }
    work.touched.extend(left.parts.iter().map(|part| part.record));
    let base = entry.base.iter().filter(|base| base.record != record).cloned().collect();
    outbox::reduce(work.connection, entry.order, &left, &base)
}

/// Removes an entry for good. What was declared after it waits for it no longer.
pub(super) fn drop_entry(connection: &Connection, entry: &Entry) -> Result<(), StoreError> {
    let id = entry.change_set.id;
    notice::remove_about(connection, id)?;
    outbox::remove(connection, entry.order)?;
    for waiting in outbox::declared_after(connection, id)? {
        let mut freed = waiting.change_set;
        freed.after.retain(|after| *after != id);
        outbox::reduce(connection, waiting.order, &freed, &waiting.base)?;
    }
    Ok(())
}
