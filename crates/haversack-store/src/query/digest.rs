//! Converged state in one number, and the checks that hold rows to documents and to the id map.

use std::collections::{BTreeMap, BTreeSet};

use haversack_core::outbox::{Entry, EntryState};
use haversack_core::{Intent, StateDigest, canonical_record, passed_over, project, shows_temporary_id};
use haversack_protocol::{RecordId, Schema};
use rusqlite::Connection;

use crate::StoreError;
use crate::table::{document, id_map, outbox, record};
use crate::unit_of_work::fresh_row;

/// The digest of what rows show.
pub(crate) fn digest_from_rows(connection: &Connection, schema: &Schema) -> Result<StateDigest, StoreError> {
    let mut digest = StateDigest::default();
    record::each(connection, schema, |found| {
        let server_id = found.server_id.as_ref();
        digest.add(&canonical_record(found.record, server_id, &found.collection, &found.row));
        Ok(())
    })?;
    Ok(digest)
}

/// The digest of what confirmed documents hold.
pub(crate) fn digest_from_documents(
    connection: &Connection,
    schema: &Schema,
) -> Result<StateDigest, StoreError> {
    let mut digest = StateDigest::default();
    for record in document::records(connection)? {
        let Some(stored) = document::load(connection, record)? else { continue };
        let Some(collection) = schema.collection(&stored.collection) else { continue };
        let row = project(&stored.document, collection);
        let server_id = id_map::server_id(connection, record)?;
        digest.add(&canonical_record(record, server_id.as_ref(), &stored.collection, &row));
    }
    Ok(digest)
}

/// Names what a record's document and live entries hold and its row does not show, for want of a field in the schema.
pub(crate) fn fields_without_schema(
    connection: &Connection,
    schema: &Schema,
    record: RecordId,
) -> Result<BTreeSet<String>, StoreError> {
    let stored = document::load(connection, record)?;
    let unread = |stored: &document::StoredDocument| {
        Some(passed_over(&stored.document, schema.collection(&stored.collection)?))
    };
    let mut names = stored.as_ref().and_then(unread).unwrap_or_default();
    for entry in outbox::live_of(connection, record)? {
        for part in entry.change_set.parts.iter().filter(|part| part.record == record) {
            let Some(collection) = schema.collection(&part.collection) else { continue };
            let written = part.intents.iter().filter_map(Intent::field);
            names.extend(written.filter(|field| collection.field(field).is_none()).map(str::to_owned));
        }
    }
    Ok(names)
}

/// Counts temporary ids that are visible anywhere: rows, documents, and entries that are not under way.
pub(crate) fn temporary_ids(connection: &Connection, schema: &Schema) -> Result<u64, StoreError> {
    let mut count = 0;
    let is_assigned = |record: RecordId| id_map::server_id(connection, record).map(|id| id.is_some());
    record::each(connection, schema, |found| {
        for (target, _) in record::temporary_references(&found.row) {
            count += u64::from(is_assigned(target)?);
        }
        Ok(())
    })?;
    for record in document::records(connection)? {
        let Some(stored) = document::load(connection, record)? else { continue };
        let Some(collection) = schema.collection(&stored.collection) else { continue };
        let row = project(&stored.document, collection);
        let shows =
            id_map::resolving(connection, |resolve| shows_temporary_id(&row, |id| resolve(id).is_some()))?;
        count += u64::from(shows);
    }
    for entry in outbox::list(connection)? {
        if entry.state != EntryState::Frozen {
            count += outbox::temporary_ids(connection, &entry.change_set)?;
        }
    }
    Ok(count + record::assigned_references(connection)?)
}

/// Describes every record whose row is not what its document and the outbox make of it.
pub(crate) fn stale_rows(connection: &Connection, schema: &Schema) -> Result<Vec<String>, StoreError> {
    let mut records = record::records(connection)?;
    records.extend(document::records(connection)?);
    let mut live: BTreeMap<RecordId, Vec<Entry>> = BTreeMap::new();
    for entry in outbox::list(connection)?.into_iter().filter(Entry::is_live) {
        for part in &entry.change_set.parts {
            live.entry(part.record).or_default().push(entry.clone());
        }
    }
    records.extend(live.keys());
    records.sort_unstable();
    records.dedup();
    let mut findings = Vec::new();
    for record in records {
        let stored = document::load(connection, record)?;
        let live = live.get(&record).map_or(&[][..], Vec::as_slice);
        let fresh = fresh_row(connection, schema, record, stored.as_ref(), live)?.map(|found| found.row);
        let shown = record::load(connection, schema, record)?.map(|found| found.row);
        if fresh != shown {
            findings
                .push(format!("the row of record {record} is not what its document and edits make of it"));
        }
    }
    Ok(findings)
}
