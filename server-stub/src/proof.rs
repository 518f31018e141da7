//! The proof of state: what a server's documents say and what its rows say, digested for comparison with devices.

use std::cell::RefCell;
use std::path::Path;

use haversack_core::{Document, Row, StateDigest, canonical_record, project, shows_temporary_id};
use haversack_protocol::Schema;
use serde::Serialize;

use crate::ServerError;
use crate::store::{Reader, StoreRefusal, open_read_only};

/// What the state of a server comes down to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StateProof {
    /// Records.
    pub records: u64,
    /// Records of collections the schema does not have; they are in neither digest.
    pub records_without_schema: u64,
    /// Digest of the canonical records as the documents give them.
    pub from_documents: String,
    /// Digest of the canonical records as the stored rows give them.
    pub from_rows: String,
    /// Records that still show a record id as a reference although that record has a server id.
    pub temporary_ids: u64,
    /// Rows of the log.
    pub log_rows: u64,
    /// Accepted change sets.
    pub accepted: u64,
    /// Rejected change sets.
    pub rejected: u64,
}

/// Proves the state of a database as of one moment; a server may run beside it.
///
/// # Errors
/// [`ServerError::Store`] when it cannot be read, or a record does not fit the schema.
pub fn prove_state(database: &Path, schema: &Schema) -> Result<StateProof, ServerError> {
    let mut connection = open_read_only(database)?;
    let reader = Reader::on(&mut connection)?;
    let (mut from_documents, mut from_rows) = (StateDigest::default(), StateDigest::default());
    let (mut temporary_ids, mut records_without_schema) = (0, 0);
    reader.each_record(|id, collection_name, server_id, document, text| {
        let Some(collection) = schema.collection(collection_name) else {
            records_without_schema += 1;
            return Ok(());
        };
        let document = Document::load(document).map_err(|_| StoreRefusal::Damaged("document"))?;
        let stored = Row::from_text(collection, text).map_err(|_| StoreRefusal::Damaged("row"))?;
        let projected = project(&document, collection);
        from_documents.add(&canonical_record(id, Some(server_id), collection_name, &projected));
        from_rows.add(&canonical_record(id, Some(server_id), collection_name, &stored));
        let is_temporary = shows_temporary(&reader, &projected)? || shows_temporary(&reader, &stored)?;
        temporary_ids += u64::from(is_temporary);
        Ok(())
    })?;
    let (log_rows, accepted, rejected) = reader.counts()?;
    Ok(StateProof {
        records: from_documents.records(),
        records_without_schema,
        from_documents: from_documents.finish(),
        from_rows: from_rows.finish(),
        temporary_ids,
        log_rows,
        accepted,
        rejected,
    })
}

fn shows_temporary(reader: &Reader<'_>, row: &Row) -> Result<bool, StoreRefusal> {
    let failure = RefCell::new(None);
    let is_temporary = shows_temporary_id(row, |record| {
        reader.has_server_id(record).unwrap_or_else(|refusal| {
            failure.replace(Some(refusal));
            false
        })
    });
    failure.into_inner().map_or(Ok(is_temporary), Err)
}
