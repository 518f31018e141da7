//! Rollback: the refused change set leaves the rows, with everything that needs it; its input stays in the outbox.

use std::collections::BTreeSet;

use haversack_core::outbox::{EntryState, Rollback, plan_rollback};
use haversack_protocol::{Code, RecordId, Rejection};
use rusqlite::Connection;

use crate::StoreError;
use crate::table::lane;
use crate::table::notice::{self, Notice, NoticeKind};
use crate::table::outbox::{self, LiveOutbox};

/// What a rollback did.
#[derive(Debug, Default)]
pub(crate) struct RolledBack {
    /// Entries that fell.
    pub(crate) rejected: usize,
    /// Records whose rows are to be made anew.
    pub(crate) stale: BTreeSet<RecordId>,
}

/// Rolls an entry back. Nothing happens when it fell before.
pub(crate) fn roll_back(
    connection: &Connection,
    order: i64,
    rejection: &Rejection,
    position: Option<u64>,
) -> Result<RolledBack, StoreError> {
    let entry = outbox::load(connection, order)?;
    if entry.state.set_aside().is_some() {
        return Ok(RolledBack::default());
    }
    let mut view = LiveOutbox(connection);
    let refused = view.shape(order)?;
    let plan = plan_rollback(refused, &mut view)?;
    let root = rejection.root_cause.unwrap_or(entry.change_set.id);
    let dependant = Rejection { root_cause: Some(root), ..Rejection::of(Code::DependencyRejected) };
    for fallen in &plan.rejected {
        let reason = if *fallen == order { rejection } else { &dependant };
        outbox::set_aside(connection, *fallen, &EntryState::after(reason.clone(), rejection.code))?;
    }
    thaw(connection, &plan)?;
    let is_parked = rejection.code == Code::Withdrawn;
    let told = Notice {
        id: 0,
        kind: if is_parked { NoticeKind::Parked } else { NoticeKind::Rejected },
        record: entry.change_set.parts.first().map(|part| part.record),
        change_set: Some(root),
        cause: entry.last_error.filter(|_| is_parked).or(Some(rejection.code.as_str().to_owned())),
        entries: plan.rejected.len() as u64,
        position,
    };
    notice::insert(connection, &told)?;
    Ok(RolledBack { rejected: plan.rejected.len(), stale: plan.stale })
}

/// Drops the bytes a plan names and raises the generations of their records.
pub(crate) fn thaw(connection: &Connection, plan: &Rollback) -> Result<(), StoreError> {
    plan.thawed.iter().try_for_each(|order| outbox::thaw(connection, *order))?;
    plan.regenerated.iter().try_for_each(|record| lane::raise(connection, *record))
}
