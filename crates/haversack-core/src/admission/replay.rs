//! The admission of one record's part of a pushed change set: identity, schema, rights, replay, reload.
//!
//! Automerge is safe on its own documents, not on foreign changes: forged ones of a hundred bytes panic it or make a
//! record unloadable for ever. Nothing foreign touches a record before it went through here; the clone that did is
//! swapped in only afterwards. A refusal concerns that one change set.

use std::collections::{BTreeMap, BTreeSet};

use automerge::legacy::{Key as OpKey, ObjectId, OpType};
use automerge::transaction::{Transactable, Transaction};
use automerge::{Change, ExpandedChange, ROOT, ScalarValue};
use haversack_protocol::limits::COUNTER_STEP_MAX;
use haversack_protocol::{
    ChangeHash, Code, CollectionSchema, DeviceId, FieldKind, FieldSchema, PrincipalId, PushedPart, Rejection,
    Role,
};

use super::gate::{ChunkHeader, inspect};
use crate::override_mark::Mark;
use crate::reason;
use crate::record::document::{contained, hash_in, hash_out};
use crate::record::{Authored, Document, DocumentRefusal, Key, Value, check_value};

#[cfg(test)]
mod tests;

/// Length of the actors devices use: device id and generation.
const DEVICE_ACTOR_BYTES: usize = 12;

/// Whose change it is and what they may do, as the server knows it.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// Device of the request.
    pub device: DeviceId,
    /// Whom its token speaks for.
    pub principal: &'a PrincipalId,
    /// That principal's role now.
    pub role: Role,
}

/// One thing a change does to a record.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Write {
    /// Puts a value into a register, or clears it.
    Register {
        /// Field.
        field: String,
        /// Value; `None` clears.
        value: Option<Value>,
    },
    /// Adds or removes an element.
    Member {
        /// Field.
        field: String,
        /// Element.
        element: String,
        /// Added, else removed.
        is_added: bool,
    },
    /// Steps a counter.
    Step {
        /// Field.
        field: String,
        /// Step.
        by: i64,
    },
    /// Puts or releases an override mark.
    Mark {
        /// Field.
        field: String,
        /// Mark; `None` releases.
        mark: Option<Mark>,
    },
    /// Deletes or restores the record.
    Deleted(bool),
}

impl Write {
    /// The field concerned; deletion and restoring concern the whole record.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Register { field, .. }
            | Self::Member { field, .. }
            | Self::Step { field, .. }
            | Self::Mark { field, .. } => Some(field),
            Self::Deleted(_) => None,
        }
    }
}

/// A part that passed.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The record with the change in it.
    pub document: Document,
    /// The same, saved and proven to load.
    pub saved: Vec<u8>,
    /// Hash of the change.
    pub hash: ChangeHash,
    /// Zeros that were added for it, of counters the record was created without; they go before it.
    pub zeros: Vec<Authored>,
    /// What it does.
    pub writes: Vec<Write>,
}

/// Why a part does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdmissionRefusal {
    /// Final: roll back.
    Rejected(Rejection),
    /// Not final: these dependencies are not in the record.
    Missing(Vec<ChangeHash>),
}

impl From<Code> for AdmissionRefusal {
    fn from(code: Code) -> Self {
        Self::Rejected(Rejection::of(code))
    }
}

impl From<DocumentRefusal> for AdmissionRefusal {
    fn from(refusal: DocumentRefusal) -> Self {
        let code = match refusal {
            DocumentRefusal::TooLarge => Code::Limit,
            DocumentRefusal::SequenceUsed => Code::Identity,
            _ => Code::Malformed,
        };
        code.into()
    }
}

fn at(code: Code, collection: &str, field: &str) -> AdmissionRefusal {
    AdmissionRefusal::Rejected(Rejection::of(code).at(collection, field))
}

/// The schema refuses it, and why.
fn unfit(collection: &str, field: &str, reason: &str) -> AdmissionRefusal {
    AdmissionRefusal::Rejected(Rejection::of(Code::Schema).at(collection, field).because(reason))
}

