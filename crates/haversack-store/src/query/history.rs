//! The history of a record, with who wrote what, when, and where in the log.

use haversack_core::id_map::rewrite_write;
use haversack_core::outbox::Entry;
use haversack_core::{EditRefusal, Origin, PastWrite, Standing, Write, history as history_of};
use haversack_protocol::{DeviceId, PrincipalId, RecordId, Schema, UnixMillis};
use rusqlite::Connection;

use crate::StoreError;
use crate::table::{document, envelope, id_map, meta, outbox, record};

/// One write of a record's history, with what is known of its author.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryEntry {
    /// What was written.
    pub write: Write,
    /// What became of it.
    pub standing: Standing,
    /// Where it comes from.
    pub origin: Origin,
    /// Who wrote it, where known.
    pub principal: Option<PrincipalId>,
    /// Device it was written on, once the store is bound to one.
    pub device: Option<DeviceId>,
    /// Device time of the writing, where known.
    pub at: Option<UnixMillis>,
    /// Server clock minus device clock when it was sent, in milliseconds, where known.
    pub skew_ms: Option<i64>,
    /// Its position in the log, where known.
    pub position: Option<u64>,
}

/// Lists every write of a record, or those that concern one field: its own, and the record's deletions and restorings.
pub(crate) fn history(
    connection: &Connection,
    schema: &Schema,
    record: RecordId,
    field: Option<&str>,
) -> Result<Vec<HistoryEntry>, StoreError> {
    let name = record::collection(connection, record)?.ok_or(StoreError::UnknownRecord(record))?;
    let collection = schema.collection(&name).ok_or(StoreError::UnknownRecord(record))?;
    if let Some(field) = field.filter(|field| collection.field(field).is_none()) {
        return Err(EditRefusal::UnknownField { collection: name, field: field.to_owned() }.into());
    }
    let stored = document::load(connection, record)?;
    let confirmed = stored.as_ref().map(|stored| &stored.document);
    let live = live_of(connection, record)?;
    let past = history_of(record, collection, confirmed, &live)
        .map_err(|source| StoreError::Document { record, source })?;
    let is_wanted = |past: &PastWrite| match (field, past.write.field()) {
        (Some(wanted), Some(found)) => wanted == found,
        _ => true,
    };
    past.into_iter().filter(is_wanted).map(|past| entry(connection, past)).collect()
}

/// Live entries that touch the record, those of the tail included.
fn live_of(connection: &Connection, record: RecordId) -> Result<Vec<Entry>, StoreError> {
    let mut live = outbox::live_of(connection, record)?;
    if record::is_edited(connection, record)? {
        live.extend(outbox::in_tail_of(connection, record)?);
    }
    Ok(live)
}

fn entry(connection: &Connection, past: PastWrite) -> Result<HistoryEntry, StoreError> {
    let PastWrite { mut write, standing, origin } = past;
    id_map::resolving(connection, |resolve| rewrite_write(&mut write, resolve))?;
    let mut entry = HistoryEntry {
        write,
        standing,
        origin,
        principal: None,
        device: None,
        at: None,
        skew_ms: None,
        position: None,
    };
    match &entry.origin {
        Origin::Accepted { change, device, .. } => {
            let known = envelope::load(connection, *change)?;
            entry.principal = envelope::principal(connection, *device)?;
            entry.device = Some(*device);
            entry.at = known.as_ref().map(|known| known.at);
            entry.skew_ms = known.as_ref().map(|known| known.skew_ms);
            entry.position = known.map(|known| known.position);
        }
        Origin::Waiting { at, .. } => {
            entry.principal = meta::read(connection, meta::PRINCIPAL)?;
            entry.device = meta::read(connection, meta::DEVICE)?;
            entry.at = Some(*at);
        }
        _ => {}
    }
    Ok(entry)
}
