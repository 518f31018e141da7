//! Draining, bootstrap and resuming over loopback, with every byte counted.

use haversack::RecordId;

use crate::layout;
use crate::measure::{median, millis};
use crate::report::Report;
use crate::workload::{Workload, one_field_edit};
use crate::world::{Exchange, Outcome, Phone, World};

const RESUMES: usize = 9;
/// Goals of bytes a record, at most.
const CREATE_BYTES: f64 = 187.0;
const EDIT_BYTES: f64 = 95.0;
const RESUME_BYTES: f64 = 700.0;
const RESUME_CPU_MS: f64 = 10.0;

/// Drains, bootstraps and resumes `count` records; resumes `few` as well.
pub(crate) fn measure(report: &mut Report, count: usize, few: usize) -> Outcome<()> {
    let small = World::start()?;
    let phone = small.phone("phone")?;
    create(&small, &phone, few)?;
    small.exchange(&phone)?;
    resume(report, &small, &phone, few)?;
    small.shutdown()?;

    let world = World::start()?;
    let phone = world.phone("phone")?;
    let records = create(&world, &phone, count)?;
    layout::measure(report, "create", &phone)?;
    tell(report, &format!("drain of {count} creates"), world.exchange(&phone)?, count, Some(CREATE_BYTES));
    resume(report, &world, &phone, count)?;
    tell(
        report,
        &format!("bootstrap of {count} records"),
        world.exchange(&world.phone("fresh")?)?,
        count,
        None,
    );
    edit_all(&phone, &records)?;
    layout::measure(report, "one-field edit", &phone)?;
    let drained = world.exchange(&phone)?;
    tell(report, &format!("drain of {count} one-field edits"), drained, count, Some(EDIT_BYTES));
    world.shutdown()
}

/// Registers the phone, then creates records without a connection.
fn create(world: &World, phone: &Phone, count: usize) -> Outcome<Vec<RecordId>> {
    world.exchange(phone)?;
    let store = phone.store(&[])?;
    let mut workload = Workload::new();
    let mut records = Vec::with_capacity(count);
    for _ in 0..count {
        let creation = workload.creation();
        records.push(creation.parts[0].record);
        store.local_write(creation)?;
    }
    store.close()?;
    Ok(records)
}

fn edit_all(phone: &Phone, records: &[RecordId]) -> Outcome<()> {
    let store = phone.store(&[])?;
    for (round, record) in records.iter().enumerate() {
        store.local_write(one_field_edit(*record, round))?;
    }
    store.close()?;
    Ok(())
}

fn tell(report: &mut Report, what: &str, exchange: Exchange, count: usize, up_goal: Option<f64>) {
    let Exchange { wall, phone_cpu, server_cpu, traffic } = exchange;
    let per_record = |bytes: u64| bytes as f64 / count as f64;
    let up = format!("{what}: up");
    match up_goal {
        Some(goal) => report.hold(up, per_record(traffic.up), "B/record", goal),
        None => report.note(up, per_record(traffic.up), "B/record"),
    }
    report.note(format!("{what}: down"), per_record(traffic.down), "B/record");
    report.note(format!("{what}: wall"), millis(wall), "ms");
    report.note(format!("{what}: CPU of the phone"), millis(phone_cpu), "ms");
    report.note(format!("{what}: CPU of the server"), millis(server_cpu), "ms");
    report.note(format!("{what}: change sets a second"), count as f64 / wall.as_secs_f64(), "1/s");
    report.note(format!("{what}: round trips"), traffic.requests as f64, "");
}

fn resume(report: &mut Report, world: &World, phone: &Phone, count: usize) -> Outcome<()> {
    let mut exchanges = Vec::with_capacity(RESUMES);
    for _ in 0..RESUMES {
        exchanges.push(world.exchange(phone)?);
    }
    let of = |value: fn(&Exchange) -> f64| median(exchanges.iter().map(value).collect());
    let what = format!("resume with nothing new, {count} records");
    report.hold(format!("{what}: round trips"), of(|one| one.traffic.requests as f64), "", 1.0);
    report.hold(format!("{what}: both ways"), of(|one| one.traffic.both() as f64), "B", RESUME_BYTES);
    report.note(format!("{what}: up"), of(|one| one.traffic.up as f64), "B");
    report.hold(
        format!("{what}: CPU of both sides"),
        of(|one| millis(one.phone_cpu + one.server_cpu)),
        "ms",
        RESUME_CPU_MS,
    );
    report.note(format!("{what}: wall"), of(|one| millis(one.wall)), "ms");
    Ok(())
}