/// Admits one part against the record as it stands (`None`: the record does not exist).
///
/// # Errors
/// [`AdmissionRefusal`]; nothing given was changed.
pub fn admit(
    before: Option<&Document>,
    part: &PushedPart,
    (collection_name, collection): (&str, &CollectionSchema),
    schema_version: u32,
    author: Author<'_>,
) -> Result<Admitted, AdmissionRefusal> {
    let header = inspect(&part.change).map_err(|_| Code::Malformed)?;
    let with_zeros = add_zeros(before, part, &header, collection)?;
    let (before, zeros) = match &with_zeros {
        Some((completed, zeros)) => (Some(completed), zeros.clone()),
        None => (before, vec![]),
    };
    check_identity(before, part, &header, author)?;
    let change = parse(&part.change)?;
    let reader =
        OpReader { collection_name, collection, schema_version, author, creates: part.collection.is_some() };
    let expanded = decode(&change)?;
    let writes = reader.read(&expanded)?;
    if reader.creates {
        reader.may_write("_v", None)?;
        reader.check_required(&writes)?;
    }
    let document = match before {
        None => run_on_nothing(change, &expanded)?,
        Some(before) => run_again(before, change, &expanded)?,
    };
    let saved = document.save_checked()?;
    Ok(Admitted { document, saved, hash: header.hash, zeros, writes })
}

/// The record with the zeros the change stands on, where the schema has counters the record was created without. `None`
/// where it stands on none.
fn add_zeros(
    before: Option<&Document>,
    part: &PushedPart,
    header: &ChunkHeader,
    collection: &CollectionSchema,
) -> Result<Option<(Document, Vec<Authored>)>, DocumentRefusal> {
    let Some(before) = before else { return Ok(None) };
    let missing = before.missing(&header.deps);
    let mut counters = collection.fields.iter().filter(|(_, field)| field.kind == FieldKind::Counter);
    if missing.is_empty() || !counters.any(|(name, _)| before.lacks_counter(name)) {
        return Ok(None);
    }
    let mut completed = before.clone();
    let zeros = completed.add_zeros_under(&part.change, &missing)?;
    Ok((!zeros.is_empty()).then_some((completed, zeros)))
}

fn parse(bytes: &[u8]) -> Result<Change, DocumentRefusal> {
    contained(|| Change::from_bytes(bytes.to_vec()).map_err(|_| DocumentRefusal::Unreadable))
}

fn decode(change: &Change) -> Result<ExpandedChange, DocumentRefusal> {
    contained(|| Ok(change.decode()))
}

/// Says whether an actor is one of the sender's; `None`: of the server itself, whose actors alone begin with 0x00.
fn is_actor_of(actor: &[u8], sender: Option<DeviceId>) -> bool {
    match sender {
        Some(device) => actor.len() == DEVICE_ACTOR_BYTES && actor.starts_with(device.as_bytes()),
        None => actor.first() == Some(&0),
    }
}

/// Actor of this device, next sequence number, known dependencies, and the one start that follows from them.
fn check_identity(
    before: Option<&Document>,
    part: &PushedPart,
    header: &ChunkHeader,
    author: Author<'_>,
) -> Result<(), AdmissionRefusal> {
    let is_own = is_actor_of(&header.actor, Some(author.device));
    let is_creation = part.collection.is_some();
    // Only a creation may stand on nothing; else any record could be given a second root.
    if !is_own || is_creation != header.deps.is_empty() || is_creation == before.is_some() {
        return Err(Code::Identity.into());
    }
    let missing = before.map(|document| document.missing(&header.deps)).unwrap_or_default();
    if !missing.is_empty() {
        return Err(AdmissionRefusal::Missing(missing));
    }
    let is_next = match before {
        None => header.sequence == 1 && header.start_op == 1,
        Some(document) => is_next(document, header),
    };
    if is_next { Ok(()) } else { Err(Code::Identity.into()) }
}

