//! Erasing a record for good: at the server at once, on every device with its next exchange, and again in an older database
//! that is put in the place of this one.
//!
//! Started by whoever operates the server, never over the wire. Serves the promise "what was erased is nowhere".

mod compact;
mod ledger;

pub use compact::{Compacted, compact};

use std::collections::BTreeSet;
use std::path::Path;

use haversack_core::{Reference, erased_name, project};
use haversack_protocol::{
    CollectionSchema, DeviceId, ErasedName, ErasureId, PrincipalId, RecordId, Schema, ServerId,
};
use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::Connection;
use serde::Serialize;

use crate::ServerError;
use crate::http::now;
use crate::store::{
    Beginning, ErasureState, Identity, PushTransaction, StoreRefusal, erasures as stored_erasures,
    known_erasures, open_existing, open_read_only, outstanding, sweep,
};
use ledger::LedgerLine;

/// What an erasure did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Position of the row that tells devices.
    pub position: u64,
    /// No byte is left in the file and its log; false when somebody read at that moment: the same call again finishes it.
    pub is_swept: bool,
}

/// A device and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceNamed {
    /// The device.
    pub device: DeviceId,
    /// Whose it is.
    pub principal: PrincipalId,
}

/// An erasure and who has yet to follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErasureReport {
    /// Stands for the record.
    pub record: ErasedName,
    /// Fields erased; `None`: the whole record.
    pub fields: Option<Vec<String>>,
    /// Position of the row that tells devices.
    pub position: u64,
    /// Devices that may still hold it: no receipt came from them.
    pub outstanding: Vec<DeviceNamed>,
}

/// Erases a whole record; a server may run beside it. Erasing it again sweeps the file again.
///
/// # Errors
/// [`ServerError::UnknownRecord`] when the database never had it, among others.
pub fn erase(database: &Path, record: &Reference) -> Result<Erased, ServerError> {
    let (mut connection, identity) = open_existing(database)?;
    let transaction = PushTransaction::begin(&mut connection, &identity)?;
    let id = find(&transaction, record)?;
    let position = if transaction.is_erased(id)? {
        drop(transaction);
        let name = erased_name(id);
        let known = stored_erasures(&connection)?.into_iter();
        known.filter(|one| one.record == name).map(|one| one.position).max().unwrap_or_default()
    } else {
        transaction.names(id)?.ok_or(ServerError::UnknownRecord)?;
        let line = LedgerLine { erasure: draw()?, record: erased_name(id), fields: None, at: now() };
        // Before the database: whatever happens in between, the next start erases it.
        ledger::append(&ledger::path_of(database), &line)?;
        commit(transaction, &line)?
    };
    Ok(Erased { position, is_swept: sweep(&connection)? })
}

/// Erases what fields of a record hold and held, and with them the history of the whole record: it begins a new epoch, in
/// which its other fields show what they show. Without fields only the history goes. A server may run beside it.
///
/// # Errors
/// [`ServerError::InConflict`] when another field has concurrent values, of which only the one shown would be kept, unless
/// `keeps_shown_only` says that this is meant; [`ServerError::UnknownField`] and [`ServerError::UnknownRecord`] among others.
pub fn erase_fields(
    database: &Path,
    schema: &Schema,
    record: &Reference,
    fields: &BTreeSet<String>,
    keeps_shown_only: bool,
) -> Result<Erased, ServerError> {
    let (mut connection, identity) = open_existing(database)?;
    let transaction = PushTransaction::begin(&mut connection, &identity)?;
    let id = find(&transaction, record)?;
    let beginning = beginning(&transaction, schema, identity.log_epoch, id)?;
    if let Some(field) = fields.iter().find(|field| beginning.collection.field(field).is_none()) {
        return Err(ServerError::UnknownField(field.clone()));
    }
    let row = project(&beginning.record.document, beginning.collection);
    let mut divided = row.conflicts.keys().chain(row.beaten_marks.keys());
    if let Some(field) = divided.find(|field| !fields.contains(field.as_str()))
        && !keeps_shown_only
    {
        return Err(ServerError::InConflict(field.to_string()));
    }
    let fields: Vec<String> = fields.iter().cloned().collect();
    let line = LedgerLine { erasure: draw()?, record: erased_name(id), fields: Some(fields), at: now() };
    ledger::append(&ledger::path_of(database), &line)?;
    let position = commit_fields(transaction, &line, beginning)?;
    Ok(Erased { position, is_swept: sweep(&connection)? })
}

