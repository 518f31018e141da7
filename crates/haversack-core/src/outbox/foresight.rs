//! Foresight: which pending values will lose to what arrived since their author made them.
//!
//! The row keeps showing what its user typed; this says early what the verdict would say late. Nothing is decided here:
//! the answer is that of authoring the record's pending change sets now and merging them.

use std::collections::BTreeSet;

use haversack_protocol::{ChangeHash, DeviceId, RecordId, Schema};

use super::entry::{Entry, EntryState};
use super::freeze::{FreezeRefusal, Freezer, Lane};
use crate::record::{ChangeSet, Document, Intent, Row, project};

/// Heads of a record's confirmed document that the author of one of its live entries had not seen, own changes included.
pub fn unseen_heads(record: RecordId, document: &Document, live: &[Entry]) -> BTreeSet<ChangeHash> {
    let heads = document.heads();
    let bases = live.iter().flat_map(|entry| &entry.base).filter(|base| base.record == record);
    bases.flat_map(|base| heads.iter().filter(|head| !base.heads.contains(head))).copied().collect()
}

/// The register fields of `shown` whose pending value another one will beat, when the live entries of the record
/// (`live`, in order) arrive as they stand. There is none unless something arrived that an author had not seen
/// ([`unseen_heads`], the author's own tip left out); this costs authoring them all.
///
/// # Errors
/// [`FreezeRefusal`] when an entry cannot be authored; it will be refused when it is leased.
pub fn foresee_shadows(
    device: DeviceId,
    schema: &Schema,
    record: RecordId,
    lane: Lane,
    live: &[Entry],
    shown: &Row,
) -> Result<BTreeSet<String>, FreezeRefusal> {
    let written = registers_written(record, live);
    let collection = live.iter().flat_map(|entry| &entry.change_set.parts).find(|part| part.record == record);
    let collection = collection.and_then(|part| schema.collection(&part.collection));
    let Some(collection) = collection.filter(|_| !written.is_empty()) else {
        return Ok(BTreeSet::new());
    };
    let mut freezer = Freezer::new(device, schema);
    freezer.open(record, lane)?;
    for entry in live.iter().filter(|entry| entry.state == EntryState::Pending) {
        freezer.freeze(&part_of(entry, record))?;
    }
    let merged = freezer.close(record).map(|document| project(&document, collection)).unwrap_or_default();
    let is_beaten = |field: &&str| {
        let is_register = collection.field(field).is_some_and(|known| known.kind.is_register());
        is_register && merged.fields.get(*field) != shown.fields.get(*field)
    };
    Ok(written.into_iter().filter(is_beaten).map(str::to_owned).collect())
}

fn registers_written(record: RecordId, live: &[Entry]) -> BTreeSet<&str> {
    let parts = live.iter().flat_map(|entry| &entry.change_set.parts).filter(|part| part.record == record);
    let fields = parts.flat_map(|part| &part.intents).filter_map(|intent| match intent {
        Intent::Set { field, .. } | Intent::Clear { field } => Some(field.as_str()),
        _ => None,
    });
    fields.collect()
}

/// What an entry does to one record alone.
fn part_of(entry: &Entry, record: RecordId) -> Entry {
    let parts = entry.change_set.parts.iter().filter(|part| part.record == record).cloned().collect();
    Entry { change_set: ChangeSet { parts, ..entry.change_set.clone() }, ..entry.clone() }
}
