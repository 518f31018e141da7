//! The decision on one change set. Reads, never writes: what it answers is written by `batch`, or not at all.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use haversack_core::id_map::{merge_heads, rewrite_document};
use haversack_core::{
    AdmissionRefusal, Author, Authored, Document, DocumentRefusal, Evaluated, Row, Write, admit, project,
};
use haversack_protocol::limits::{AFTER_MAX, CHANGE_BYTES_MAX, DEPS_MAX, PARTS_PER_CHANGE_SET_MAX};
use haversack_protocol::{
    Assignment, ChangeHash, ChangeSetId, Code, CollectionSchema, Hint, LogPart, PartChange, PushedChangeSet,
    PushedPart, RecordId, Rejection, ServerChange, ServerId,
};

use super::{Law, Loaded};
use crate::store::{PushTransaction, StoreRefusal, StoredRecord};

/// Bytes a log row may take: it must fit into a page, and a page into a reply, however badly it compresses.
const ROW_BYTES_MAX: usize = 768 * 1024;
/// Bytes counted for the names and numbers beside each thing a log row holds.
const ROW_ENTRY_BYTES: usize = 128;

/// What failed earlier in the same push, by record and by change set.
#[derive(Default)]
pub(super) struct Failed {
    records: BTreeMap<RecordId, ChangeSetId>,
    change_sets: BTreeSet<ChangeSetId>,
}

impl Failed {
    /// Remembers a change set without acceptance; the first that failed on a record is named to those behind it.
    pub(super) fn add(&mut self, set: &PushedChangeSet) {
        self.change_sets.insert(set.id);
        for part in &set.parts {
            self.records.entry(part.record).or_insert(set.id);
        }
    }

    pub(super) fn on(&self, record: RecordId) -> Option<ChangeSetId> {
        self.records.get(&record).copied()
    }
}

/// The answer to one change set.
pub(super) enum Decision {
    Accepted(Acceptance),
    Rejected(Rejection),
    Hinted(Hint),
}

/// Everything an acceptance writes.
pub(super) struct Acceptance {
    pub(super) records: Vec<Admission>,
    pub(super) parts: Vec<LogPart>,
    pub(super) server_changes: Vec<ServerChange>,
    pub(super) assignments: Vec<Assignment>,
    pub(super) shadowed: Vec<(RecordId, String)>,
    /// Next number by prefix of server ids.
    pub(super) counters: BTreeMap<String, u64>,
}

/// One record as it will be.
pub(super) struct Admission {
    pub(super) id: RecordId,
    pub(super) record: StoredRecord,
    pub(super) saved: Vec<u8>,
    pub(super) row: Row,
}

/// Why the decision ends before acceptance.
pub(super) enum Stop {
    Reject(Rejection),
    Hint(Hint),
    Store(StoreRefusal),
}

impl From<StoreRefusal> for Stop {
    fn from(refusal: StoreRefusal) -> Self {
        Self::Store(refusal)
    }
}

impl From<Code> for Stop {
    fn from(code: Code) -> Self {
        Self::Reject(Rejection::of(code))
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<DocumentRefusal> for Stop {
    fn from(refusal: DocumentRefusal) -> Self {
        match refusal {
            DocumentRefusal::TooLarge => Code::Limit.into(),
            _ => Code::Malformed.into(),
        }
    }
}

/// A part that passed the gate, with the record around it.
pub(super) struct Touched<'a> {
    pub(super) id: RecordId,
    pub(super) collection_name: String,
    pub(super) collection: &'a CollectionSchema,
    epoch: u32,
    server_id: Option<ServerId>,
    document: Document,
    saved: Vec<u8>,
    zeros: Vec<Authored>,
    before: Option<Row>,
    after: Row,
    pub(super) writes: Vec<Write>,
}

/// The decision on one change set, in progress.
pub(super) struct Deciding<'a, 'c> {
    pub(super) law: &'a Law,
    pub(super) transaction: &'a PushTransaction<'c>,
    pub(super) author: Author<'a>,
    pub(super) failed: &'a Failed,
    pub(super) set: &'a PushedChangeSet,
}

impl<'a> Deciding<'a, '_> {
    /// Decides. Gates run cheapest first; the first that does not let the change set pass is its answer.
    pub(super) fn decide(&self, loaded: &mut Loaded) -> Result<Decision, StoreRefusal> {
        match self.accept(loaded) {
            Ok(acceptance) => Ok(Decision::Accepted(acceptance)),
            Err(Stop::Reject(rejection)) => Ok(Decision::Rejected(rejection)),
            Err(Stop::Hint(hint)) => Ok(Decision::Hinted(hint)),
            Err(Stop::Store(refusal)) => Err(refusal),
        }
    }

