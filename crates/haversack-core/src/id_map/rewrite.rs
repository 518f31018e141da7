//! The rewriting of references once a record has its server id.
//!
//! In documents only the server rewrites, by an ordinary change per visible temporary value, authored on the change
//! that wrote it and ranked as that write (`conflict`), so that it never beats a user's concurrent choice and is the
//! same bytes whoever makes it. Rows and pending intents are rewritten in place on the device.

use std::collections::BTreeSet;

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, ObjId, ROOT};
use haversack_protocol::limits::HEADS_BEFORE_MERGE;
use haversack_protocol::{CollectionSchema, FieldKind, RecordId, ServerId};
use ring::digest::{Context, SHA256};

use crate::admission::Write;
use crate::conflict::{concurrent, rewrite_actor};
use crate::record::document::{contained, hash_out};
use crate::record::{Authored, ChangeSet, Document, DocumentRefusal, Intent, Key, Reference, Row, Value};

/// Answers the server id of a record, if it has one.
pub type Resolve<'a> = &'a dyn Fn(RecordId) -> Option<ServerId>;

fn resolved(value: &Value, resolve: Resolve<'_>) -> Option<Value> {
    match value {
        Value::Reference(Reference::Record(record)) => {
            resolve(*record).map(|id| Value::Reference(Reference::Server(id)))
        }
        _ => None,
    }
}

/// Authors the changes that replace every visible temporary reference of a record, losers of conflicts included, and
/// applies them. Idempotent; empty when there is nothing to rewrite.
///
/// # Errors
/// [`DocumentRefusal`]; the document is then to be thrown away.
pub fn rewrite_document(
    document: &mut Document,
    collection: &CollectionSchema,
    resolve: Resolve<'_>,
) -> Result<Vec<Authored>, DocumentRefusal> {
    let mut authored = Vec::new();
    for (name, _) in collection.references() {
        let key = Key::Register(name).to_string();
        for value in concurrent(&document.inner, &key) {
            let Some(reference) = Value::from_scalar(FieldKind::Reference, &value.value) else { continue };
            let Some(scalar) = resolved(&reference, resolve).and_then(|value| value.to_scalar()) else {
                continue;
            };
            let ObjId::Id(counter, actor, _) = &value.operation else { continue };
            let mut fork = document.at(&BTreeSet::from([value.change]))?;
            let put = fork
                .transact(rewrite_actor(*counter, actor.to_bytes()), |tx| Ok(tx.put(ROOT, &key, scalar)?))?;
            if let Some(change) = put {
                document.apply(&change.bytes)?;
                authored.push(change);
            }
        }
    }
    Ok(authored)
}

/// Replaces temporary references in a change set's intents. True when there were any.
pub fn rewrite_change_set(change_set: &mut ChangeSet, resolve: Resolve<'_>) -> bool {
    let mut is_changed = false;
    for intent in change_set.parts.iter_mut().flat_map(|part| &mut part.intents) {
        if let Intent::Set { value, .. } = intent
            && let Some(new) = resolved(value, resolve)
        {
            *value = new;
            is_changed = true;
        }
    }
    is_changed
}

/// Replaces temporary references in a row, conflicts included. True when there were any.
pub fn rewrite_row(row: &mut Row, resolve: Resolve<'_>) -> bool {
    let own = row.fields.values_mut();
    let concurrent = row.conflicts.values_mut().flatten().filter_map(|candidate| candidate.value.as_mut());
    let mut is_changed = false;
    for value in own.chain(concurrent) {
        if let Some(new) = resolved(value, resolve) {
            *value = new;
            is_changed = true;
        }
    }
    is_changed
}

/// Replaces temporary references in a write of the history, for display; one inside a mark, too.
pub fn rewrite_write(write: &mut Write, resolve: Resolve<'_>) {
    let value = match write {
        Write::Register { value, .. } => value.as_mut(),
        Write::Mark { mark, .. } => mark.as_mut().and_then(|mark| mark.value.as_mut()),
        _ => None,
    };
    if let Some(value) = value
        && let Some(new) = resolved(value, resolve)
    {
        *value = new;
    }
}

/// Authors an empty merge when a record has more heads than a client should have to name; the actor is a function of
/// the heads, so it is the same bytes whoever makes it.
///
/// # Errors
/// [`DocumentRefusal`]; the document is then to be thrown away.
pub fn merge_heads(document: &mut Document) -> Result<Option<Authored>, DocumentRefusal> {
    let heads = document.heads();
    if heads.len() <= HEADS_BEFORE_MERGE {
        return Ok(None);
    }
    let mut digest = Context::new(&SHA256);
    heads.iter().for_each(|head| digest.update(head.as_bytes()));
    let mut actor = vec![0, 0];
    actor.extend(&digest.finish().as_ref()[..8]);
    contained(|| {
        document.inner.set_actor(ActorId::from(actor));
        let hash = document.inner.empty_commit(CommitOptions::default().with_time(0));
        let change = document.inner.get_changes(&[]).into_iter().find(|change| change.hash() == hash);
        let change = change.ok_or(DocumentRefusal::Unreadable)?;
        Ok(Some(Authored { bytes: change.raw_bytes().to_vec(), hash: hash_out(hash) }))
    })
}
