//! A local edit: the change set in the outbox and the new rows, in one transaction; no document is loaded.

use haversack_core::id_map::{rewrite_change_set, rewrite_row};
use haversack_core::outbox::{BaseHeads, EntryState};
use haversack_core::{ChangeSet, EditRefusal, Intent, Part, Reference, Row, ValueRefusal, overlay};
use haversack_protocol::limits::{CHANGE_BYTES_MAX, CHANGE_OPS_MAX, CHANGE_SET_BYTES_MAX};
use haversack_protocol::{ChangeSetId, Code, RecordId, Rejection, Role, Schema};
use rusqlite::Connection;

use super::touched::Touched;
use crate::StoreError;
use crate::table::record::FoundRow;
use crate::table::{document, erased, id_map, meta, outbox, record, restricted, tail};

/// Stores an edit and shows it. Refused edits leave nothing behind.
pub(crate) fn local_write(
    connection: &Connection,
    schema: &Schema,
    mut change_set: ChangeSet,
    entries_max: u64,
) -> Result<Touched, StoreError> {
    let role = meta::read(connection, meta::ROLE)?.unwrap_or(Role::Mentor);
    change_set.check(schema, role)?;
    check_sizes(&change_set)?;
    keep_live_predecessors(connection, &mut change_set)?;
    check_references(connection, schema, &change_set)?;
    id_map::resolving(connection, |resolve| rewrite_change_set(&mut change_set, resolve))?;
    refuse_erased(connection, &change_set)?;
    refuse_restricted(connection, &change_set)?;
    for part in &change_set.parts {
        show(connection, schema, part, change_set.schema_version)?;
    }
    let base = change_set.parts.iter().map(|part| base_heads(connection, part.record));
    let base = base.collect::<Result<Vec<_>, _>>()?;
    tail::append(connection, &change_set, &base, priority(schema, &change_set), entries_max)?;
    Ok(touched_by(&change_set))
}

/// Nothing of what was erased comes back, also when somebody imports it anew under its old id.
fn refuse_erased(connection: &Connection, change_set: &ChangeSet) -> Result<(), StoreError> {
    if erased::is_empty(connection)? {
        return Ok(());
    }
    for part in &change_set.parts {
        if erased::contains(connection, part.record)? {
            return Err(EditRefusal::Erased(part.record).into());
        }
    }
    Ok(())
}

/// What the server is known to refuse is not taken here, either.
fn refuse_restricted(connection: &Connection, change_set: &ChangeSet) -> Result<(), StoreError> {
    for part in &change_set.parts {
        if restricted::contains(connection, part.record)? {
            return Err(EditRefusal::Restricted(part.record).into());
        }
    }
    Ok(())
}

fn touched_by(change_set: &ChangeSet) -> Touched {
    let mut touched = Touched::default();
    change_set.parts.iter().for_each(|part| touched.add(&part.collection, part.record));
    touched
}

/// Forgets a change set that was set aside for good. What was parked for its sake waits for nothing any more and is
/// refused with it.
pub(crate) fn discard(connection: &Connection, id: ChangeSetId) -> Result<Touched, StoreError> {
    tail::file(connection)?;
    let entry = outbox::find(connection, id)?.ok_or(StoreError::UnknownChangeSet(id))?;
    if entry.state.set_aside().is_none() {
        return Err(StoreError::NotSetAside(id));
    }
    let dependant = Rejection { root_cause: Some(id), ..Rejection::of(Code::DependencyRejected) };
    let mut touched = touched_by(&entry.change_set);
    for parked in outbox::parked_for(connection, id)? {
        outbox::set_aside(connection, parked.order, &EntryState::Rejected(dependant.clone()))?;
        touched.extend(touched_by(&parked.change_set));
    }
    outbox::remove(connection, entry.order)?;
    Ok(touched)
}

/// Replaces change sets that were set aside, each by the one beside it.
pub(crate) fn resubmit(
    connection: &Connection,
    schema: &Schema,
    replaced: Vec<(ChangeSetId, ChangeSet)>,
    entries_max: u64,
) -> Result<Touched, StoreError> {
    let mut touched = Touched::default();
    for (id, corrected) in replaced {
        touched.extend(discard(connection, id)?);
        touched.extend(local_write(connection, schema, corrected, entries_max)?);
    }
    Ok(touched)
}

