//! Letting records go: what is settled and was kept for as long as its collection says leaves the device; the server has it.
//!
//! Never touches a record that an entry of the outbox concerns, whatever its state.

use haversack_core::is_past_keeping;
use haversack_protocol::{RecordId, Schema, UnixMillis};
use rusqlite::Connection;

use super::materialise::refresh;
use super::touched::Touched;
use crate::StoreError;
use crate::table::{document, keeping, meta, outbox, quarantine, tail};

/// Looks for records that were kept for long enough, settled or not. Of those whose last edit was never noted, for their
/// collection was kept for ever until then, the time begins now.
pub(crate) fn aged(
    connection: &Connection,
    schema: &Schema,
    now: UnixMillis,
) -> Result<Vec<RecordId>, StoreError> {
    let mut found = Vec::new();
    for (name, collection) in &schema.collections {
        let Some(keep_days) = collection.keep_days else { continue };
        keeping::begin(connection, name, now)?;
        let edited = keeping::edited(connection, name)?.into_iter();
        found.extend(edited.filter(|(_, at)| is_past_keeping(keep_days, *at, now)).map(|(record, _)| record));
    }
    meta::write(connection, meta::LET_GO, &now)?;
    Ok(found)
}

/// Lets those of the records go that are settled and still aged.
pub(crate) fn let_go(
    connection: &Connection,
    schema: &Schema,
    now: UnixMillis,
    records: &[RecordId],
) -> Result<Touched, StoreError> {
    tail::file(connection)?;
    let mut touched = Touched::default();
    for &record in records {
        if outbox::concerns(connection, record)? || !is_aged(connection, schema, record, now)? {
            continue;
        }
        // The device's own line of changes stays: should the record come back, no number of it is used twice.
        document::remove(connection, record)?;
        quarantine::remove(connection, record)?;
        keeping::let_go(connection, record, true)?;
        touched.extend(refresh(connection, schema, record, None)?);
    }
    if !touched.is_empty() {
        meta::write(connection, meta::UNSWEPT, &true)?;
    }
    Ok(touched)
}

fn is_aged(
    connection: &Connection,
    schema: &Schema,
    record: RecordId,
    now: UnixMillis,
) -> Result<bool, StoreError> {
    let Some(stored) = document::load(connection, record)? else { return Ok(false) };
    let keep_days = schema.collection(&stored.collection).and_then(|collection| collection.keep_days);
    let edited_at = keeping::edited_at(connection, record)?;
    Ok(keep_days.zip(edited_at).is_some_and(|(days, at)| is_past_keeping(days, at, now)))
}

/// Forgets when records of collections that are kept for ever were edited: it is not noted any more.
pub(super) fn forget_edits_of_what_is_kept(
    connection: &Connection,
    schema: &Schema,
) -> Result<(), StoreError> {
    for name in document::collections(connection)? {
        if schema.collection(&name).is_none_or(|collection| collection.keep_days.is_none()) {
            keeping::end(connection, &name)?;
        }
    }
    Ok(())
}
