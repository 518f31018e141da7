//! Zeros: how a record gets a counter that its schema did not have when it was created.
//!
//! Two zeros written apart would be two counters, and the steps of one of them would be lost. A zero is therefore a
//! function of record and field, the same bytes whoever makes it: one put, on the change that created the record, under an
//! actor reserved for it, time 0. Serves the promise "a counter that a newer schema adds counts every step".

use std::collections::BTreeSet;

use automerge::legacy::{Key as OpKey, OpType};
use automerge::transaction::Transactable;
use automerge::{ActorId, Change, ROOT, ReadDoc, ScalarValue};
use haversack_protocol::ChangeHash;
use ring::digest::{SHA256, digest};

use super::document::{Authored, Document, DocumentRefusal, contained, hash_out};
use super::key::Key;

/// What the actors of zeros begin with. Actors that begin with 0x00 are nobody's device; those of merges go on with 0x00,
/// those of rewrites are longer.
const ZERO_ACTOR: [u8; 2] = [0, 1];
/// Bytes of a field's digest in the actor of its zero.
const FIELD_DIGEST_BYTES: usize = 8;

/// The actor of the zero of a counter.
fn zero_actor(field: &str) -> ActorId {
    let digest = digest(&SHA256, field.as_bytes());
    ActorId::from([&ZERO_ACTOR[..], &digest.as_ref()[..FIELD_DIGEST_BYTES]].concat())
}

/// The counters a change steps.
fn stepped(change: &[u8]) -> Result<BTreeSet<String>, DocumentRefusal> {
    contained(|| {
        let change = Change::from_bytes(change.to_vec()).map_err(|_| DocumentRefusal::Unreadable)?;
        let fields = change.decode().operations.into_iter().filter_map(|op| match (&op.key, &op.action) {
            (OpKey::Map(key), OpType::Increment(_)) => match Key::parse(key) {
                Some(Key::Counter(field)) => Some(field.to_owned()),
                _ => None,
            },
            _ => None,
        });
        Ok(fields.collect())
    })
}

impl Document {
    /// Says whether the record lacks a counter.
    pub(crate) fn lacks_counter(&self, field: &str) -> bool {
        !matches!(self.inner.get(ROOT, Key::Counter(field).to_string()), Ok(Some(_)))
    }

    /// Authors the zero of a counter, without adding it.
    ///
    /// # Errors
    /// [`DocumentRefusal::NoCounter`] for a document that no change created.
    pub(crate) fn zero(&self, field: &str) -> Result<Authored, DocumentRefusal> {
        let no_counter = || DocumentRefusal::NoCounter(field.to_owned());
        let metas = self.inner.get_changes_meta(&[]);
        let creation = metas.iter().find(|change| change.deps.is_empty()).ok_or_else(no_counter)?;
        let mut created = self.at(&BTreeSet::from([hash_out(creation.hash)]))?;
        let zero = created.transact(zero_actor(field), |tx| {
            Ok(tx.put(ROOT, Key::Counter(field).to_string(), ScalarValue::counter(0))?)
        })?;
        zero.ok_or_else(no_counter)
    }

    /// Authors and adds the zeros of the counters that `change` steps and stands on, as far as the record lacks them.
    ///
    /// # Errors
    /// [`DocumentRefusal`] for bytes that are no change; the document is then as it was.
    pub(crate) fn add_zeros_under(
        &mut self,
        change: &[u8],
        missing: &[ChangeHash],
    ) -> Result<Vec<Authored>, DocumentRefusal> {
        let mut added = Vec::new();
        for field in stepped(change)? {
            if self.change_count() == 0 || !self.lacks_counter(&field) {
                continue;
            }
            let zero = self.zero(&field)?;
            if missing.contains(&zero.hash) {
                self.apply(&zero.bytes)?;
                added.push(zero);
            }
        }
        Ok(added)
    }

    /// Applies an own change that waits for its verdict, and the zeros it stands on: those have no place in the outbox.
    ///
    /// # Errors
    /// Those of [`Document::apply`].
    pub(crate) fn apply_waiting(&mut self, change: &[u8]) -> Result<ChangeHash, DocumentRefusal> {
        match self.apply(change) {
            Err(DocumentRefusal::MissingDependency) => {
                let deps = crate::admission::inspect(change).map_err(|_| DocumentRefusal::Unreadable)?.deps;
                self.add_zeros_under(change, &self.missing(&deps))?;
                self.apply(change)
            }
            applied => applied,
        }
    }
}
