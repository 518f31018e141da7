//! What pending edits cost: shown over a row, authored, and taken back.

use std::io;

use haversack::{ChangeSetId, RecordId, Row};
use haversack_core::overlay;
use haversack_protocol::limits::CHANGE_SETS_PER_PUSH_MAX;
use haversack_protocol::{Code, Cursor, LogRow, PageBody, RejectedRow, Rejection, RowOrigin, UnixMillis};

use crate::measure::{median, micros, millis, on_this_thread};
use crate::report::Report;
use crate::workload::{Workload, one_field_edit};
use crate::world::{Outcome, Phone, World};

const ROUNDS: usize = 15;
const PENDING: usize = 50;
const OVERLAYS: usize = 2_000;
const OVERLAY_GOAL_US: f64 = 7.0;
const FREEZE_GOAL_US: f64 = 50.0;
const ROLLBACK_GOAL_MS: f64 = 1.0;

pub(crate) fn measure(report: &mut Report) -> Outcome<()> {
    let world = World::start()?;
    let phone = world.phone("phone")?;
    world.exchange(&phone)?;
    show(report)?;
    let records = lease_creates(report, &phone)?;
    world.exchange(&phone)?;
    lease_edits(report, &phone, &records)?;
    world.exchange(&phone)?;
    take_back(report, &phone, records[0])?;
    world.shutdown()
}

/// Fifty pending edits laid over a row that is at hand.
fn show(report: &mut Report) -> Outcome<()> {
    let creation = Workload::new().creation();
    let record = creation.parts[0].record;
    let mut row = Row::default();
    overlay(&mut row, &creation.parts[0]);
    let edits: Vec<_> = (0..PENDING).map(|round| one_field_edit(record, round)).collect();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let work = || {
            for _ in 0..OVERLAYS {
                edits.iter().for_each(|edit| overlay(&mut row, &edit.parts[0]));
            }
            Ok(())
        };
        times.push(micros(on_this_thread(work)?.1.per(OVERLAYS).cpu));
    }
    report.hold(format!("overlay of {PENDING} pending edits: CPU"), median(times), "us", OVERLAY_GOAL_US);
    Ok(())
}

/// One batch of creations, from the outbox to bytes that are stored and can be sent.
fn lease_creates(report: &mut Report, phone: &Phone) -> Outcome<Vec<RecordId>> {
    let store = phone.store(&[])?;
    let mut workload = Workload::new();
    let mut records = Vec::new();
    for _ in 0..CHANGE_SETS_PER_PUSH_MAX {
        let creation = workload.creation();
        records.push(creation.parts[0].record);
        store.local_write(creation)?;
    }
    lease(report, "create", &store)?;
    store.close()?;
    Ok(records)
}

fn lease_edits(report: &mut Report, phone: &Phone, records: &[RecordId]) -> Outcome<()> {
    let store = phone.store(&[])?;
    for record in records {
        store.local_write(one_field_edit(*record, 0))?;
    }
    lease(report, "one-field edit", &store)?;
    Ok(store.close()?)
}

fn lease(report: &mut Report, what: &str, store: &haversack::Store) -> Outcome<()> {
    let work = || store.lease_batch(CHANGE_SETS_PER_PUSH_MAX, None).map_err(io::Error::other);
    let (leased, taken) = on_this_thread(work)?;
    let each = micros(taken.per(leased.push.len()).cpu);
    report.hold(
        format!("lease of {} {what}s, authored and stored: CPU each", leased.push.len()),
        each,
        "us",
        FREEZE_GOAL_US,
    );
    Ok(())
}

/// The refusal of one of fifty pending edits of a record: the others stand, the row is made anew.
fn take_back(report: &mut Report, phone: &Phone, record: RecordId) -> Outcome<()> {
    let store = phone.store(&[])?;
    let device = store.identity()?.device.ok_or("a device that was registered")?;
    let mut pending: Vec<ChangeSetId> = Vec::new();
    let add = |round: usize, pending: &mut Vec<ChangeSetId>| -> Outcome<()> {
        let edit = one_field_edit(record, round);
        pending.push(edit.id);
        store.local_write(edit)?;
        Ok(())
    };
    (0..PENDING).try_for_each(|round| add(round, &mut pending))?;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        store.lease_batch(CHANGE_SETS_PER_PUSH_MAX, None)?;
        let refused = pending.remove(0);
        let position = 1_000_000 + round as u64;
        let origin = RowOrigin { position, change_set: refused, device, at: UnixMillis(0), skew_ms: 0 };
        let row = LogRow::Rejected(RejectedRow { origin, rejection: Rejection::of(Code::Rule) });
        let cursor_after = Cursor::new(position.to_be_bytes().to_vec()).ok_or("a short cursor")?;
        let page = PageBody { rows: vec![row], cursor_after };
        let work = || store.apply_page(&page).map_err(io::Error::other);
        times.push(millis(on_this_thread(work)?.1.cpu));
        add(PENDING + round, &mut pending)?;
    }
    report.hold(
        format!("rollback of one of {PENDING} pending edits: CPU"),
        median(times),
        "ms",
        ROLLBACK_GOAL_MS,
    );
    Ok(store.close()?)
}
