//! A field day: the same work for every contender, each side a process of its own, every byte counted.
//!
//! | phase | what is done | from, to |
//! |---|---|---|
//! | P1 | a phone without a network creates N records, each durable before the next | opening, last record |
//! | P2 | a new process on that phone opens its store and sends | opening, all acknowledged |
//! | P3 | a fresh phone fetches everything; then its records are compared with the input | opening, all stored |
//! | P4 | both phones are online; one edits a field of 100 records | first edit, the other phone's app has seen all |
//! | P5, P5r | a new process with nothing new; P5r after a restart of the server | opening, in step |
//! | P6 | both phones edited the same 100 records offline, 50 in different fields, 50 in the same; both connect | go, the last change seen |

mod by_hand;
mod child;
mod ours;
mod parent;
mod phases;
mod process;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::world::Outcome;

pub(crate) use child::run as run_child;
pub(crate) use parent::measure;

/// Records that are edited in P4 and P6.
const EDITED: usize = 100;
/// Those of them that both phones edit in different fields; the others in the same.
const EDITED_APART: usize = EDITED / 2;

/// What a process is told on its command line. Other programs may measure ours by the same words.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Setup {
    /// What a client does: one of the names in [`phases`].
    phase: String,
    /// Where it keeps its store.
    dir: PathBuf,
    /// The server, as a client reaches it.
    url: String,
    /// The port a server listens on.
    port: u16,
    /// The records, as a JSON array.
    data: PathBuf,
    /// Number of records.
    n: usize,
    /// Phone `a` or `b`.
    side: String,
    /// Ids of the records that are edited; read from the records when there are none.
    edited: Vec<String>,
    /// A file in which the server leaves what its phones need to know.
    shared: PathBuf,
}

/// A system that takes part: what its process does on a phone.
trait Contender: Sized {
    fn open(setup: &Setup) -> Outcome<Self>;
    /// Stores a record; durable when it returns.
    fn create(&mut self, record: &Json) -> Outcome<()>;
    /// Sets a text; durable when it returns.
    fn edit(&mut self, uuid: &str, field: &str, text: &str) -> Outcome<()>;
    /// Sends what waits and reads what is new.
    fn bring_in_step(&mut self) -> Outcome<()>;
    /// Waits until something new was read, and at most a while.
    fn await_news(&mut self) -> Outcome<()>;
    fn text(&self, uuid: &str, field: &str) -> Outcome<String>;
    fn all(&self) -> Outcome<Vec<Json>>;
    /// Whether the app can see that a record's edits met.
    fn tells_conflict(&self, uuid: &str) -> Outcome<bool>;
}

/// The ids of the records that are edited, spread over all.
pub(crate) fn ids_of_edited(records: &[Json]) -> Outcome<Vec<String>> {
    let count = EDITED.min(records.len());
    let places = (0..count).map(|at| at * records.len() / count);
    places.map(|place| Ok(uuid_of(&records[place])?.to_owned())).collect()
}

/// What P6 writes into the record that is edited as the `at`th.
fn conflicting_edit(side: &str, at: usize) -> (&'static str, String) {
    match (at < EDITED_APART, side) {
        (true, "a") => ("status", "edited by a".to_owned()),
        (true, _) => ("location", "edited by b".to_owned()),
        (false, side) => ("notes", format!("edited by {side}, {at}")),
    }
}

fn read_records(path: &Path) -> Outcome<Vec<Json>> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

fn uuid_of(record: &Json) -> Outcome<&str> {
    Ok(record["uuid"].as_str().ok_or("a record has a uuid")?)
}
