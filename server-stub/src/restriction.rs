//! Restricting a record: it is read as before, and no edit of it is taken until that is lifted.
//!
//! Started by whoever operates the server, never over the wire.

use std::path::Path;

use haversack_core::Reference;
use haversack_protocol::{RecordId, ServerId};
use serde::Serialize;

use crate::ServerError;
use crate::erasure::find;
use crate::store::{
    PushTransaction, StoredRestriction, open_existing, open_read_only, restrictions as stored,
};

/// What a restricting or a lifting did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restricted {
    /// No edit of the record is taken.
    pub is_restricted: bool,
    /// Position of the row that tells devices; `None` when there was nothing to lift.
    pub position: Option<u64>,
}

/// A record of which no edit is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestrictionReport {
    /// The record.
    pub record: RecordId,
    /// Its server id.
    pub server_id: Option<ServerId>,
    /// Position of the row that tells devices.
    pub position: u64,
}

/// Restricts a record, or lifts that; a server may run beside it. What is so already stays, without another row.
///
/// # Errors
/// [`ServerError::UnknownRecord`] when the database has no such record, among others.
pub fn restrict(database: &Path, record: &Reference, is_restricted: bool) -> Result<Restricted, ServerError> {
    let (mut connection, identity) = open_existing(database)?;
    let mut transaction = PushTransaction::begin(&mut connection, &identity)?;
    let id = find(&transaction, record)?;
    transaction.names(id)?.ok_or(ServerError::UnknownRecord)?;
    let known = transaction.restricted_at(id)?;
    if known.is_some() == is_restricted {
        return Ok(Restricted { is_restricted, position: known });
    }
    let position = transaction.restrict(id, is_restricted)?;
    transaction.commit()?;
    Ok(Restricted { is_restricted, position: Some(position) })
}

/// Every restricted record, in the order they were restricted; a server may run beside it.
///
/// # Errors
/// [`ServerError::Store`] when the database cannot be read.
pub fn restrictions(database: &Path) -> Result<Vec<RestrictionReport>, ServerError> {
    let report =
        |StoredRestriction { record, server_id, position }| RestrictionReport { record, server_id, position };
    Ok(stored(&open_read_only(database)?)?.into_iter().map(report).collect())
}