/// Says whether a change whose dependencies are known begins where they end and follows its actor's change before. No
/// honest change does otherwise: the document library names an actor's own change before in every change. A forged one
/// could outrank every concurrent edit, or make the record unreadable. That the sequence number is still free is known
/// only once the change is run or applied: [`DocumentRefusal::SequenceUsed`].
fn is_next(document: &Document, header: &ChunkHeader) -> bool {
    let (mut greatest, mut follows) = (0, header.sequence == 1);
    for dep in &header.deps {
        let Some(dep) = document.inner.get_change_meta_by_hash(&hash_in(dep)) else { return false };
        greatest = greatest.max(dep.max_op);
        follows |= dep.seq + 1 == header.sequence && dep.actor.to_bytes() == header.actor.as_slice();
    }
    follows && header.start_op == greatest + 1
}

/// Reads operations as writes, checking each against the schema and the author's rights.
struct OpReader<'a> {
    collection_name: &'a str,
    collection: &'a CollectionSchema,
    schema_version: u32,
    author: Author<'a>,
    creates: bool,
}

impl OpReader<'_> {
    fn read(&self, change: &ExpandedChange) -> Result<Vec<Write>, AdmissionRefusal> {
        let mut writes = Vec::new();
        let mut registers: BTreeMap<&str, bool> = BTreeMap::new();
        let mut is_versioned = false;
        for op in &change.operations {
            let OpKey::Map(key) = &op.key else { return Err(Code::Malformed.into()) };
            if op.obj != ObjectId::Root || op.insert {
                return Err(Code::Malformed.into());
            }
            let Some(key) = Key::parse(key) else { return Err(Code::Schema.into()) };
            is_versioned |= key == Key::Version;
            if let Key::Register(field) = key {
                registers.insert(field, matches!(op.action, OpType::Put(_)));
            }
            writes.extend(self.read_op(key, &op.action)?);
        }
        // A register is never left deleted: that would empty it past every rule about clearing.
        match registers.into_iter().find(|(_, ends_put)| !ends_put) {
            Some((field, _)) => Err(unfit(self.collection_name, field, reason::REQUIRED)),
            None if self.creates && !is_versioned => Err(Code::Malformed.into()),
            None => Ok(writes),
        }
    }

    fn read_op(&self, key: Key<'_>, action: &OpType) -> Result<Option<Write>, AdmissionRefusal> {
        match (key, action) {
            (Key::Version, OpType::Put(ScalarValue::Int(version)))
                if self.creates && *version == i64::from(self.schema_version) =>
            {
                Ok(None)
            }
            (Key::Deleted, OpType::Put(ScalarValue::Boolean(true))) => {
                self.may_write("_deleted", None)?;
                Ok(Some(Write::Deleted(true)))
            }
            (Key::Deleted, OpType::Delete) => {
                self.may_write("_deleted", None)?;
                Ok(Some(Write::Deleted(false)))
            }
            (Key::Register(field), _) => self.read_register(field, action),
            (Key::Counter(field), _) => self.read_counter(field, action),
            (Key::Member(field, element), _) => self.read_member(field, element, action).map(Some),
            (Key::Override(field), _) => self.read_mark(field, action),
            _ => Err(Code::Schema.into()),
        }
    }

    /// A register is cleared by a Null; a delete only ever precedes the put of the same value, and replay sees both.
    fn read_register(&self, name: &str, action: &OpType) -> Result<Option<Write>, AdmissionRefusal> {
        let refuse = |reason| unfit(self.collection_name, name, reason);
        let field = self.field(name, FieldKind::is_register)?;
        self.may_write(name, Some(field))?;
        match action {
            OpType::Delete => Ok(None),
            OpType::Put(ScalarValue::Null) if !field.required => {
                Ok(Some(Write::Register { field: name.to_owned(), value: None }))
            }
            OpType::Put(ScalarValue::Null) => Err(refuse(reason::REQUIRED)),
            OpType::Put(scalar) => {
                let value = Value::from_scalar(field.kind, scalar).ok_or_else(|| refuse(reason::KIND))?;
                check_value(field, &value).map_err(|source| refuse(reason::of_value(&source)))?;
                Ok(Some(Write::Register { field: name.to_owned(), value: Some(value) }))
            }
            _ => Err(refuse(reason::KIND)),
        }
    }

    fn read_counter(&self, name: &str, action: &OpType) -> Result<Option<Write>, AdmissionRefusal> {
        let field = self.field(name, |kind| kind == FieldKind::Counter)?;
        match action {
            OpType::Put(ScalarValue::Counter(zero)) if self.creates && i64::from(zero) == 0 => Ok(None),
            OpType::Increment(by) if by.unsigned_abs() <= COUNTER_STEP_MAX.unsigned_abs() => {
                self.may_write(name, Some(field))?;
                Ok(Some(Write::Step { field: name.to_owned(), by: *by }))
            }
            _ => Err(unfit(self.collection_name, name, reason::KIND)),
        }
    }

    fn read_member(&self, name: &str, element: &str, action: &OpType) -> Result<Write, AdmissionRefusal> {
        let field = self.field(name, |kind| kind == FieldKind::Set)?;
        self.may_write(name, Some(field))?;
        let is_added = match action {
            OpType::Put(ScalarValue::Bytes(tag)) if tag.len() == 16 => true,
            OpType::Delete => false,
            _ => return Err(unfit(self.collection_name, name, reason::KIND)),
        };
        Ok(Write::Member { field: name.to_owned(), element: element.to_owned(), is_added })
    }

    fn read_mark(&self, name: &str, action: &OpType) -> Result<Option<Write>, AdmissionRefusal> {
        let refuse = |reason| unfit(self.collection_name, name, reason);
        let field = self.field(name, |_| true)?;
        if !self.collection.overrides.contains(&self.author.role) {
            return Err(at(Code::Forbidden, self.collection_name, name));
        }
        match action {
            OpType::Delete => Ok(Some(Write::Mark { field: name.to_owned(), mark: None })),
            OpType::Put(scalar) => {
                let mark = Mark::from_scalar(scalar).ok_or_else(|| refuse(reason::KIND))?;
                mark.check(field).map_err(|source| refuse(reason::of_value(&source)))?;
                if mark.by != *self.author.principal || mark.role != self.author.role {
                    return Err(at(Code::Identity, self.collection_name, name));
                }
                Ok(Some(Write::Mark { field: name.to_owned(), mark: Some(mark) }))
            }
            _ => Err(refuse(reason::KIND)),
        }
    }

    /// The field, if the collection has it and it is of such a kind.
    fn field(&self, name: &str, fits: impl Fn(FieldKind) -> bool) -> Result<&FieldSchema, AdmissionRefusal> {
        let refuse = |reason| unfit(self.collection_name, name, reason);
        let field = self.collection.field(name).ok_or_else(|| refuse(reason::UNKNOWN_FIELD))?;
        if fits(field.kind) { Ok(field) } else { Err(refuse(reason::KIND)) }
    }

    fn may_write(&self, name: &str, field: Option<&FieldSchema>) -> Result<(), AdmissionRefusal> {
        if self.collection.may_be_written(field, self.author.role) {
            Ok(())
        } else {
            Err(at(Code::Forbidden, self.collection_name, name))
        }
    }

    fn check_required(&self, writes: &[Write]) -> Result<(), AdmissionRefusal> {
        let is_set = |name: &str| {
            writes
                .iter()
                .any(|write| matches!(write, Write::Register { field, value: Some(_) } if field == name))
        };
        let mut required = self.collection.fields.iter().filter(|(_, field)| field.required);
        match required.find(|(name, _)| !is_set(name)) {
            Some((name, _)) => Err(unfit(self.collection_name, name, reason::REQUIRED)),
            None => Ok(()),
        }
    }
}

