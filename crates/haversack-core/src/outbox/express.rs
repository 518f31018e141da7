//! Expressing edits anew: what waits when its record begins a new epoch, and on what it stands from then on.

use std::collections::{BTreeMap, BTreeSet};

use automerge::ScalarValue;
use haversack_protocol::{ChangeHash, RecordId, ServerId};

use super::entry::{BaseHeads, Entry};
use crate::record::{Document, Intent, Key, Planted, Reference, Root, Value};

/// A record's epoch that ends, as its author knows it.
pub struct Ending<'a> {
    /// The record.
    pub record: RecordId,
    /// Its confirmed document; `None` where there is none.
    pub document: Option<&'a Document>,
    /// The author's last accepted change of it.
    pub accepted_tip: Option<ChangeHash>,
}

/// Decides what each waiting entry of a record stands on in the new epoch: on all of its root where that shows what the entry's
/// author saw, else on the foundation alone, so that the edit and the root's value are in conflict and neither is lost.
/// `entries` are those of the record in order, with base heads of the epoch that ends.
pub fn express_anew(
    ending: &Ending<'_>,
    root: &Root,
    planted: &Planted,
    epoch: u32,
    entries: &[Entry],
    resolve: &dyn Fn(RecordId) -> Option<ServerId>,
) -> BTreeMap<i64, BaseHeads> {
    let last_divided = last_divided(ending, root, entries, resolve);
    let base = |(place, entry): (usize, &Entry)| {
        let stands_on_all = last_divided.is_none_or(|last| place > last);
        let heads = if stands_on_all { planted.document.heads() } else { planted.foundation.clone() };
        (entry.order, BaseHeads { record: ending.record, epoch, heads })
    };
    entries.iter().enumerate().map(base).collect()
}

/// The last entry that writes over a value its author had not seen. Own edits form a chain: were one before it to know all of the
/// root, so would this one.
fn last_divided(
    ending: &Ending<'_>,
    root: &Root,
    entries: &[Entry],
    resolve: &dyn Fn(RecordId) -> Option<ServerId>,
) -> Option<usize> {
    let (mut own, mut divided) = (BTreeSet::new(), BTreeSet::new());
    let mut last = None;
    for (place, entry) in entries.iter().enumerate() {
        let seen = seen_by(ending, entry);
        let keys: Vec<String> = written(ending.record, entry).collect();
        for key in keys {
            let differs = seen
                .as_ref()
                .is_none_or(|seen| root.differs_from(seen, &key, |a, b| is_same_record(a, b, resolve)));
            if divided.contains(&key) || (!own.contains(&key) && differs) {
                last = Some(place);
                divided.insert(key.clone());
            }
            own.insert(key);
        }
    }
    last
}

/// Registers and marks an entry writes in a record: what it may overwrite.
fn written(record: RecordId, entry: &Entry) -> impl Iterator<Item = String> {
    let parts = entry.change_set.parts.iter().filter(move |part| part.record == record);
    parts.flat_map(|part| &part.intents).filter_map(|intent| match intent {
        Intent::Set { field, .. } | Intent::Clear { field } => Some(Key::Register(field).to_string()),
        Intent::Override { field, .. } | Intent::Release { field } => Some(Key::Override(field).to_string()),
        _ => None,
    })
}

/// The record as the author of an entry saw it; `None` where that cannot be told any more.
fn seen_by(ending: &Ending<'_>, entry: &Entry) -> Option<Document> {
    let document = ending.document?;
    let base = entry.base.iter().find(|base| base.record == ending.record)?;
    let tip = ending.accepted_tip.filter(|tip| document.contains(tip));
    document.at(&base.heads.iter().copied().chain(tip).collect()).ok()
}

/// A reference by record id and one by the server id of the same record are the same.
fn is_same_record(a: &ScalarValue, b: &ScalarValue, resolve: &dyn Fn(RecordId) -> Option<ServerId>) -> bool {
    let named =
        |scalar: &ScalarValue| match Value::from_scalar(haversack_protocol::FieldKind::Reference, scalar) {
            Some(Value::Reference(Reference::Record(record))) => resolve(record),
            Some(Value::Reference(Reference::Server(id))) => Some(id),
            _ => None,
        };
    named(a).is_some() && named(a) == named(b)
}
