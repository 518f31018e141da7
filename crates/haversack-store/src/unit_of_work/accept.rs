//! An accepted row of the log: its changes, its ids, and the end of our entry if it is ours.

use std::collections::{BTreeMap, BTreeSet};

use haversack_core::id_map::{check_assignment, rewrite_row};
use haversack_core::inspect;
use haversack_core::outbox::{Entry, plan_thaw};
use haversack_protocol::{AcceptedRow, Assignment, ChangeHash, LogPart, PartChange, RecordId, ServerChange};

use super::apply_page::{PageWork, Stop};
use super::reject::thaw;
use crate::StoreError;
use crate::table::notice::{self, Notice, NoticeKind};
use crate::table::outbox::{self, LiveOutbox};
use crate::table::{envelope, id_map, lane, record};

/// Applies an accepted row. What the server authored goes first where it stands on what is here already, for parts may
/// stand on it: the zeros of counters.
pub(super) fn accept(work: &mut PageWork<'_>, row: &AcceptedRow) -> Result<(), Stop> {
    let mut behind = Vec::new();
    for change in &row.server_changes {
        if stands(work, change)? {
            add_server_change(work, row, change)?;
        } else {
            behind.push(change);
        }
    }
    let mut hashes = BTreeMap::new();
    for part in &row.parts {
        let hash = accept_part(work, row, part)?;
        hashes.insert(part.record, hash);
    }
    for change in behind {
        add_server_change(work, row, change)?;
    }
    for assignment in &row.assignments {
        assign(work, assignment)?;
    }
    if let Some(entry) = outbox::find(work.connection, row.origin.change_set)? {
        settle(work, row, &entry, &hashes)?;
    }
    Ok(())
}

/// Says whether all a server's change stands on is here.
fn stands(work: &mut PageWork<'_>, change: &ServerChange) -> Result<bool, StoreError> {
    let Ok(header) = inspect(&change.change) else { return Ok(false) };
    for dep in &header.deps {
        if !work.contains(change.record, dep)? {
            return Ok(false);
        }
    }
    Ok(!header.deps.is_empty())
}

fn add_server_change(
    work: &mut PageWork<'_>,
    row: &AcceptedRow,
    change: &ServerChange,
) -> Result<(), StoreError> {
    let place = (change.record, None, change.epoch);
    work.add(place, None, row.origin.position, &change.change).map(drop)
}

/// Applies one part and returns the hash of its change.
fn accept_part(
    work: &mut PageWork<'_>,
    row: &AcceptedRow,
    part: &LogPart,
) -> Result<Option<ChangeHash>, Stop> {
    let (hash, change) = match &part.change {
        PartChange::Empty | PartChange::Erased => return Ok(None),
        PartChange::Full(bytes) => (inspect(bytes).ok().map(|header| header.hash), bytes.clone()),
        PartChange::Own(hash) => {
            if work.contains(part.record, hash)? {
                return Ok(Some(*hash));
            }
            if work.passes_over(part.record, Some(row.origin.position))? {
                return Ok(None);
            }
            let bytes = outbox::frozen_by_hash(work.connection, *hash)?;
            (Some(*hash), bytes.ok_or(Stop::NeedsFullEcho)?)
        }
    };
    let place = (part.record, part.collection.as_deref(), part.epoch);
    let added = work.add(place, Some(row.origin.device), row.origin.position, &change)?;
    if let Some(hash) = added {
        work.note_edit(part.record, &row.origin)?;
        envelope::insert(work.connection, hash, &row.origin)?;
        if work.device == Some(row.origin.device) {
            lane::accept(work.connection, part.record, hash)?;
        }
    }
    Ok(hash)
}

/// Records a server id, and rewrites every reference by record id outside documents.
fn assign(work: &mut PageWork<'_>, assignment: &Assignment) -> Result<(), Stop> {
    let Assignment { record, server_id } = assignment;
    let connection = work.connection;
    let known = id_map::server_id(connection, *record)?;
    let holder = id_map::holder(connection, server_id)?;
    let is_new =
        check_assignment(*record, server_id, known.as_ref(), holder).map_err(StoreError::Assignment)?;
    if !is_new {
        return Ok(());
    }
    id_map::insert(connection, *record, server_id)?;
    work.touched.insert(*record);
    work.assigned.insert(*record);
    for shower in record::showing(connection, *record)? {
        if let Some(mut found) = record::load(connection, work.schema, shower)? {
            id_map::resolving(connection, |resolve| rewrite_row(&mut found.row, resolve))?;
            record::save(connection, work.schema, shower, &found, false)?;
            work.touched.insert(shower);
        }
    }
    for order in outbox::rewritable(connection, *record)? {
        outbox::rewrite(connection, order)?;
    }
    Ok(())
}

/// Removes our entry. Where the server has other bytes than ours, what was chained on ours is authored anew.
fn settle(
    work: &mut PageWork<'_>,
    row: &AcceptedRow,
    entry: &Entry,
    hashes: &BTreeMap<RecordId, Option<ChangeHash>>,
) -> Result<(), StoreError> {
    let connection = work.connection;
    let own: BTreeMap<_, _> = outbox::frozen_parts(connection, entry.order)?
        .into_iter()
        .map(|part| (part.record, part.hash))
        .collect();
    let records = entry.change_set.parts.iter().map(|part| part.record);
    let differing: BTreeSet<_> = records
        .clone()
        .filter(|record| own.get(record).copied().flatten() != hashes.get(record).copied().flatten())
        .collect();
    work.touched.extend(records);
    work.accepted += 1;
    outbox::remove(connection, entry.order)?;
    // Also when another device of ours pushed it: the author's next edit stands on it.
    for (record, hash) in hashes {
        if let Some(hash) = hash
            && work.contains(*record, hash)?
        {
            lane::accept(connection, *record, *hash)?;
        }
    }
    if !differing.is_empty() {
        let plan = plan_thaw(&differing, &mut LiveOutbox(connection))?;
        thaw(connection, &plan)?;
        work.touched.extend(&plan.stale);
    }
    let shadowed: BTreeSet<_> = row.shadowed.iter().map(|(record, _)| *record).collect();
    for record in shadowed {
        let told = Notice {
            id: 0,
            kind: NoticeKind::Shadowed,
            record: Some(record),
            change_set: Some(entry.change_set.id),
            cause: None,
            entries: 1,
            position: Some(row.origin.position),
        };
        notice::insert(connection, &told)?;
    }
    Ok(())
}
