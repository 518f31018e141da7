//! Preparing an opened store for a schema: identity, indexes, and rows made anew when the schema changed.

use std::collections::BTreeSet;

use haversack_protocol::{InstallationId, Schema};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::Connection;

use super::let_go::forget_edits_of_what_is_kept;
use super::materialise::refresh_stored;
use crate::StoreError;
use crate::query::index;
use crate::table::{document, meta, outbox, record, tail};

/// Raised when rows or indexes are made differently from the same schema.
const ROW_FORMAT: u8 = 2;

/// Prepares the store for `schema`. Documents, outbox and cursor stay as they are.
pub(crate) fn prepare(connection: &Connection, schema: &Schema) -> Result<(), StoreError> {
    if meta::read::<InstallationId>(connection, meta::INSTALLATION)?.is_none() {
        meta::write(connection, meta::INSTALLATION, &draw_installation()?)?;
    }
    let fingerprint = fingerprint(schema)?;
    if meta::read(connection, meta::SCHEMA)? == Some(fingerprint.clone()) {
        return Ok(());
    }
    tail::file(connection)?;
    forget_edits_of_what_is_kept(connection, schema)?;
    index::make(connection, schema)?;
    let mut records: BTreeSet<_> = record::records(connection)?.into_iter().collect();
    records.extend(document::records(connection)?);
    records.extend(outbox::live_records(connection)?);
    for record in records {
        refresh_stored(connection, schema, record)?;
    }
    meta::write(connection, meta::SCHEMA, &fingerprint)
}

fn draw_installation() -> Result<InstallationId, StoreError> {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| StoreError::NoAccess)?;
    Ok(InstallationId::from_uuid(uuid::Builder::from_random_bytes(bytes).into_uuid()))
}

fn fingerprint(schema: &Schema) -> Result<String, StoreError> {
    let text = serde_json::to_string(schema).map_err(|_| StoreError::Unreadable("schema"))?;
    let hash = digest(&SHA256, text.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{ROW_FORMAT}:{hash}"))
}