    fn accept(&self, loaded: &mut Loaded) -> Result<Acceptance, Stop> {
        // Not judged by a schema it was not made for: it waits until the server has that.
        if self.set.schema_version > self.law.schema.version {
            return Err(Stop::Hint(self.hint(Code::Upgrade, None)));
        }
        self.check_limits()?;
        self.check_erased()?;
        self.check_restricted()?;
        self.check_after()?;
        let mut touched = Vec::new();
        for part in &self.set.parts {
            touched.extend(self.admit_part(loaded, part)?);
        }
        self.check_references(&touched)?;
        self.check_rules(&touched)?;
        let (assignments, counters) = self.assign(&mut touched)?;
        let shadowed = touched.iter().flat_map(Touched::shadowed).collect();
        let mut server_changes = Vec::new();
        let mut records = Vec::with_capacity(touched.len());
        for one in touched {
            records.push(self.complete(one, &assignments, &mut server_changes)?);
        }
        let parts = self.set.parts.iter().map(log_part).collect();
        let acceptance = Acceptance { records, parts, server_changes, assignments, shadowed, counters };
        if acceptance.row_bytes() > ROW_BYTES_MAX { Err(Code::Limit.into()) } else { Ok(acceptance) }
    }

    pub(super) fn hint(&self, code: Code, record: Option<RecordId>) -> Hint {
        Hint { change_set: self.set.id, code, by: None, need: vec![], record }
    }

    /// Stands behind `by` when that failed in this push, else is held.
    fn blocked_or_held(&self, record: RecordId, need: Vec<ChangeHash>) -> Stop {
        Stop::Hint(match self.failed.on(record) {
            Some(by) => Hint { by: Some(by), ..self.hint(Code::Blocked, Some(record)) },
            None => Hint { need, ..self.hint(Code::DependencyMissing, Some(record)) },
        })
    }

    fn check_limits(&self) -> Result<(), Stop> {
        let set = self.set;
        if set.parts.is_empty() {
            return Err(Code::Malformed.into());
        }
        let is_too_large =
            |part: &PushedPart| part.change.len() > CHANGE_BYTES_MAX || part.deps.len() > DEPS_MAX;
        if set.parts.len() > PARTS_PER_CHANGE_SET_MAX
            || set.after.len() > AFTER_MAX
            || set.parts.iter().any(is_too_large)
        {
            return Err(Code::Limit.into());
        }
        let records: BTreeSet<_> = set.parts.iter().map(|part| part.record).collect();
        if records.len() == set.parts.len() { Ok(()) } else { Err(Code::Malformed.into()) }
    }

    /// Refuses what concerns erased records alone, before any of it is read. Where it concerns others, too, the device will
    /// offer it without what was erased, once it has read of that.
    fn check_erased(&self) -> Result<(), Stop> {
        let mut erased = Vec::new();
        for part in &self.set.parts {
            if self.transaction.is_erased(part.record)? {
                erased.push(part.record);
            }
        }
        match erased.first() {
            None => Ok(()),
            Some(_) if erased.len() == self.set.parts.len() => Err(Code::Erased.into()),
            Some(record) => Err(Stop::Hint(self.hint(Code::Epoch, Some(*record)))),
        }
    }

