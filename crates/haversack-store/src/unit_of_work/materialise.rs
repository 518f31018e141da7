//! Making a row anew: projection of the confirmed document, then the live entries in order, then the id map.

use std::collections::BTreeSet;

use haversack_core::id_map::rewrite_row;
use haversack_core::outbox::{Entry, Lane, foresee_shadows};
use haversack_core::{Document, Row, overlay, project};
use haversack_protocol::{CollectionSchema, RecordId, Schema};
use rusqlite::Connection;

use crate::StoreError;
use crate::table::record::FoundRow;
use crate::table::{document, id_map, lane, meta, outbox, record};

/// What a record's row must be, given the live entries that touch it in order. `None` when there is nothing to show: no
/// document and no live entry that creates it, or a collection the schema does not have.
pub(crate) fn fresh_row(
    connection: &Connection,
    schema: &Schema,
    record: RecordId,
    confirmed: Option<(&str, &Document)>,
    live: &[Entry],
) -> Result<Option<FoundRow>, StoreError> {
    let mut shown = confirmed.and_then(|(collection, document)| {
        let row = project(document, schema.collection(collection)?);
        Some(FoundRow { collection: collection.to_owned(), row })
    });
    for entry in live {
        let version = entry.change_set.schema_version;
        for part in entry.change_set.parts.iter().filter(|part| part.record == record) {
            if shown.is_none() && part.creates && confirmed.is_none() {
                shown = schema.collection(&part.collection).map(|known| FoundRow {
                    collection: part.collection.clone(),
                    row: Row::created(known, version),
                });
            }
            if let Some(found) = &mut shown {
                overlay(&mut found.row, part);
            }
        }
    }
    if let Some(found) = &mut shown {
        if let Some(known) = schema.collection(&found.collection) {
            fit(&mut found.row, known);
        }
        if let (Some((_, document)), false) = (confirmed, live.is_empty()) {
            found.row.shadowed = shadows(connection, schema, record, document, live, &found.row)?;
        }
        id_map::resolving(connection, |resolve| rewrite_row(&mut found.row, resolve))?;
    }
    Ok(shown)
}

/// Fields whose pending value will lose. None where an entry cannot be authored: it will be told when it is leased.
fn shadows(
    connection: &Connection,
    schema: &Schema,
    record: RecordId,
    document: &Document,
    live: &[Entry],
    shown: &Row,
) -> Result<BTreeSet<String>, StoreError> {
    let Some(device) = meta::read(connection, meta::DEVICE)? else { return Ok(BTreeSet::new()) };
    let (generation, accepted_tip) = lane::load(connection, record)?;
    let frozen = outbox::frozen_of(connection, record)?;
    let epoch = document::heads(connection, record)?.map_or(0, |(epoch, _)| epoch);
    let lane = Lane { document: Some(document.clone()), epoch, generation, accepted_tip, frozen };
    Ok(foresee_shadows(device, schema, record, lane, live, shown).unwrap_or_default())
}

/// Leaves out what edits made under an earlier schema put into fields that are gone or of another kind by now.
fn fit(row: &mut Row, collection: &CollectionSchema) {
    let kind = |name: &String| collection.field(name).map(|field| field.kind);
    row.fields.retain(|name, value| kind(name) == Some(value.kind()));
    row.marks.retain(|name, mark| {
        kind(name).is_some_and(|kind| mark.value.as_ref().is_none_or(|value| value.kind() == kind))
    });
}

/// Makes the row of a record anew.
pub(crate) fn refresh(
    connection: &Connection,
    schema: &Schema,
    record: RecordId,
    confirmed: Option<(&str, &Document)>,
) -> Result<(), StoreError> {
    let live = outbox::live_of(connection, record)?;
    match fresh_row(connection, schema, record, confirmed, &live)? {
        Some(found) => record::save(connection, schema, record, &found, false),
        None => record::remove(connection, record),
    }
}

/// Makes the row of a record anew from the document in the store.
pub(crate) fn refresh_stored(
    connection: &Connection,
    schema: &Schema,
    record: RecordId,
) -> Result<(), StoreError> {
    let stored = document::load(connection, record)?;
    let confirmed = stored.as_ref().map(|stored| (stored.collection.as_str(), &stored.document));
    refresh(connection, schema, record, confirmed)
}
