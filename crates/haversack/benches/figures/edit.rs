//! A durable edit, against the two rows it cannot do without; in turns, so that noise meets all alike.

use std::io;

use haversack::{ChangeSet, RecordId, Store};

use crate::measure::{Taken, median, micros, on_this_thread};
use crate::raw::{Flush, Raw};
use crate::report::Report;
use crate::workload::{Workload, one_field_edit};
use crate::world::{Outcome, Phone};

const ROUNDS: usize = 40;
const PER_ROUND: usize = 50;
const GOAL: f64 = 1.3;
/// Fields a list screen would filter and sort by.
const INDEXED: [&str; 2] = ["started_at", "status"];

/// One kind of edit as each contender writes it.
struct Prepared {
    change_sets: Vec<ChangeSet>,
    rows: Vec<(RecordId, String, Vec<u8>)>,
}

/// Times per edit of one contender, a value a round.
#[derive(Default)]
struct Times {
    cpu: Vec<f64>,
    wall: Vec<f64>,
}

impl Times {
    fn add(&mut self, taken: Taken) {
        let each = taken.per(PER_ROUND);
        self.cpu.push(micros(each.cpu));
        self.wall.push(micros(each.wall));
    }
}

struct Contenders {
    store: Store,
    indexed: Store,
    flushed: Raw,
    unflushed: Raw,
}

pub(crate) fn measure(report: &mut Report) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let contenders = Contenders {
        store: Phone::in_folder(at("store")).store(&[])?,
        indexed: Phone::in_folder(at("indexed")).store(&INDEXED)?,
        flushed: Raw::create(&at("flushed.db"), Flush::Each)?,
        unflushed: Raw::create(&at("unflushed.db"), Flush::Never)?,
    };
    let creations = prepare_creations(&folder.path().join("scratch"))?;
    contenders.race(report, "create", &creations, Raw::insert)?;
    let edits = prepare_edits(&contenders.store, &creations)?;
    contenders.race(report, "one-field edit", &edits, Raw::update)?;
    Ok(())
}

/// Writes `count` one-field edits and nothing else, for counting system calls from outside.
pub(crate) fn only_edits(count: usize) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let store = Phone::in_folder(folder.path().join("store")).store(&[])?;
    let creation = Workload::new().creation();
    let record = creation.parts[0].record;
    store.local_write(creation)?;
    for round in 1..count {
        store.local_write(one_field_edit(record, round))?;
    }
    Ok(())
}

/// What the store will hold for each creation, so that the others write the same bytes.
fn prepare_creations(folder: &std::path::Path) -> Outcome<Prepared> {
    let scratch = Phone::in_folder(folder.to_path_buf()).store(&[])?;
    let mut workload = Workload::new();
    let change_sets: Vec<_> = (0..ROUNDS * PER_ROUND).map(|_| workload.creation()).collect();
    for change_set in &change_sets {
        scratch.local_write(change_set.clone())?;
    }
    let rows = rows_of(&scratch, &change_sets)?;
    Ok(Prepared { change_sets, rows })
}

/// One edit of every record, in another order than they were created.
fn prepare_edits(store: &Store, creations: &Prepared) -> Outcome<Prepared> {
    let count = creations.rows.len();
    let change_sets: Vec<_> =
        (0..count).map(|round| one_field_edit(creations.rows[round * 787 % count].0, round)).collect();
    let rows = rows_of(store, &change_sets)?;
    Ok(Prepared { change_sets, rows })
}

fn rows_of(store: &Store, change_sets: &[ChangeSet]) -> Outcome<Vec<(RecordId, String, Vec<u8>)>> {
    let row = |change_set: &ChangeSet| {
        let record = change_set.parts[0].record;
        let stored = store.get(record)?.ok_or("a record that was just created is there")?;
        Ok((record, stored.row.to_text(), minicbor::to_vec(change_set)?))
    };
    change_sets.iter().map(row).collect()
}

type RawWrite = fn(&Raw, &[u8; 16], &str, &[u8]) -> rusqlite::Result<()>;

impl Contenders {
    fn race(&self, report: &mut Report, what: &str, work: &Prepared, raw: RawWrite) -> Outcome<()> {
        let mut times: [Times; 4] = Default::default();
        for round in 0..ROUNDS {
            let slice = round * PER_ROUND..(round + 1) * PER_ROUND;
            let by_store = |store: &Store| write_all(store, work.change_sets[slice.clone()].to_vec());
            let by_hand = |db: &Raw| write_raw(db, &work.rows[slice.clone()], raw);
            // Every contender is first, second, third and last equally often.
            for turn in 0..times.len() {
                let contender = (round + turn) % times.len();
                times[contender].add(match contender {
                    0 => by_store(&self.store)?,
                    1 => by_hand(&self.flushed)?,
                    2 => by_hand(&self.unflushed)?,
                    _ => by_store(&self.indexed)?,
                });
            }
        }
        tell(report, what, &times);
        Ok(())
    }
}

fn write_all(store: &Store, change_sets: Vec<ChangeSet>) -> io::Result<Taken> {
    let work = || {
        change_sets.into_iter().try_for_each(|one| store.local_write(one).map(drop)).map_err(io::Error::other)
    };
    Ok(on_this_thread(work)?.1)
}

fn write_raw(db: &Raw, rows: &[(RecordId, String, Vec<u8>)], write: RawWrite) -> io::Result<Taken> {
    let work = || {
        let mut rows = rows.iter();
        rows.try_for_each(|(id, row, body)| write(db, id.as_bytes(), row, body)).map_err(io::Error::other)
    };
    Ok(on_this_thread(work)?.1)
}

fn tell(report: &mut Report, what: &str, [store, flushed, unflushed, indexed]: &[Times; 4]) {
    let ratio = |a: &[f64], b: &[f64]| median(a.iter().zip(b).map(|(a, b)| a / b).collect());
    let cpu = |times: &Times| median(times.cpu.clone());
    let flushing = cpu(flushed) - cpu(unflushed);
    report.hold(format!("{what}: CPU, of two raw rows"), ratio(&store.cpu, &flushed.cpu), "x", GOAL);
    report.hold(format!("{what}: wall, of two raw rows"), ratio(&store.wall, &flushed.wall), "x", GOAL);
    let apart = (cpu(store) - flushing) / cpu(unflushed);
    report.hold(format!("{what}: CPU without flushing, of two raw rows"), apart, "x", GOAL);
    report.note(format!("{what}: CPU"), cpu(store), "us");
    report.note(format!("{what}: CPU, two raw rows"), cpu(flushed), "us");
    report.note(format!("{what}: CPU, two raw rows never flushed"), cpu(unflushed), "us");
    report.note(format!("{what}: CPU with two indexed fields"), cpu(indexed), "us");
    report.note(format!("{what}: wall"), median(store.wall.clone()), "us");
    report.note(format!("{what}: wall, two raw rows"), median(flushed.wall.clone()), "us");
}
