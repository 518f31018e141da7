//! The field day as a fold of its input: a model of what must come out, without documents, store or network.
//!
//! Every event knows which events its author had seen. A write replaces the writes seen; what is left side by side is
//! a conflict; the one with the highest operation counter, then device, shows. Shares no code with the library.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

/// One thing an event does to a record.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Set(String, Json),
    Step(String, i64),
    Add(String, String),
    Mark { field: String, value: Json, by: String, reason: String },
}

/// One accepted change set, on one record.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) phone: usize,
    pub(super) record: String,
    pub(super) collection: String,
    pub(super) creates: bool,
    pub(super) writes: Vec<Write>,
    pub(super) seen: BTreeSet<usize>,
}

/// A value somebody wrote and nobody who had seen it replaced.
#[derive(Clone)]
struct Standing {
    event: usize,
    rank: (u64, String),
    value: Json,
}

#[derive(Default)]
struct Record {
    collection: String,
    last_operation: BTreeMap<usize, u64>,
    registers: BTreeMap<String, Vec<Standing>>,
    marks: BTreeMap<String, Vec<Standing>>,
    sums: BTreeMap<String, i64>,
    sets: BTreeMap<String, BTreeSet<String>>,
}

/// Facts the model cannot derive: they are the server's to give.
pub(super) struct Given<'a> {
    /// Device id of each phone, as hexadecimal.
    pub(super) devices: &'a [String],
    /// Server id of each record.
    pub(super) server_ids: &'a BTreeMap<String, String>,
    /// Names of the counters of each collection, all of which begin at zero.
    pub(super) counters: &'a BTreeMap<String, Vec<String>>,
    /// Names of the reference fields of each collection.
    pub(super) references: &'a BTreeSet<(String, String)>,
}

/// Folds the events into the canonical JSON of every record, in order of record id.
pub(super) fn fold(events: &[Event], given: &Given<'_>) -> Vec<Json> {
    let mut records: BTreeMap<&str, Record> = BTreeMap::new();
    for (number, event) in events.iter().enumerate() {
        records.entry(&event.record).or_default().take(number, event, given);
    }
    records.iter().map(|(id, record)| record.canonical(id, given)).collect()
}

impl Record {
    fn take(&mut self, number: usize, event: &Event, given: &Given<'_>) {
        let before = self.last_operation.iter().filter(|(other, _)| event.seen.contains(other));
        let mut operation = before.map(|(_, last)| *last).max().unwrap_or(0);
        if event.creates {
            self.collection.clone_from(&event.collection);
            let counters = given.counters.get(&event.collection).map_or(&[][..], Vec::as_slice);
            self.sums.extend(counters.iter().map(|name| (name.clone(), 0)));
            operation += 1 + counters.len() as u64;
        }
        for write in &event.writes {
            operation += 1;
            let rank = (operation, given.devices[event.phone].clone());
            match write {
                Write::Set(field, value) => {
                    stand(
                        self.registers.entry(field.clone()).or_default(),
                        event,
                        number,
                        rank,
                        value.clone(),
                    );
                }
                Write::Mark { field, value, by, reason } => {
                    let mark = json!({ "value": value, "by": by, "reason": reason });
                    stand(self.marks.entry(field.clone()).or_default(), event, number, rank, mark);
                }
                Write::Step(field, by) => *self.sums.entry(field.clone()).or_default() += by,
                Write::Add(field, element) => {
                    self.sets.entry(field.clone()).or_default().insert(element.clone());
                }
            }
        }
        self.last_operation.insert(number, operation);
    }

    fn canonical(&self, id: &str, given: &Given<'_>) -> Json {
        let named = |field: &str, value: &Json| {
            let is_reference = given.references.contains(&(self.collection.clone(), field.to_owned()));
            let server_id = value.as_str().filter(|_| is_reference).and_then(|id| given.server_ids.get(id));
            server_id.map_or_else(|| value.clone(), |id| json!(id))
        };
        let shown = |field: &str, all: &[Standing]| all.first().map(|standing| named(field, &standing.value));
        let mut values: Map<String, Json> = Map::new();
        values.extend(self.sums.iter().map(|(field, sum)| (field.clone(), json!(sum))));
        values.extend(self.sets.iter().map(|(field, set)| (field.clone(), json!(set))));
        values.extend(
            self.registers.iter().filter_map(|(field, all)| Some((field.clone(), shown(field, all)?))),
        );
        let (mut conflicts, mut overrides) = (Map::new(), Map::new());
        for (field, all) in
            self.registers.iter().filter(|(_, all)| all.iter().any(|one| one.value != all[0].value))
        {
            let list =
                all.iter().map(|one| json!({ "device": one.rank.1, "value": named(field, &one.value) }));
            conflicts.insert(field.clone(), list.collect());
        }
        for (field, mark) in self.marks.iter().filter_map(|(field, all)| Some((field, &all.first()?.value))) {
            let beneath = values.insert(field.clone(), mark["value"].clone());
            overrides.insert(
                field.clone(),
                json!({ "by": mark["by"], "reason": mark["reason"], "beneath": beneath }),
            );
        }
        json!({
            "collection": self.collection, "conflicts": conflicts, "deleted": false, "overrides": overrides,
            "record": id, "server_id": given.server_ids.get(id), "values": values,
        })
    }
}

fn stand(all: &mut Vec<Standing>, event: &Event, number: usize, rank: (u64, String), value: Json) {
    all.retain(|standing| !event.seen.contains(&standing.event));
    all.push(Standing { event: number, rank, value });
    all.sort_by(|a, b| b.rank.cmp(&a.rank));
}
