//! The canonical form of a record's state: what two replicas must agree on, and nothing else.
//!
//! JSON with sorted keys: effective values, overrides with the value beneath, conflicts. Clocks, local states and
//! pending work are left out, so equal text means equal converged state.

use haversack_protocol::{RecordId, ServerId};
use ring::digest::{Context, SHA256};
use serde_json::{Map, Value as Json, json};

use crate::record::{Candidate, Row, Value, value_to_json};

/// The canonical JSON of one record. Keys come out sorted because `serde_json` keeps objects ordered.
pub fn canonical_record(record: RecordId, server_id: Option<&ServerId>, collection: &str, row: &Row) -> Json {
    let shown: Map<_, _> = row.shown().map(|(name, value)| (name.to_owned(), value_to_json(value))).collect();
    let beneath = |name: &str| row.fields.get(name).map(value_to_json);
    let overrides: Map<_, _> = row
        .marks
        .iter()
        .map(|(name, mark)| {
            let json = json!({ "by": mark.by, "reason": mark.reason, "beneath": beneath(name) });
            (name.to_string(), json)
        })
        .collect();
    let conflicts: Map<_, _> =
        row.conflicts.iter().map(|(name, all)| (name.to_string(), canonical_candidates(all))).collect();
    json!({
        "collection": collection,
        "conflicts": conflicts,
        "deleted": row.is_deleted,
        "overrides": overrides,
        "record": record,
        "server_id": server_id,
        "values": shown,
    })
}

fn canonical_candidates(all: &[Candidate]) -> Json {
    let value = |candidate: &Candidate| candidate.value.as_ref().map(value_to_json);
    Json::Array(all.iter().map(|one| json!({ "device": one.device, "value": value(one) })).collect())
}

/// SHA-256 over canonical records, fed in ascending order of record id.
#[derive(Clone)]
pub struct StateDigest {
    context: Context,
    records: u64,
}

impl Default for StateDigest {
    fn default() -> Self {
        Self { context: Context::new(&SHA256), records: 0 }
    }
}

impl StateDigest {
    /// Adds the canonical JSON of the next record.
    pub fn add(&mut self, record: &Json) {
        self.context.update(record.to_string().as_bytes());
        self.context.update(b"\n");
        self.records += 1;
    }

    /// Number of records added.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The digest as lower-case hexadecimal.
    pub fn finish(self) -> String {
        self.context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Says whether a row still shows a temporary id: a record id used as a reference although `has_server_id`.
pub fn shows_temporary_id(row: &Row, has_server_id: impl Fn(RecordId) -> bool) -> bool {
    use crate::record::Reference;
    let candidates = row.conflicts.values().flatten().filter_map(|candidate| candidate.value.as_ref());
    row.fields
        .values()
        .chain(candidates)
        .any(|value| matches!(value, Value::Reference(Reference::Record(record)) if has_server_id(*record)))
}
