//! The history of a record: every write that was accepted of it and every edit that waits, in causal order, and what
//! became of each.
//!
//! Read from the changes of the confirmed document, so it is the same on every device that has the same changes, in
//! whatever order they came. Never decides what is shown: it says of each write what projection and overlay made of it.

use std::collections::{BTreeMap, BTreeSet};

use automerge::legacy::{Key as OpKey, Op, OpType};
use automerge::{ObjId, ROOT, ReadDoc};
use haversack_protocol::{
    ChangeHash, ChangeSetId, CollectionSchema, DeviceId, FieldKind, RecordId, UnixMillis,
};

use crate::admission::Write;
use crate::conflict::{Concurrent, author_of, concurrent};
use crate::outbox::{Entry, EntryState};
use crate::override_mark::Mark;
use crate::record::document::{contained, hash_out};
use crate::record::{Document, DocumentRefusal, Intent, Key, Value};

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// What it did is what is shown: the value, a step that counts, a member that is there, a removal that holds.
    Shown,
    /// Its value would be shown, but an override mark covers it.
    Shadowed,
    /// A later write that knew it took its place; or, on this device, an edit that waits.
    Replaced,
    /// A concurrent write comes later in the order all devices share; of a removal, a concurrent write put it back.
    Beaten,
}

/// Where a write comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The server accepted it.
    Accepted {
        /// Change that holds it.
        change: ChangeHash,
        /// Device whose user wrote it.
        device: DeviceId,
        /// The server put a server id in the place of a temporary id; the choice is still the user's.
        is_rewrite: bool,
    },
    /// It waits in this device's outbox.
    Waiting {
        /// Change set that holds it.
        change_set: ChangeSetId,
        /// Device time of the edit.
        at: UnixMillis,
        /// It may have reached the server.
        is_sending: bool,
    },
}

/// One write of a record's history.
#[derive(Clone, Debug, PartialEq)]
pub struct PastWrite {
    /// What was written.
    pub write: Write,
    /// What became of it.
    pub standing: Standing,
    /// Where it comes from.
    pub origin: Origin,
}

/// Name of an operation: counter, then actor bytes. Ascends along every chain of dependencies.
type Operation = (u64, Vec<u8>);

/// An operation of the document, read as a write.
struct Found {
    operation: Operation,
    change: ChangeHash,
    key: String,
    write: Write,
}

/// Lists every write of a record: those of the confirmed document in causal order (dependencies first, then by operation
/// counter and actor), then those of its live entries (`live`, in order). Writes of fields the schema does not have, or
/// has as another kind, are passed over, as rows pass over them.
///
/// # Errors
/// [`DocumentRefusal`] for a document whose changes cannot be read.
pub fn history(
    record: RecordId,
    collection: &CollectionSchema,
    confirmed: Option<&Document>,
    live: &[Entry],
) -> Result<Vec<PastWrite>, DocumentRefusal> {
    let mut keyed = confirmed.map_or(Ok(vec![]), |document| accepted(document, collection))?;
    for entry in live {
        for part in entry.change_set.parts.iter().filter(|part| part.record == record) {
            let origin = Origin::Waiting {
                change_set: entry.change_set.id,
                at: entry.change_set.at,
                is_sending: entry.state == EntryState::Frozen,
            };
            part.intents.iter().for_each(|intent| lay_over(&mut keyed, collection, intent, &origin));
        }
    }
    shadow(&mut keyed);
    Ok(keyed.into_iter().map(|(_, past)| past).collect())
}

/// Writes of the confirmed document with their keys.
fn accepted(
    document: &Document,
    collection: &CollectionSchema,
) -> Result<Vec<(String, PastWrite)>, DocumentRefusal> {
    let changes = contained(|| Ok(document.inner.get_changes(&[])))?;
    let mut found = Vec::new();
    let mut dependencies = Vec::with_capacity(changes.len());
    for change in &changes {
        let hash = hash_out(change.hash());
        dependencies.push((hash, change.deps().iter().copied().map(hash_out).collect::<Vec<_>>()));
        let expanded = contained(|| Ok(change.decode()))?;
        let actor = change.actor_id().to_bytes();
        let operations = (change.start_op().get()..).zip(&expanded.operations);
        found.extend(writes(collection, operations, actor, hash));
    }
    found.sort_by(|a, b| a.operation.cmp(&b.operation));
    let standings = standings(document, collection, &found, &dependencies);
    let past = found.into_iter().zip(standings).map(|(found, standing)| {
        let (device, is_rewrite) = author_of(found.operation.0, &found.operation.1);
        let origin = Origin::Accepted { change: found.change, device, is_rewrite };
        (found.key, PastWrite { write: found.write, standing, origin })
    });
    Ok(past.collect())
}

