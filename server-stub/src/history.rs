//! The history of a record as the server keeps it: of the epoch it is in, and of those that compaction ended, which devices no
//! longer have.

use std::path::Path;

use haversack_core::{
    Document, Origin, PastWrite, Reference, Standing, Value, Write, history as history_of, value_to_json,
};
use haversack_protocol::{ChangeHash, CollectionSchema, DeviceId, PrincipalId, Schema};
use serde::Serialize;
use serde_json::Value as Json;

use crate::ServerError;
use crate::store::{Past, StoreRefusal, open_read_only};

/// One write of a record.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecordedWrite {
    /// Epoch it was made in; an epoch begins with what the one before showed.
    pub epoch: u32,
    /// Field written; `None` for deletions and restorings.
    pub field: Option<String>,
    /// What was done: `set`, `clear`, `add`, `remove`, `increment`, `override`, `release`, `delete`, `restore`.
    pub write: &'static str,
    /// What was written.
    pub value: Option<Json>,
    /// Reason of a mark.
    pub reason: Option<String>,
    /// The field is sensitive, and its values were not asked for.
    pub sensitive_hidden: bool,
    /// What became of it within its epoch: `shown`, `shadowed`, `replaced`, `beaten`.
    pub standing: &'static str,
    /// Who wrote it; `None` for what the server wrote, the beginnings of epochs among that.
    pub principal: Option<PrincipalId>,
    /// On which device.
    pub device: Option<DeviceId>,
    /// When, by that device's clock.
    pub at: Option<String>,
    /// Position in the log.
    pub position: Option<u64>,
    /// The change that holds it.
    pub change: ChangeHash,
}

/// Every write of a record, epoch by epoch; a server may run beside it. Values of sensitive fields only where asked for.
///
/// # Errors
/// [`ServerError::UnknownRecord`] and [`ServerError::UnknownCollection`] among others.
pub fn history(
    database: &Path,
    schema: &Schema,
    record: &Reference,
    with_sensitive: bool,
) -> Result<Vec<RecordedWrite>, ServerError> {
    let mut connection = open_read_only(database)?;
    let past = Past::of(&mut connection, record)?.ok_or(ServerError::UnknownRecord)?;
    let unknown = || ServerError::UnknownCollection(past.collection.clone());
    let collection = schema.collection(&past.collection).ok_or_else(unknown)?;
    let mut told = Vec::new();
    for (epoch, document) in past.documents()? {
        for write in writes(&past, collection, &document)? {
            told.extend(recorded(epoch, collection, write, with_sensitive));
        }
    }
    let origins = past.origins()?;
    for one in &mut told {
        let Some(origin) = origins.get(&one.change) else { continue };
        one.principal = past.principal_of(origin.device)?;
        one.device = Some(origin.device);
        one.at = Some(origin.at.to_string());
        one.position = Some(origin.position);
    }
    Ok(told)
}

fn writes(
    past: &Past<'_>,
    collection: &CollectionSchema,
    document: &Document,
) -> Result<Vec<PastWrite>, StoreRefusal> {
    history_of(past.record, collection, Some(document), &[]).map_err(|_| StoreRefusal::Damaged("document"))
}

fn recorded(
    epoch: u32,
    collection: &CollectionSchema,
    past: PastWrite,
    with_sensitive: bool,
) -> Option<RecordedWrite> {
    let Origin::Accepted { change, .. } = past.origin else { return None };
    let field = past.write.field().map(str::to_owned);
    let is_sensitive = field.as_deref().and_then(|field| collection.field(field));
    let sensitive_hidden = !with_sensitive && is_sensitive.is_some_and(|field| field.sensitive);
    let (write, value, reason) = deed(past.write);
    Some(RecordedWrite {
        epoch,
        field,
        write,
        value: value.filter(|_| !sensitive_hidden).map(|value| value_to_json(&value)),
        reason: reason.filter(|_| !sensitive_hidden),
        sensitive_hidden,
        standing: standing(past.standing),
        principal: None,
        device: None,
        at: None,
        position: None,
        change,
    })
}

fn deed(write: Write) -> (&'static str, Option<Value>, Option<String>) {
    match write {
        Write::Register { value: None, .. } => ("clear", None, None),
        Write::Register { value, .. } => ("set", value, None),
        Write::Member { element, is_added: true, .. } => ("add", Some(Value::Text(element)), None),
        Write::Member { element, .. } => ("remove", Some(Value::Text(element)), None),
        Write::Step { by, .. } => ("increment", Some(Value::Integer(by)), None),
        Write::Mark { mark: Some(mark), .. } => ("override", mark.value, Some(mark.reason)),
        Write::Mark { mark: None, .. } => ("release", None, None),
        Write::Deleted(true) => ("delete", None, None),
        Write::Deleted(false) => ("restore", None, None),
        _ => ("unknown", None, None),
    }
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Shown => "shown",
        Standing::Shadowed => "shadowed",
        Standing::Replaced => "replaced",
        _ => "beaten",
    }
}