/// Gives the record a creation makes. One that puts new keys and does nothing else is not run again: whatever it is run
/// on, there is nothing it could build on, and the proof that the saved record loads encodes it anew and compares hashes.
fn run_on_nothing(change: Change, expanded: &ExpandedChange) -> Result<Document, DocumentRefusal> {
    let nothing = Document::empty();
    if only_puts_new_keys(expanded) {
        contained(|| with_change(nothing, change))
    } else {
        run_again(&nothing, change, expanded)
    }
}

fn only_puts_new_keys(change: &ExpandedChange) -> bool {
    let mut keys = BTreeSet::new();
    let puts_a_new_key = |op: &automerge::legacy::Op| {
        let is_new = matches!(&op.key, OpKey::Map(key) if keys.insert(key.clone()));
        is_new && op.pred.is_empty() && matches!(op.action, OpType::Put(_))
    };
    // One of no operations is run, and comes to nothing.
    !change.operations.is_empty() && change.operations.iter().all(puts_a_new_key)
}

/// Runs the operations again at the change's own dependencies; only an identical hash is admitted. Gives the record with
/// the change in it: where it builds on all there is, the replay itself has become that record.
fn run_again(
    before: &Document,
    change: Change,
    expanded: &ExpandedChange,
) -> Result<Document, DocumentRefusal> {
    let base: BTreeSet<_> = change.deps().iter().copied().map(hash_out).collect();
    contained(|| {
        let mut again = before.at(&base)?;
        let run = again.write(change.actor_id().clone(), |tx| {
            expanded.operations.iter().try_for_each(|op| run_op(tx, op))
        })?;
        let run = run.and_then(|hash| again.inner.get_change_meta_by_hash(&hash_in(&hash)));
        match run {
            Some(run) if run.hash == change.hash() => {}
            Some(run) if run.seq != change.seq() => return Err(DocumentRefusal::SequenceUsed),
            _ => return Err(DocumentRefusal::Unreadable),
        }
        if before.stands_on(&base) { Ok(again) } else { with_change(before.clone(), change) }
    })
}

