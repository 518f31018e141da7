//! What the bytes of a batch are made of, and what other layouts of the same batch would take.

use haversack_protocol::limits::CHANGE_SETS_PER_PUSH_MAX;
use haversack_protocol::{PushedChangeSet, PushedPart};

use crate::report::Report;
use crate::world::{Outcome, Phone};

/// Level at which frames are compressed, and one that takes its time.
const LEVEL: i32 = 3;
const LEVEL_SLOW: i32 = 19;
/// Magic bytes and checksum at the start of every change; the checksum follows from what comes after it.
const CHANGE_HEAD_BYTES: usize = 8;

/// Leases one batch and compresses it in several ways. Leasing again gives the same bytes, so nothing is lost by it.
pub(crate) fn measure(report: &mut Report, what: &str, phone: &Phone) -> Outcome<()> {
    let store = phone.store(&[])?;
    let batch = store.lease_batch(CHANGE_SETS_PER_PUSH_MAX, None)?.push;
    store.close()?;
    let each = |bytes: &[u8], level: i32| -> Outcome<f64> {
        Ok(zstd::bulk::compress(bytes, level)?.len() as f64 / batch.len() as f64)
    };
    let sent = minicbor::to_vec(&batch)?;
    let columns = columns(&batch);
    let mut note = |name: &str, value: f64| {
        report.note(format!("batch of {what}s: {name}"), value, "B/record");
    };
    note("as sent, before compression", sent.len() as f64 / batch.len() as f64);
    note("as sent", each(&sent, LEVEL)?);
    note("as sent, level 19", each(&sent, LEVEL_SLOW)?);
    note("in columns", each(&columns.concat(), LEVEL)?);
    note("in columns, level 19", each(&columns.concat(), LEVEL_SLOW)?);
    note("in columns, changes without magic and checksum", each(&columns_of(&batch, true).concat(), LEVEL)?);
    for (name, column) in
        ["change set ids", "times and versions", "record ids", "changes"].iter().zip(&columns)
    {
        note(&format!("column of {name} alone"), each(column, LEVEL)?);
    }
    Ok(())
}

fn columns(batch: &[PushedChangeSet]) -> [Vec<u8>; 4] {
    columns_of(batch, false)
}

/// Ids, times, record ids and changes, each end to end; whatever else a change set holds is the same in all of them.
fn columns_of(batch: &[PushedChangeSet], bare: bool) -> [Vec<u8>; 4] {
    let mut columns: [Vec<u8>; 4] = Default::default();
    let mut earlier = 0;
    for set in batch {
        columns[0].extend(set.id.as_bytes());
        columns[1].extend((set.at.0 - earlier).to_be_bytes());
        earlier = set.at.0;
        for PushedPart { record, change, .. } in &set.parts {
            columns[2].extend(record.as_bytes());
            columns[3].extend(if bare { &change[CHANGE_HEAD_BYTES.min(change.len())..] } else { change });
        }
    }
    columns
}