/// The writes of one change. Asserting a value takes two operations on its key, of which the last is the write; steps
/// all count.
fn writes<'o>(
    collection: &CollectionSchema,
    operations: impl Iterator<Item = (u64, &'o Op)>,
    actor: &[u8],
    change: ChangeHash,
) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for (counter, op) in operations {
        let OpKey::Map(key) = &op.key else { continue };
        let Some(write) = Key::parse(key).and_then(|key| write_of(collection, key, &op.action)) else {
            continue;
        };
        if !matches!(write, Write::Step { .. }) {
            found.retain(|earlier| earlier.key != key.as_str());
        }
        found.push(Found { operation: (counter, actor.to_vec()), change, key: key.to_string(), write });
    }
    found
}

/// Reads an operation as a write; `None` for what no row shows.
fn write_of(collection: &CollectionSchema, key: Key<'_>, action: &OpType) -> Option<Write> {
    let kind = |field: &str| collection.field(field).map(|field| field.kind);
    Some(match (key, action) {
        (Key::Register(name), OpType::Put(scalar)) => {
            let kind = kind(name).filter(|kind| kind.is_register())?;
            Write::Register { field: name.to_owned(), value: Value::from_scalar(kind, scalar) }
        }
        (Key::Counter(name), OpType::Increment(by)) if kind(name)? == FieldKind::Counter => {
            Write::Step { field: name.to_owned(), by: *by }
        }
        (Key::Member(name, element), OpType::Put(_) | OpType::Delete) if kind(name)? == FieldKind::Set => {
            let is_added = matches!(action, OpType::Put(_));
            Write::Member { field: name.to_owned(), element: element.to_owned(), is_added }
        }
        (Key::Override(name), OpType::Put(scalar)) => {
            let kind = kind(name)?;
            let mark = Mark::from_scalar(scalar).filter(|mark| fits(mark, kind))?;
            Write::Mark { field: name.to_owned(), mark: Some(mark) }
        }
        (Key::Override(name), OpType::Delete) => {
            kind(name)?;
            Write::Mark { field: name.to_owned(), mark: None }
        }
        (Key::Deleted, OpType::Put(_)) => Write::Deleted(true),
        (Key::Deleted, OpType::Delete) => Write::Deleted(false),
        _ => return None,
    })
}

fn fits(mark: &Mark, kind: FieldKind) -> bool {
    mark.value.as_ref().is_none_or(|value| value.kind() == kind)
}

/// What became of each write, marks that cover values not counted.
fn standings(
    document: &Document,
    collection: &CollectionSchema,
    found: &[Found],
    dependencies: &[(ChangeHash, Vec<ChangeHash>)],
) -> Vec<Standing> {
    let mut visible: BTreeMap<&str, Vec<Operation>> = BTreeMap::new();
    let mut all = Vec::with_capacity(found.len());
    for write in found {
        let visible =
            visible.entry(&write.key).or_insert_with(|| visible_operations(document, collection, &write.key));
        let place = visible.iter().position(|operation| *operation == write.operation);
        let is_ranked = matches!(write.write, Write::Register { .. } | Write::Mark { .. });
        all.push(match (&write.write, place) {
            (Write::Step { .. }, _) | (_, Some(0)) => Standing::Shown,
            (_, Some(_)) if is_ranked => Standing::Beaten,
            (_, Some(_)) => Standing::Shown,
            (write_of_key, None) if !removes(write_of_key) => Standing::Replaced,
            (_, None) if is_followed(write, found, dependencies) => Standing::Replaced,
            (_, None) if visible.is_empty() => Standing::Shown,
            (_, None) => Standing::Beaten,
        });
    }
    all
}

fn removes(write: &Write) -> bool {
    matches!(
        write,
        Write::Deleted(false) | Write::Member { is_added: false, .. } | Write::Mark { mark: None, .. }
    )
}

