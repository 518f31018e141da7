//! What an export reads: every record in turn, and of whom one record speaks.

use std::collections::{BTreeMap, BTreeSet};

use haversack_core::{Intent, Reference, Row, Value};
use haversack_protocol::{RecordId, Schema};
use rusqlite::Connection;

use crate::StoreError;
use crate::table::{id_map, outbox, record};

/// A record and every record that refers to it, directly or through others: by what it shows, by what an override mark
/// covers, by a concurrent value, or by an edit in the outbox, refused ones included. Holds ids only.
pub(crate) fn subject(
    connection: &Connection,
    schema: &Schema,
    record: RecordId,
) -> Result<BTreeSet<RecordId>, StoreError> {
    let mut referring: BTreeMap<RecordId, Vec<RecordId>> = BTreeMap::new();
    let mut enter = |from: RecordId, reference: &Reference| -> Result<(), StoreError> {
        let target = match reference {
            Reference::Record(target) => Some(*target),
            Reference::Server(server_id) => id_map::holder(connection, server_id)?,
        };
        target.into_iter().for_each(|target| referring.entry(target).or_default().push(from));
        Ok(())
    };
    record::each(connection, schema, |found| {
        references(&found.row).try_for_each(|reference| enter(found.record, reference))
    })?;
    outbox::each(connection, |entry| {
        entry.change_set.parts.iter().try_for_each(|part| {
            let mut references = part.intents.iter().filter_map(reference_of);
            references.try_for_each(|reference| enter(part.record, reference))
        })
    })?;
    let (mut found, mut open) = (BTreeSet::from([record]), vec![record]);
    while let Some(target) = open.pop() {
        let from = referring.remove(&target).unwrap_or_default();
        open.extend(from.into_iter().filter(|record| found.insert(*record)));
    }
    Ok(found)
}

/// Every reference a row holds, covered and concurrent ones included.
fn references(row: &Row) -> impl Iterator<Item = &Reference> {
    let own = row.fields.values();
    let marks = row.marks.values().chain(row.beaten_marks.values().flatten());
    let concurrent = row.conflicts.values().flatten().filter_map(|candidate| candidate.value.as_ref());
    own.chain(marks.filter_map(|mark| mark.value.as_ref())).chain(concurrent).filter_map(as_reference)
}

fn reference_of(intent: &Intent) -> Option<&Reference> {
    match intent {
        Intent::Override { mark, .. } => mark.value.as_ref().and_then(as_reference),
        intent => intent.reference(),
    }
}

fn as_reference(value: &Value) -> Option<&Reference> {
    match value {
        Value::Reference(reference) => Some(reference),
        _ => None,
    }
}
