//! The raw document of a record: the only room that touches Automerge's writing side.
//!
//! Never nested objects, lists, text, marks, `isolate`, `transaction_at`, bundles or incremental loading: each is a
//! measured hazard (`docs/ARCHITECTURE.md`, "What is not there").

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::transaction::{CommitOptions, Transactable, Transaction};
use automerge::{
    ActorId, Automerge, AutomergeError, Change, ExpandedChange, ROOT, ReadDoc, ScalarValue, legacy,
};
use haversack_protocol::limits::RECORD_BYTES_MAX;
use haversack_protocol::{ChangeHash, ChangeSetId, DeviceId};

use super::change_set::{Intent, Part};
use super::key::Key;

/// Why a document refuses bytes or an edit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentRefusal {
    /// The bytes are no document or change, or would make one that cannot be loaded again.
    #[error("the record's bytes do not make a readable document")]
    Unreadable,
    /// Automerge panicked on the bytes; the document before them is untouched.
    #[error("the record's bytes made the document library fail")]
    Panicked,
    /// A dependency is not in the document.
    #[error("the change depends on changes that are not here")]
    MissingDependency,
    /// The change's actor is none of those of whom it is said to be.
    #[error("the change was authored by somebody else than it is said to be")]
    OtherActor,
    /// The document has another change of the same actor and sequence number.
    #[error("the change's sequence number is used already")]
    SequenceUsed,
    /// A counter that the document does not have.
    #[error("the record has no counter {0:?} yet")]
    NoCounter(String),
    /// The saved document would exceed the limit.
    #[error("the record would exceed {RECORD_BYTES_MAX} bytes")]
    TooLarge,
}

impl From<AutomergeError> for DocumentRefusal {
    fn from(error: AutomergeError) -> Self {
        match error {
            AutomergeError::DuplicateSeqNumber(..) => Self::SequenceUsed,
            _ => Self::Unreadable,
        }
    }
}

/// The document of one record.
#[derive(Clone, Debug)]
pub struct Document {
    pub(crate) inner: Automerge,
}

/// A change that was just authored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authored {
    /// Raw, uncompressed change.
    pub bytes: Vec<u8>,
    /// Its hash.
    pub hash: ChangeHash,
}

pub(crate) fn hash_in(hash: &ChangeHash) -> automerge::ChangeHash {
    automerge::ChangeHash(*hash.as_bytes())
}

pub(crate) fn hash_out(hash: automerge::ChangeHash) -> ChangeHash {
    ChangeHash::from_bytes(hash.0)
}

/// Runs `work`, turning a panic of the document library into a refusal. Work on a clone: a panic leaves it half done.
pub(crate) fn contained<T>(work: impl FnOnce() -> Result<T, DocumentRefusal>) -> Result<T, DocumentRefusal> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(DocumentRefusal::Panicked))
}

/// The actor of a device's changes to one record: device id, then the record's generation, big-endian.
pub(crate) fn device_actor(device: DeviceId, generation: u32) -> ActorId {
    let mut bytes = device.as_bytes().to_vec();
    bytes.extend(generation.to_be_bytes());
    ActorId::from(bytes)
}

impl Default for Document {
    fn default() -> Self {
        Self::empty()
    }
}

impl Document {
    /// A document without changes.
    pub fn empty() -> Self {
        Self { inner: Automerge::new() }
    }

    /// Loads a saved document of ours.
    ///
    /// # Errors
    /// [`DocumentRefusal::Unreadable`] or [`DocumentRefusal::Panicked`].
    pub fn load(bytes: &[u8]) -> Result<Self, DocumentRefusal> {
        contained(|| Ok(Self { inner: Automerge::load(bytes)? }))
    }

    /// Saves it, uncompressed: at record size compressing costs ten times the time and saves a tenth of the bytes.
    pub fn save(&self) -> Vec<u8> {
        self.inner.save_nocompress()
    }

    /// Saves it and proves that what was saved loads to the same heads.
    ///
    /// # Errors
    /// [`DocumentRefusal`] when it does not, or is too large.
    pub fn save_checked(&self) -> Result<Vec<u8>, DocumentRefusal> {
        contained(|| {
            if !self.inner.get_missing_deps(&[]).is_empty() {
                return Err(DocumentRefusal::MissingDependency);
            }
            let bytes = self.inner.save_nocompress();
            if bytes.len() > RECORD_BYTES_MAX {
                return Err(DocumentRefusal::TooLarge);
            }
            let loaded = Automerge::load(&bytes)?;
            if loaded.get_heads() == self.inner.get_heads() {
                Ok(bytes)
            } else {
                Err(DocumentRefusal::Unreadable)
            }
        })
    }

    /// Hashes of the changes nothing else builds on, sorted.
    pub fn heads(&self) -> Vec<ChangeHash> {
        self.inner.get_heads().into_iter().map(hash_out).collect()
    }