/// Operations that put a value which is still visible, the winning one first.
fn visible_operations(document: &Document, collection: &CollectionSchema, key: &str) -> Vec<Operation> {
    let name_of = |operation: &ObjId| match operation {
        ObjId::Id(counter, actor, _) => Some((*counter, actor.to_bytes().to_vec())),
        ObjId::Root => None,
    };
    let is_shown = |one: &Concurrent| match Key::parse(key) {
        Some(Key::Override(name)) => {
            let kind = collection.field(name).map(|field| field.kind);
            let mark = Mark::from_scalar(&one.value);
            mark.zip(kind).is_some_and(|(mark, kind)| fits(&mark, kind))
        }
        _ => true,
    };
    match Key::parse(key) {
        Some(Key::Register(_) | Key::Override(_)) => {
            let all = concurrent(&document.inner, key);
            all.iter().filter(|one| is_shown(one)).filter_map(|one| name_of(&one.operation)).collect()
        }
        _ => {
            let all = document.inner.get_all(ROOT, key).unwrap_or_default();
            all.iter().filter_map(|(_, operation)| name_of(operation)).collect()
        }
    }
}

/// Says whether a write of the same key was made by somebody who knew this one. Linear in the history of the record.
fn is_followed(write: &Found, found: &[Found], dependencies: &[(ChangeHash, Vec<ChangeHash>)]) -> bool {
    let mut knows = BTreeSet::from([write.change]);
    for (change, needs) in dependencies {
        if needs.iter().any(|need| knows.contains(need)) {
            knows.insert(*change);
        }
    }
    let mut others = found.iter().filter(|other| other.key == write.key && other.change != write.change);
    others.any(|other| knows.contains(&other.change))
}

/// Lays an intent over the history: it knew all that is shown here.
fn lay_over(
    history: &mut Vec<(String, PastWrite)>,
    collection: &CollectionSchema,
    intent: &Intent,
    origin: &Origin,
) {
    let (key, write) = write_of_intent(intent);
    let is_known = write.field().is_none_or(|field| collection.field(field).is_some());
    if !is_known {
        return;
    }
    if !matches!(write, Write::Step { .. }) {
        for (_, past) in history.iter_mut().filter(|(earlier, _)| *earlier == key) {
            past.standing = Standing::Replaced;
        }
    }
    history.push((key, PastWrite { write, standing: Standing::Shown, origin: origin.clone() }));
}

fn write_of_intent(intent: &Intent) -> (String, Write) {
    let name = intent.field().unwrap_or_default();
    let field = name.to_owned();
    let (key, write) = match intent {
        Intent::Set { value, .. } => {
            (Key::Register(name), Write::Register { field, value: Some(value.clone()) })
        }
        Intent::Clear { .. } => (Key::Register(name), Write::Register { field, value: None }),
        Intent::Add { element, .. } | Intent::Remove { element, .. } => {
            let is_added = matches!(intent, Intent::Add { .. });
            (Key::Member(name, element), Write::Member { field, element: element.clone(), is_added })
        }
        Intent::Increment { by, .. } => (Key::Counter(name), Write::Step { field, by: *by }),
        Intent::Delete => (Key::Deleted, Write::Deleted(true)),
        Intent::Restore => (Key::Deleted, Write::Deleted(false)),
        Intent::Override { mark, .. } => {
            (Key::Override(name), Write::Mark { field, mark: Some(mark.clone()) })
        }
        Intent::Release { .. } => (Key::Override(name), Write::Mark { field, mark: None }),
    };
    (key.to_string(), write)
}

/// A mark that is shown covers the value of its field.
fn shadow(history: &mut [(String, PastWrite)]) {
    let marked: BTreeSet<String> = history
        .iter()
        .filter(|(_, past)| past.standing == Standing::Shown)
        .filter_map(|(_, past)| match &past.write {
            Write::Mark { field, mark: Some(_) } => Some(field.clone()),
            _ => None,
        })
        .collect();
    for (_, past) in history.iter_mut().filter(|(_, past)| past.standing == Standing::Shown) {
        if matches!(&past.write, Write::Register { field, .. } if marked.contains(field)) {
            past.standing = Standing::Shadowed;
        }
    }
}
