//! A new epoch of a record: its document is replaced by what the server says it shows, and edits that wait are expressed anew
//! on that.

use std::collections::BTreeSet;

use haversack_core::id_map::Resolve;
use haversack_core::outbox::{Ending, Entry, express_anew, plan_thaw};
use haversack_core::{Planted, Root};
use haversack_protocol::{ChangeHash, EpochCause, EpochRow, RecordId};
use rusqlite::Connection;

use super::apply_page::PageWork;
use super::erase::{drop_entry, tell};
use super::reject::thaw;
use crate::StoreError;
use crate::table::document::StoredDocument;
use crate::table::outbox::{self, LiveOutbox};
use crate::table::{envelope, id_map, lane, meta, quarantine};

/// Applies a row that begins an epoch. One that is known, or was erased since, changes nothing; what no document can be made
/// of is passed over, as any hostile row is.
pub(super) fn begin_epoch(work: &mut PageWork<'_>, row: &EpochRow) -> Result<(), StoreError> {
    let fields: BTreeSet<String> = match &row.cause {
        EpochCause::Erased(fields) => {
            let known: u64 = meta::read(work.connection, meta::ERASED)?.unwrap_or(0);
            meta::write(work.connection, meta::ERASED, &known.max(row.position))?;
            fields.iter().cloned().collect()
        }
        EpochCause::Compacted => BTreeSet::new(),
    };
    let is_news = work.epoch_of(row.record)?.is_none_or(|epoch| epoch < row.epoch);
    if row.root.is_empty() || !is_news || work.passes_over(row.record, None)? {
        return Ok(());
    }
    let planted = Root::from_bytes(&row.root).and_then(|root| {
        let planted = root.plant(row.record, row.epoch)?;
        let bytes = planted.document.save_checked()?;
        Ok((root, planted, bytes))
    });
    let Ok((root, planted, bytes)) = planted else {
        return work.quarantine(row.record, row.position, &row.root);
    };
    let (_, accepted_tip) = lane::load(work.connection, row.record)?;
    let ended = work.end_epoch(row.record)?;
    let before = ended.as_ref().map(|stored| &stored.document);
    let ending = Ending { record: row.record, document: before, accepted_tip };
    express(work, row, &ending, &root, &planted)?;
    let erased = leave_fields_out(work, row, &fields)?;
    if erased > 0 {
        tell(work.connection, row.record, erased, row.position)?;
    }
    forget_history(work.connection, row, ended.map(|stored| stored.document.changes()).unwrap_or_default())?;
    let stored =
        StoredDocument { collection: row.collection.clone(), epoch: row.epoch, document: planted.document };
    work.plant(row.record, stored, &bytes)
}

/// Gives every entry of the record that waits its base in the new epoch. Bytes of the epoch before go.
fn express(
    work: &mut PageWork<'_>,
    row: &EpochRow,
    ending: &Ending<'_>,
    root: &Root,
    planted: &Planted,
) -> Result<(), StoreError> {
    let connection = work.connection;
    let plan = plan_thaw(&[row.record].into(), &mut LiveOutbox(connection))?;
    thaw(connection, &plan)?;
    work.touched.extend(&plan.stale);
    let entries = outbox::all_of(connection, row.record)?;
    let bases = id_map::resolving(connection, |resolve: Resolve<'_>| {
        express_anew(ending, root, planted, row.epoch, &entries, resolve)
    })?;
    for entry in &entries {
        let Some(base) = bases.get(&entry.order) else { continue };
        let anew = |known: &haversack_core::outbox::BaseHeads| {
            if known.record == row.record { base.clone() } else { known.clone() }
        };
        outbox::set_base(connection, entry.order, &entry.base.iter().map(anew).collect())?;
    }
    Ok(())
}

/// Takes what waiting edits say of erased fields out of them, and says how many it was.
fn leave_fields_out(
    work: &mut PageWork<'_>,
    row: &EpochRow,
    fields: &BTreeSet<String>,
) -> Result<u64, StoreError> {
    let mut concerned = 0;
    for entry in outbox::all_of(work.connection, row.record)? {
        concerned += u64::from(leave_out(work, &entry, row.record, fields)?);
    }
    Ok(concerned)
}

fn leave_out(
    work: &mut PageWork<'_>,
    entry: &Entry,
    record: RecordId,
    fields: &BTreeSet<String>,
) -> Result<bool, StoreError> {
    let mut left = entry.change_set.clone();
    for part in left.parts.iter_mut().filter(|part| part.record == record) {
        part.intents.retain(|intent| intent.field().is_none_or(|field| !fields.contains(field)));
    }
    if left == entry.change_set {
        return Ok(false);
    }
    left.parts.retain(|part| part.record != record || part.creates || !part.intents.is_empty());
    work.touched.extend(left.parts.iter().map(|part| part.record));
    if left.parts.is_empty() {
        drop_entry(work.connection, entry)?;
    } else {
        let base = entry.base.iter().filter(|base| left.parts.iter().any(|part| part.record == base.record));
        outbox::reduce(work.connection, entry.order, &left, &base.cloned().collect())?;
    }
    Ok(true)
}

/// Forgets whose the changes of the ended epoch were; after an erasure the pages that held them are to be swept.
fn forget_history(
    connection: &Connection,
    row: &EpochRow,
    changes: Vec<ChangeHash>,
) -> Result<(), StoreError> {
    changes.into_iter().try_for_each(|hash| envelope::remove(connection, hash))?;
    quarantine::remove(connection, row.record)?;
    lane::forget_tip(connection, row.record)?;
    match row.cause {
        EpochCause::Erased(_) => meta::write(connection, meta::UNSWEPT, &true),
        EpochCause::Compacted => Ok(()),
    }
}
