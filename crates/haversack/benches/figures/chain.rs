//! What thousands of pending edits of one record cost: made, taken back in the middle, sent.

use std::io;

use haversack::{ChangeSetId, RecordId, Store};
use haversack_protocol::{Code, Cursor, LogRow, PageBody, RejectedRow, Rejection, RowOrigin, UnixMillis};

use crate::measure::{micros, millis, on_this_thread};
use crate::report::Report;
use crate::workload::{Workload, one_field_edit};
use crate::world::{Outcome, Phone, World};

/// Edits made between two looks at what one costs.
const STRETCH: usize = 1_000;
/// The refusal of one in the middle, at most.
const ROLLBACK_GOAL_MS: f64 = 2_000.0;
const SMALLEST: usize = 3 * STRETCH;

/// Makes `count` edits of one record without a connection, takes one of them back, and sends the rest.
pub(crate) fn measure(report: &mut Report, count: usize) -> Outcome<()> {
    let count = count.max(SMALLEST);
    let world = World::start()?;
    let phone = world.phone("phone")?;
    world.exchange(&phone)?;
    let creation = Workload::new().creation();
    let record = creation.parts[0].record;
    phone.write(creation)?;
    world.exchange(&phone)?;
    let refused = make(report, &phone, record, count)?;
    take_back(report, &phone, refused, count)?;
    let drained = world.exchange(&phone)?;
    let what = format!("drain of {} pending edits of one record", count - 1);
    report.note(format!("{what}: CPU of the phone"), millis(drained.phone_cpu), "ms");
    report.note(format!("{what}: CPU of the server"), millis(drained.server_cpu), "ms");
    report.note(format!("{what}: wall"), millis(drained.wall), "ms");
    report.note(format!("{what}: round trips"), drained.traffic.requests as f64, "");
    world.shutdown()
}

/// Makes the edits; returns the one in the middle.
fn make(report: &mut Report, phone: &Phone, record: RecordId, count: usize) -> Outcome<ChangeSetId> {
    let store = phone.store(&[])?;
    let first = stretch(&store, record, 0)?;
    let mut made = STRETCH;
    let mut middle = None;
    while made + STRETCH < count {
        let edit = one_field_edit(record, made);
        if made == (count / 2).max(STRETCH) {
            middle = Some(edit.id);
        }
        store.local_write(edit)?;
        made += 1;
    }
    let last = stretch(&store, record, made)?;
    store.close()?;
    report.note(format!("edit of a record, the first {STRETCH} of {count}: CPU"), first, "us");
    report.note(format!("edit of a record, the last {STRETCH} of {count}: CPU"), last, "us");
    Ok(middle.ok_or("an edit in the middle")?)
}

fn stretch(store: &Store, record: RecordId, from: usize) -> Outcome<f64> {
    let work = || {
        for round in from..from + STRETCH {
            store.local_write(one_field_edit(record, round)).map_err(io::Error::other)?;
        }
        Ok(())
    };
    Ok(micros(on_this_thread(work)?.1.per(STRETCH).cpu))
}

/// The refusal of one edit with all the others waiting, some of them leased.
fn take_back(report: &mut Report, phone: &Phone, refused: ChangeSetId, count: usize) -> Outcome<()> {
    let store = phone.store(&[])?;
    let device = store.identity()?.device.ok_or("a device that was registered")?;
    let cursor_after: Cursor = store.cursor()?.ok_or("a device that has read")?;
    let origin =
        RowOrigin { position: u64::MAX >> 2, change_set: refused, device, at: UnixMillis(0), skew_ms: 0 };
    let row = LogRow::Rejected(RejectedRow { origin, rejection: Rejection::of(Code::Rule) });
    let page = PageBody { rows: vec![row], cursor_after };
    let work = || store.apply_page(&page).map_err(io::Error::other);
    let taken = millis(on_this_thread(work)?.1.cpu);
    report.hold(
        format!("rollback of one of {count} pending edits of one record: CPU"),
        taken,
        "ms",
        ROLLBACK_GOAL_MS,
    );
    store.discard(refused)?;
    Ok(store.close()?)
}