    /// Refuses edits of restricted records before any of them is read.
    fn check_restricted(&self) -> Result<(), Stop> {
        for part in &self.set.parts {
            if self.transaction.restricted_at(part.record)?.is_some() {
                return Err(Code::Restricted.into());
            }
        }
        Ok(())
    }

    /// What an accepted set is declared after stands; a refused one takes this one along; anything else may yet come.
    fn check_after(&self) -> Result<(), Stop> {
        for &earlier in &self.set.after {
            if self.failed.change_sets.contains(&earlier) {
                return Err(Stop::Hint(Hint { by: Some(earlier), ..self.hint(Code::Blocked, None) }));
            }
            match self.transaction.verdict(earlier)? {
                Some(verdict) if verdict.is_accepted => {}
                Some(_) => {
                    let root_cause = Some(earlier);
                    return Err(Stop::Reject(Rejection {
                        root_cause,
                        ..Rejection::of(Code::DependencyRejected)
                    }));
                }
                None => return Err(Stop::Hint(self.hint(Code::DependencyMissing, None))),
            }
        }
        Ok(())
    }

    fn admit_part(&self, loaded: &mut Loaded, part: &PushedPart) -> Result<Option<Touched<'a>>, Stop> {
        let known = loaded.get(self.transaction, part.record)?;
        let name = match (&part.collection, known) {
            (Some(_), Some(_)) => return Err(Code::Identity.into()),
            (Some(name), None) if part.epoch == 0 => name,
            (Some(_), None) => return Err(Code::Identity.into()),
            (None, None) => return Err(self.blocked_or_held(part.record, vec![])),
            (None, Some(known)) => &known.collection,
        };
        let collection = self.law.schema.collection(name).ok_or_else(|| unknown_collection(name))?;
        if known.is_some_and(|known| known.epoch != part.epoch) {
            return Err(Stop::Hint(self.hint(Code::Epoch, Some(part.record))));
        }
        if part.change.is_empty() {
            let Some(known) = known else { return Err(Code::Malformed.into()) };
            let need = known.document.missing(&part.deps);
            return if need.is_empty() { Ok(None) } else { Err(self.blocked_or_held(part.record, need)) };
        }
        let document = known.map(|known| &known.document);
        let admitted = admit(document, part, (name, collection), self.set.schema_version, self.author)
            .map_err(|refusal| match refusal {
                AdmissionRefusal::Rejected(rejection) => Stop::Reject(rejection),
                AdmissionRefusal::Missing(need) => self.blocked_or_held(part.record, need),
            })?;
        let after = project(&admitted.document, collection);
        let added_to = admitted.writes.iter().filter_map(|write| match write {
            Write::Member { field, is_added: true, .. } => Some(field.as_str()),
            _ => None,
        });
        if let Some(field) = after.overfull_set(added_to) {
            return Err(Stop::Reject(Rejection::of(Code::Limit).at(name, field)));
        }
        Ok(Some(Touched {
            id: part.record,
            collection_name: name.clone(),
            collection,
            epoch: part.epoch,
            server_id: known.map(|known| known.server_id.clone()),
            before: document.map(|document| project(document, collection)),
            after,
            document: admitted.document,
            saved: admitted.saved,
            zeros: admitted.zeros,
            writes: admitted.writes,
        }))
    }

    fn check_rules(&self, touched: &[Touched<'_>]) -> Result<(), Stop> {
        for one in touched {
            let evaluated = Evaluated {
                collection: &one.collection_name,
                before: one.before.as_ref(),
                after: &one.after,
                writes: &one.writes,
                role: self.author.role,
            };
            self.law.rules.evaluate(evaluated).map_err(Stop::Reject)?;
        }
        Ok(())
    }

    /// Gives every created record its server id.
    fn assign(&self, touched: &mut [Touched<'_>]) -> Result<(Vec<Assignment>, BTreeMap<String, u64>), Stop> {
        let (mut assignments, mut counters) = (Vec::new(), BTreeMap::new());
        for one in touched.iter_mut().filter(|one| one.server_id.is_none()) {
            let prefix = Law::server_id_prefix(&one.collection_name, one.collection);
            let next = match counters.get(&prefix) {
                Some(next) => *next,
                None => self.transaction.next_number(&prefix)?,
            };
            let server_id = ServerId::new(format!("{prefix}-{next:06}"))
                .expect("prefixes are checked when the server starts");
            counters.insert(prefix, next + 1);
            one.server_id = Some(server_id.clone());
            assignments.push(Assignment { record: one.id, server_id });
        }
        Ok((assignments, counters))
    }

    /// Adds what the server authors: zeros of counters, which the part stands on already, rewrites of temporary ids, and a
    /// merge when there are too many heads.
    fn complete(
        &self,
        mut touched: Touched<'_>,
        assignments: &[Assignment],
        server_changes: &mut Vec<ServerChange>,
    ) -> Result<Admission, Stop> {
        let failure = RefCell::new(None);
        let resolve = |record: RecordId| {
            let assigned = assignments.iter().find(|one| one.record == record);
            assigned.map(|one| one.server_id.clone()).or_else(|| {
                let names = self.transaction.names(record);
                let names = names.map_err(|refusal| failure.borrow_mut().replace(refusal)).ok()??;
                Some(names.1)
            })
        };
        let rewrites = rewrite_document(&mut touched.document, touched.collection, &resolve)?;
        if let Some(refusal) = failure.take() {
            return Err(refusal.into());
        }
        let merge = merge_heads(&mut touched.document)?;
        if !rewrites.is_empty() || merge.is_some() {
            touched.saved = touched.document.save_checked()?;
            touched.after = project(&touched.document, touched.collection);
        }
        let authored = touched.zeros.into_iter().chain(rewrites).chain(merge);
        server_changes.extend(authored.map(|change| ServerChange {
            record: touched.id,
            epoch: touched.epoch,
            change: change.bytes,
        }));
        let record = StoredRecord {
            collection: touched.collection_name,
            server_id: touched.server_id.expect("every record has one once ids are assigned"),
            epoch: touched.epoch,
            document: touched.document,
            saved_bytes: touched.saved.len(),
        };
        Ok(Admission { id: touched.id, record, saved: touched.saved, row: touched.after })
    }
}

impl Touched<'_> {
    pub(super) fn is_created(&self) -> bool {
        self.before.is_none()
    }

    /// Register fields it wrote that an override mark covers and keeps covering.
    fn shadowed(&self) -> impl Iterator<Item = (RecordId, String)> {
        let releases = |name: &str| {
            self.writes
                .iter()
                .any(|write| matches!(write, Write::Mark { field, mark: None } if field == name))
        };
        let written: BTreeSet<_> = self
            .writes
            .iter()
            .filter_map(|write| match write {
                Write::Register { field, .. } => Some(field.as_str()),
                _ => None,
            })
            .collect();
        written
            .into_iter()
            .filter(move |name| self.after.marks.contains_key(*name) && !releases(name))
            .map(|name| (self.id, name.to_owned()))
    }
}

impl Acceptance {
    /// An upper bound of what its log row takes.
    fn row_bytes(&self) -> usize {
        let parts = self.parts.iter().map(|part| match &part.change {
            PartChange::Full(change) => change.len(),
            _ => 0,
        });
        let server = self.server_changes.iter().map(|one| one.change.len());
        let entries =
            self.parts.len() + self.server_changes.len() + self.assignments.len() + self.shadowed.len();
        parts.chain(server).sum::<usize>() + (entries + 1) * ROW_ENTRY_BYTES
    }
}

fn unknown_collection(name: &str) -> Stop {
    Stop::Reject(Rejection::of(Code::Schema).within(name).because("schema.unknown_collection"))
}

fn log_part(part: &PushedPart) -> LogPart {
    let change =
        if part.change.is_empty() { PartChange::Empty } else { PartChange::Full(part.change.clone()) };
    LogPart { record: part.record, collection: part.collection.clone(), epoch: part.epoch, change }
}
