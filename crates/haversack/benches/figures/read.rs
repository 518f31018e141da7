//! Reading: one record, a page of a listing, opening a store that is there.

use std::io;
use std::time::Instant;

use haversack::{Direction, Query, RecordId};

use crate::measure::{median, micros, on_this_thread};
use crate::report::Report;
use crate::workload::{ACTIVITY, Workload};
use crate::world::{Outcome, Phone};

const ROUNDS: usize = 15;
const GETS: usize = 500;
const LISTS: usize = 50;
const PAGE: u32 = 50;
const INDEXED: [&str; 1] = ["started_at"];
/// One and a half times, and twice, what reading the bytes alone took where the goals were set.
const GET_GOAL_US: f64 = 6.6;
const LIST_GOAL_US: f64 = 26.0;
const OPEN_GOAL_MS: f64 = 5.0;

pub(crate) fn measure(report: &mut Report, count: usize) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let phone = Phone::in_folder(folder.path().join("store"));
    let store = phone.store(&INDEXED)?;
    let mut workload = Workload::new();
    let mut records: Vec<RecordId> = Vec::with_capacity(count);
    for _ in 0..count {
        let creation = workload.creation();
        records.push(creation.parts[0].record);
        store.local_write(creation)?;
    }
    let mut page = Query::of(ACTIVITY);
    page.limit = PAGE;
    let mut sorted = page.clone();
    sorted.sort = Some((INDEXED[0].to_owned(), Direction::Descending));
    let (mut get, mut list, mut list_sorted) = (vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        get.push(each(GETS, |at| store.get(records[(round + at * 787) % count]).map(drop))?);
        list.push(each(LISTS, |_| store.list(&page).map(drop))?);
        list_sorted.push(each(LISTS, |_| store.list(&sorted).map(drop))?);
    }
    report.hold(format!("get of {count}: CPU"), median(get), "us", GET_GOAL_US);
    report.hold(format!("list {PAGE} of {count}, by id: CPU"), median(list), "us", LIST_GOAL_US);
    report.note(format!("list {PAGE} of {count}, by an indexed field: CPU"), median(list_sorted), "us");
    store.close()?;
    let mut opened = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let store = phone.store(&INDEXED)?;
        opened.push(micros(begun.elapsed()) / 1e3);
        store.close()?;
    }
    report.hold(format!("open a store of {count}: wall"), median(opened), "ms", OPEN_GOAL_MS);
    Ok(())
}

fn each<E: std::error::Error + Send + Sync + 'static>(
    count: usize,
    mut work: impl FnMut(usize) -> Result<(), E>,
) -> io::Result<f64> {
    let all = || (0..count).try_for_each(&mut work).map_err(io::Error::other);
    Ok(micros(on_this_thread(all)?.1.per(count).cpu))
}