    /// Says whether the change is in the document.
    pub fn contains(&self, hash: &ChangeHash) -> bool {
        self.inner.get_change_meta_by_hash(&hash_in(hash)).is_some()
    }

    /// The hashes that are not in the document.
    pub fn missing(&self, hashes: &[ChangeHash]) -> Vec<ChangeHash> {
        hashes.iter().filter(|hash| !self.contains(hash)).copied().collect()
    }

    /// Hashes of every change in its history.
    pub fn changes(&self) -> Vec<ChangeHash> {
        self.inner.get_changes_meta(&[]).iter().map(|change| hash_out(change.hash)).collect()
    }

    /// Number of changes in its history, and of the actors that authored them, what the server authored left out.
    pub fn history_size(&self) -> (usize, usize) {
        let changes = self.inner.get_changes(&[]);
        let by_devices = changes.iter().filter(|change| change.actor_id().to_bytes().first() != Some(&0));
        let actors: BTreeSet<_> = by_devices.clone().map(|change| change.actor_id()).collect();
        (by_devices.count(), actors.len())
    }

    /// Number of changes in its history.
    pub fn change_count(&self) -> usize {
        self.inner.get_changes_meta(&[]).len()
    }

    /// Applies a change of our own making. Foreign ones go through admission.
    ///
    /// # Errors
    /// [`DocumentRefusal`]; the document is then to be thrown away.
    pub fn apply(&mut self, change: &[u8]) -> Result<ChangeHash, DocumentRefusal> {
        contained(|| {
            let change = Change::from_bytes(change.to_vec()).map_err(|_| DocumentRefusal::Unreadable)?;
            let hash = change.hash();
            if change.deps().iter().any(|dep| self.inner.get_change_meta_by_hash(dep).is_none()) {
                return Err(DocumentRefusal::MissingDependency);
            }
            if self.inner.get_change_meta_by_hash(&hash).is_none() {
                self.inner.apply_changes([change])?;
            }
            Ok(hash_out(hash))
        })
    }

    /// Says whether whoever knows `base` knows all that is here.
    pub(crate) fn stands_on(&self, base: &BTreeSet<ChangeHash>) -> bool {
        self.inner.get_heads().into_iter().all(|head| base.contains(&hash_out(head)))
    }

    /// The document as one sees it who knows `base` and its ancestors only.
    ///
    /// # Errors
    /// [`DocumentRefusal::MissingDependency`] when a hash of `base` is not here.
    pub(crate) fn at(&self, base: &BTreeSet<ChangeHash>) -> Result<Self, DocumentRefusal> {
        if self.stands_on(base) {
            return Ok(self.clone());
        }
        let base: Vec<_> = base.iter().map(hash_in).collect();
        let inner = self.inner.fork_at(&base).map_err(|_| DocumentRefusal::MissingDependency)?;
        Ok(Self { inner })
    }

    /// Authors one change holding a part's intents on the current heads. One that creates the record begins these counters,
    /// too. `None` when nothing changes.
    ///
    /// # Errors
    /// [`DocumentRefusal::NoCounter`] for a counter the record does not have.
    pub(crate) fn author(
        &mut self,
        actor: ActorId,
        change_set: ChangeSetId,
        part: &Part,
        counters: &BTreeSet<&str>,
        schema_version: u32,
    ) -> Result<Option<Authored>, DocumentRefusal> {
        self.transact(actor, |tx| {
            if part.creates {
                for (key, value) in first_puts(counters, schema_version) {
                    tx.put(ROOT, key, value)?;
                }
            }
            part.intents.iter().try_for_each(|intent| write_intent(tx, change_set, intent))
        })
    }

    /// Spells out the change that [`Document::author`] makes of a creation on an empty document, byte for byte, where every
    /// key is put once and nothing else is done: no document has to be grown for it, which takes nine tenths of the
    /// time. `None` where it takes more than puts.
    ///
    /// # Errors
    /// [`DocumentRefusal::Unreadable`] for a value that no document holds.
    pub(crate) fn spell_creation(
        actor: ActorId,
        change_set: ChangeSetId,
        part: &Part,
        counters: &BTreeSet<&str>,
        schema_version: u32,
    ) -> Result<Option<Authored>, DocumentRefusal> {
        let mut puts: Vec<_> = first_puts(counters, schema_version).collect();
        for intent in &part.intents {
            let Some(put) = put_by(change_set, intent)? else { return Ok(None) };
            puts.push(put);
        }
        let keys: BTreeSet<_> = puts.iter().map(|(key, _)| key.as_str()).collect();
        if keys.len() < puts.len() {
            return Ok(None);
        }
        contained(|| {
            let change = Change::from(ExpandedChange {
                operations: puts.into_iter().map(put_at_root).collect(),
                actor_id: actor,
                hash: None,
                seq: 1,
                start_op: NonZeroU64::MIN,
                time: 0,
                message: None,
                deps: vec![],
                extra_bytes: vec![],
                author: None,
            });
            Ok(Some(Authored { bytes: change.raw_bytes().to_vec(), hash: hash_out(change.hash()) }))
        })
    }