/// The record of either name.
pub(crate) fn find(transaction: &PushTransaction<'_>, record: &Reference) -> Result<RecordId, ServerError> {
    let id = match record {
        Reference::Record(record) => Some(*record),
        Reference::Server(server_id) => transaction.holder(server_id)?,
    };
    id.ok_or(ServerError::UnknownRecord)
}

/// A record as it is before it begins anew.
fn beginning<'a>(
    transaction: &PushTransaction<'_>,
    schema: &'a Schema,
    log_epoch: u32,
    id: RecordId,
) -> Result<Beginning<'a>, ServerError> {
    let record = transaction.record(id)?.ok_or(ServerError::UnknownRecord)?;
    let unknown = || ServerError::UnknownCollection(record.collection.clone());
    let collection: &CollectionSchema = schema.collection(&record.collection).ok_or_else(unknown)?;
    Ok(Beginning { id, record, collection, log_epoch })
}

fn commit(mut transaction: PushTransaction<'_>, line: &LedgerLine) -> Result<u64, StoreRefusal> {
    let position = transaction.erase_record(line.erasure, line.record)?;
    transaction.commit()?;
    Ok(position)
}

fn commit_fields(
    mut transaction: PushTransaction<'_>,
    line: &LedgerLine,
    beginning: Beginning<'_>,
) -> Result<u64, StoreRefusal> {
    let fields = line.fields.as_deref().unwrap_or_default();
    let position = transaction.erase_fields(line.erasure, beginning, fields)?;
    transaction.commit()?;
    Ok(position)
}

/// Every erasure, in order, and which devices have yet to follow; a server may run beside it.
///
/// # Errors
/// [`ServerError::Store`] when the database cannot be read.
pub fn erasures(database: &Path) -> Result<Vec<ErasureReport>, ServerError> {
    let connection = open_read_only(database)?;
    let report = |one: crate::store::StoredErasure| {
        let named = outstanding(&connection, one.position)?.into_iter();
        Ok(ErasureReport {
            record: one.record,
            fields: one.fields,
            position: one.position,
            outstanding: named.map(|(device, principal)| DeviceNamed { device, principal }).collect(),
        })
    };
    stored_erasures(&connection)?.into_iter().map(report).collect()
}

/// Erases what the ledger names and the database has not heard of: it is older than the erasure.
///
/// # Errors
/// [`ServerError`]; the server must not serve then.
pub(crate) fn reapply(
    connection: &mut Connection,
    identity: &Identity,
    schema: &Schema,
    database: &Path,
) -> Result<(), ServerError> {
    let lines = ledger::read(&ledger::path_of(database))?;
    let known: BTreeSet<_> = known_erasures(connection)?.into_iter().collect();
    let mut is_swept = true;
    for line in lines.iter().filter(|line| !known.contains(&line.erasure)) {
        let transaction = PushTransaction::begin(connection, identity)?;
        let kept = transaction.behind(line.record)?;
        match (&line.fields, kept) {
            (None, _) => {
                commit(transaction, line)?;
            }
            (Some(_), ErasureState::Kept(id)) => {
                let beginning = beginning(&transaction, schema, identity.log_epoch, id)?;
                commit_fields(transaction, line, beginning)?;
            }
            // The database is older than the record: nothing of these fields is here.
            (Some(_), ErasureState::Absent) => continue,
        }
        is_swept = false;
    }
    if !is_swept {
        sweep(connection)?;
        tracing::warn!(
            "the database was older than its ledger of erasures; what that names was erased again"
        );
    }
    Ok(())
}

fn draw() -> Result<ErasureId, ServerError> {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| ServerError::Random)?;
    Ok(ErasureId::from_bytes(bytes))
}

/// Reads either name of a record.
pub(crate) fn named(text: &str) -> Option<Reference> {
    let record = text.parse::<RecordId>().map(Reference::Record);
    record.or_else(|_| ServerId::new(text).map(Reference::Server)).ok()
}