fn run_op(tx: &mut Transaction<'_>, op: &automerge::legacy::Op) -> Result<(), DocumentRefusal> {
    let OpKey::Map(key) = &op.key else { return Err(DocumentRefusal::Unreadable) };
    match &op.action {
        OpType::Put(value) => Ok(tx.put(ROOT, key.as_str(), value.clone())?),
        OpType::Delete => Ok(tx.delete(ROOT, key.as_str())?),
        OpType::Increment(by) => Ok(tx.increment(ROOT, key.as_str(), *by)?),
        _ => Err(DocumentRefusal::Unreadable),
    }
}

fn with_change(mut document: Document, change: Change) -> Result<Document, DocumentRefusal> {
    document.inner.apply_changes([change])?;
    Ok(document)
}

/// Admits a change the server sent as one of `sender` (`None`: of its own), on a device: bytes, identity, place, shape,
/// then apply to a clone. No replay: its cost grows with the history, and the server did it. Save with
/// [`Document::save_checked`] once all of a page is in. `None` when the record has the change already.
///
/// # Errors
/// [`DocumentRefusal`]; the record given is untouched, and only this record is concerned.
pub fn admit_from_server(
    before: &Document,
    bytes: &[u8],
    sender: Option<DeviceId>,
) -> Result<Option<(Document, ChangeHash)>, DocumentRefusal> {
    let header = inspect(bytes).map_err(|_| DocumentRefusal::Unreadable)?;
    if !is_actor_of(&header.actor, sender) {
        return Err(DocumentRefusal::OtherActor);
    }
    if before.contains(&header.hash) {
        return Ok(None);
    }
    if !before.missing(&header.deps).is_empty() {
        return Err(DocumentRefusal::MissingDependency);
    }
    let is_second_root = header.deps.is_empty() && !before.heads().is_empty();
    if is_second_root || !is_next(before, &header) {
        return Err(DocumentRefusal::Unreadable);
    }
    contained(|| {
        let change = parse(bytes)?;
        let is_flat = |op: &automerge::legacy::Op| {
            matches!(op.key, OpKey::Map(_))
                && op.obj == ObjectId::Root
                && matches!(op.action, OpType::Put(_) | OpType::Delete | OpType::Increment(_))
        };
        if !change.decode().operations.iter().all(is_flat) {
            return Err(DocumentRefusal::Unreadable);
        }
        Ok(Some((with_change(before.clone(), change)?, header.hash)))
    })
}