/// Half of what one change may hold, and what a whole change set may: values are written beside their keys, and asserting a value takes two operations.
fn check_sizes(change_set: &ChangeSet) -> Result<(), EditRefusal> {
    let mut sum = 0;
    for part in &change_set.parts {
        let bytes = minicbor::to_vec(&part.intents).expect("writing to a vector cannot fail");
        sum += bytes.len();
        if sum > CHANGE_SET_BYTES_MAX
            || bytes.len() > CHANGE_BYTES_MAX / 2
            || part.intents.len() as u64 > CHANGE_OPS_MAX / 2
        {
            return Err(EditRefusal::TooLarge(part.record));
        }
    }
    Ok(())
}

/// Keeps what the change set is declared after as far as it is still on its way: what arrived cannot fall any more, and
/// what is unknown would be waited for without end.
fn keep_live_predecessors(connection: &Connection, change_set: &mut ChangeSet) -> Result<(), StoreError> {
    if !change_set.after.is_empty() {
        tail::file(connection)?;
    }
    let mut live = Vec::new();
    for id in std::mem::take(&mut change_set.after) {
        match outbox::find(connection, id)?.map(|entry| entry.state) {
            Some(EntryState::Pending | EntryState::Frozen) => live.push(id),
            Some(_) => return Err(EditRefusal::AfterRefused(id).into()),
            None => {}
        }
    }
    change_set.after = live;
    Ok(())
}

/// Every reference names a record of the field's target: on this device, or created by the same change set.
fn check_references(
    connection: &Connection,
    schema: &Schema,
    change_set: &ChangeSet,
) -> Result<(), StoreError> {
    for (part, field, reference) in change_set.references() {
        let target = schema
            .collection(&part.collection)
            .and_then(|collection| collection.field(field))
            .and_then(|field| field.target.as_deref());
        let record = match reference {
            Reference::Record(record) => Some(*record),
            Reference::Server(server_id) => id_map::holder(connection, server_id)?,
        };
        let found = match record {
            Some(record) => match created_in(change_set, record) {
                Some(collection) => Some(collection.to_owned()),
                None => record::collection(connection, record)?,
            },
            None => None,
        };
        if found.is_none() || found.as_deref() != target {
            let (collection, field) = (part.collection.clone(), field.to_owned());
            return Err(EditRefusal::UnknownReference { collection, field }.into());
        }
    }
    Ok(())
}

fn created_in(change_set: &ChangeSet, record: RecordId) -> Option<&str> {
    let mut created = change_set.parts.iter().filter(|part| part.creates && part.record == record);
    created.next().map(|part| part.collection.as_str())
}

/// Lays the part over the row that is shown.
fn show(
    connection: &Connection,
    schema: &Schema,
    part: &Part,
    schema_version: u32,
) -> Result<(), StoreError> {
    let before = record::load(connection, schema, part.record)?;
    let mut row = match before {
        None if part.creates => {
            let collection = schema.collection(&part.collection);
            collection.map(|known| Row::created(known, schema_version)).unwrap_or_default()
        }
        Some(found) if !part.creates && found.collection == part.collection => found.row,
        _ => return Err(EditRefusal::UnknownRecord(part.record).into()),
    };
    overlay(&mut row, part);
    let added_to = part.intents.iter().filter_map(|intent| match intent {
        Intent::Add { field, .. } => Some(field.as_str()),
        _ => None,
    });
    if let Some(field) = row.overfull_set(added_to) {
        let (collection, field) = (part.collection.clone(), field.to_owned());
        return Err(EditRefusal::Value { collection, field, source: ValueRefusal::TooMany }.into());
    }
    id_map::resolving(connection, |resolve| rewrite_row(&mut row, resolve))?;
    let found = FoundRow { collection: part.collection.clone(), row };
    record::save(connection, schema, part.record, &found, true)
}

fn base_heads(connection: &Connection, record: RecordId) -> Result<BaseHeads, StoreError> {
    let (epoch, heads) = document::heads(connection, record)?.unwrap_or_default();
    Ok(BaseHeads { record, epoch, heads })
}

/// A change set goes before others for the sake of what it creates.
fn priority(schema: &Schema, change_set: &ChangeSet) -> u8 {
    let created = change_set.parts.iter().filter(|part| part.creates);
    let collections = created.filter_map(|part| schema.collection(&part.collection));
    collections.map(|collection| collection.send_priority).max().unwrap_or(0)
}