    /// Runs one transaction under `actor`, time 0, and returns its change.
    pub(crate) fn transact(
        &mut self,
        actor: ActorId,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<(), DocumentRefusal>,
    ) -> Result<Option<Authored>, DocumentRefusal> {
        let Some(hash) = self.write(actor, work)? else { return Ok(None) };
        let change = self.inner.get_change_by_hash(&hash_in(&hash)).ok_or(DocumentRefusal::Unreadable)?;
        Ok(Some(Authored { bytes: change.raw_bytes().to_vec(), hash }))
    }

    /// Runs one transaction under `actor`, time 0, and returns the hash of its change: to spell out its bytes costs
    /// a walk over the document.
    pub(crate) fn write(
        &mut self,
        actor: ActorId,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<(), DocumentRefusal>,
    ) -> Result<Option<ChangeHash>, DocumentRefusal> {
        self.inner.set_actor(actor);
        let mut tx = self.inner.transaction();
        if let Err(refusal) = work(&mut tx) {
            tx.rollback();
            return Err(refusal);
        }
        let (hash, _) = tx.commit_with(CommitOptions::default().with_time(0));
        Ok(hash.map(hash_out))
    }
}

/// An operation that puts a value where there was none.
fn put_at_root((key, value): (String, ScalarValue)) -> legacy::Op {
    legacy::Op {
        action: legacy::OpType::Put(value),
        obj: legacy::ObjectId::Root,
        key: legacy::Key::Map(key.into()),
        pred: legacy::SortedVec::new(),
        insert: false,
    }
}

/// The key and value of an intent that puts one; `None` for one that removes or counts.
fn put_by(
    change_set: ChangeSetId,
    intent: &Intent,
) -> Result<Option<(String, ScalarValue)>, DocumentRefusal> {
    let (key, value) = match intent {
        Intent::Set { field, value } => {
            (Key::Register(field), value.to_scalar().ok_or(DocumentRefusal::Unreadable)?)
        }
        // Null and not a delete: a bare delete would lose to any concurrent set.
        Intent::Clear { field } => (Key::Register(field), ScalarValue::Null),
        // The value is the change set's id, so that adding a member again is a write.
        Intent::Add { field, element } => {
            (Key::Member(field, element), ScalarValue::Bytes(change_set.as_bytes().to_vec()))
        }
        Intent::Delete => (Key::Deleted, true.into()),
        Intent::Override { field, mark } => (Key::Override(field), mark.to_scalar()),
        Intent::Remove { .. } | Intent::Increment { .. } | Intent::Restore | Intent::Release { .. } => {
            return Ok(None);
        }
    };
    Ok(Some((key.to_string(), value)))
}

/// The first puts of a creation: the schema's version, and counters at zero.
fn first_puts(counters: &BTreeSet<&str>, schema_version: u32) -> impl Iterator<Item = (String, ScalarValue)> {
    let version = (Key::Version.to_string(), ScalarValue::from(i64::from(schema_version)));
    let zeros = counters.iter().map(|name| (Key::Counter(name).to_string(), ScalarValue::counter(0)));
    std::iter::once(version).chain(zeros)
}

/// Puts a value so that it is a write of its own also when it is the value shown already: the plain put would then
/// write nothing, or only remove the losers of a conflict, and replay would not reproduce it.
fn put_asserted(tx: &mut Transaction<'_>, key: &str, value: ScalarValue) -> Result<(), DocumentRefusal> {
    let shown = tx.get(ROOT, key)?;
    if shown.is_some_and(|(shown, _)| shown.as_scalar() == Some(&value)) {
        tx.delete(ROOT, key)?;
    }
    Ok(tx.put(ROOT, key, value)?)
}

fn write_intent(
    tx: &mut Transaction<'_>,
    change_set: ChangeSetId,
    intent: &Intent,
) -> Result<(), DocumentRefusal> {
    if let Some((key, value)) = put_by(change_set, intent)? {
        return put_asserted(tx, &key, value);
    }
    match intent {
        Intent::Remove { field, element } => Ok(tx.delete(ROOT, Key::Member(field, element).to_string())?),
        Intent::Increment { field, by } => {
            let key = Key::Counter(field).to_string();
            if tx.get(ROOT, key.as_str())?.is_none() {
                return Err(DocumentRefusal::NoCounter(field.clone()));
            }
            Ok(tx.increment(ROOT, key, *by)?)
        }
        Intent::Restore => Ok(tx.delete(ROOT, Key::Deleted.to_string())?),
        Intent::Release { field } => Ok(tx.delete(ROOT, Key::Override(field).to_string())?),
        Intent::Set { .. }
        | Intent::Clear { .. }
        | Intent::Add { .. }
        | Intent::Delete
        | Intent::Override { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests;
