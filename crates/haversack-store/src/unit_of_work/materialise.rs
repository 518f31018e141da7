//! Making a row anew: projection of the confirmed document, then the live entries in order, then the id map.

use std::collections::BTreeSet;

use haversack_core::id_map::rewrite_row;
use haversack_core::outbox::{Entry, Lane, foresee_shadows, unseen_heads};
use haversack_core::{Row, overlay, project};
use haversack_protocol::{CollectionSchema, RecordId, Schema};
use rusqlite::Connection;

use super::touched::Touched;
use crate::StoreError;
use crate::table::document::StoredDocument;
use crate::table::record::FoundRow;
use crate::table::{document, id_map, lane, meta, outbox, record};

/// What a record's row must be, given the live entries that touch it in order. `None` when there is nothing to show: no
/// document and no live entry that creates it, or a collection the schema does not have.
pub(crate) fn fresh_row(
    connection: &Connection,
    schema: &Schema,
    record: RecordId,
    confirmed: Option<&StoredDocument>,
    live: &[Entry],
) -> Result<Option<FoundRow>, StoreError> {
    let mut shown = confirmed.and_then(|stored| {
        let row = project(&stored.document, schema.collection(&stored.collection)?);
        Some(FoundRow { collection: stored.collection.clone(), row })
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
        if let Some(stored) = confirmed {
            found.row.shadowed = shadows(connection, schema, record, stored, live, &found.row)?;
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
    stored: &StoredDocument,
    live: &[Entry],
    shown: &Row,
) -> Result<BTreeSet<String>, StoreError> {
    let mut unseen = unseen_heads(record, &stored.document, live);
    if unseen.is_empty() {
        return Ok(BTreeSet::new());
    }
    let (generation, accepted_tip) = lane::load(connection, record)?;
    unseen.retain(|head| accepted_tip.as_ref() != Some(head));
    let device = meta::read(connection, meta::DEVICE)?;
    let (false, Some(device)) = (unseen.is_empty(), device) else { return Ok(BTreeSet::new()) };
    let frozen = outbox::frozen_of(connection, record)?;
    let document = Some(stored.document.clone());
    let lane = Lane { document, epoch: stored.epoch, generation, accepted_tip, frozen };
    Ok(foresee_shadows(device, schema, record, lane, live, shown).unwrap_or_default())
}

/// Leaves out what edits made under an earlier schema put into fields that are gone or of another kind by now.
fn fit(row: &mut Row, collection: &CollectionSchema) {
    let kind = |name: &str| collection.field(name).map(|field| field.kind);
    row.fields.retain(|name, value| kind(name) == Some(value.kind()));
    row.marks.retain(|name, mark| {
        kind(name).is_some_and(|kind| mark.value.as_ref().is_none_or(|value| value.kind() == kind))
    });
}

/// Makes the row of a record anew. Touched is the record in the collection it was in, and in the one it is in.
pub(crate) fn refresh(
    connection: &Connection,
    schema: &Schema,
    record: RecordId,
    confirmed: Option<&StoredDocument>,
) -> Result<Touched, StoreError> {
    let mut touched = Touched::default();
    if let Some(collection) = record::collection(connection, record)? {
        touched.add(&collection, record);
    }
    let live = outbox::live_of(connection, record)?;
    match fresh_row(connection, schema, record, confirmed, &live)? {
        Some(found) => {
            touched.add(&found.collection, record);
            record::save(connection, schema, record, &found, false)?;
        }
        None => record::remove(connection, record)?,
    }
    Ok(touched)
}

/// Makes the row of a record anew from the document in the store.
pub(crate) fn refresh_stored(
    connection: &Connection,
    schema: &Schema,
    record: RecordId,
) -> Result<Touched, StoreError> {
    let stored = document::load(connection, record)?;
    refresh(connection, schema, record, stored.as_ref())
}
