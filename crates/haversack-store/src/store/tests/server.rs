//! A small honest server: admits with core, assigns ids, rewrites references, keeps a log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use haversack_core::id_map::rewrite_document;
use haversack_core::{
    AdmissionRefusal, Author, Document, Reference, Root, StateDigest, Value, Write, admit, canonical_record,
    erased_name, project,
};
use haversack_protocol::{
    AcceptedRow, Assignment, ChangeSetId, Code, CollectionSchema, Cursor, DeviceId, DeviceRow, EpochCause,
    EpochRow, ErasedRow, LogPart, LogRow, PageBody, PartChange, PrincipalId, PushedChangeSet, RecordId,
    RejectedRow, Rejection, RestrictedRow, Role, RowOrigin, Schema, ServerChange, ServerId, UnixMillis,
};

use super::world::schema;

#[derive(Clone)]
pub(super) struct Server {
    schema: Arc<Schema>,
    documents: BTreeMap<RecordId, (String, Document)>,
    ids: BTreeMap<RecordId, ServerId>,
    devices: BTreeMap<DeviceId, (PrincipalId, Role)>,
    erased: BTreeSet<RecordId>,
    restricted: BTreeSet<RecordId>,
    epochs: BTreeMap<RecordId, u32>,
    settled: BTreeMap<ChangeSetId, Option<Rejection>>,
    pub(super) log: Vec<LogRow>,
    /// Change sets that break a rule.
    pub(super) refused: BTreeSet<ChangeSetId>,
}

/// What one admitted change set does.
#[derive(Default)]
struct Outcome {
    documents: BTreeMap<RecordId, (String, Document)>,
    parts: Vec<LogPart>,
    created: Vec<RecordId>,
    writes: Vec<(RecordId, Write)>,
}

impl Server {
    pub(super) fn new() -> Self {
        Self {
            schema: schema(),
            documents: BTreeMap::new(),
            ids: BTreeMap::new(),
            devices: BTreeMap::new(),
            erased: BTreeSet::new(),
            restricted: BTreeSet::new(),
            epochs: BTreeMap::new(),
            settled: BTreeMap::new(),
            log: vec![],
            refused: BTreeSet::new(),
        }
    }

    fn next_position(&self) -> u64 {
        self.log.len() as u64 + 1
    }

    pub(super) fn register(&mut self, device: DeviceId, principal: &PrincipalId, role: Role) {
        self.devices.insert(device, (principal.clone(), role));
        let position = self.next_position();
        self.log.push(LogRow::Device(DeviceRow { position, device, principal: principal.clone() }));
    }

    pub(super) fn push(&mut self, device: DeviceId, push: &[PushedChangeSet]) {
        for pushed in push {
            if self.settled.contains_key(&pushed.id) {
                continue;
            }
            match self.decide(device, pushed) {
                Ok(outcome) => self.accept(device, pushed, outcome),
                Err(AdmissionRefusal::Rejected(rejection)) => self.reject(device, pushed, rejection),
                Err(AdmissionRefusal::Missing(_)) => {}
            }
        }
    }

    /// Answers a withdrawal: what has a verdict keeps it.
    pub(super) fn withdraw(&mut self, device: DeviceId, ids: &[ChangeSetId]) {
        for id in ids {
            if !self.settled.contains_key(id) {
                let rejection = Rejection::of(Code::Withdrawn);
                let origin = RowOrigin {
                    position: self.next_position(),
                    change_set: *id,
                    device,
                    at: UnixMillis(0),
                    skew_ms: 5,
                };
                self.settled.insert(*id, Some(rejection.clone()));
                self.log.push(LogRow::Rejected(RejectedRow { origin, rejection }));
            }
        }
    }

    fn decide(&self, device: DeviceId, pushed: &PushedChangeSet) -> Result<Outcome, AdmissionRefusal> {
        for after in &pushed.after {
            if let Some(Some(_)) = self.settled.get(after) {
                let root_cause = Some(*after);
                let rejection = Rejection { root_cause, ..Rejection::of(Code::DependencyRejected) };
                return Err(AdmissionRefusal::Rejected(rejection));
            }
        }
        let erased = pushed.parts.iter().filter(|part| self.erased.contains(&part.record)).count();
        if erased == pushed.parts.len() {
            return Err(AdmissionRefusal::Rejected(Rejection::of(Code::Erased)));
        }
        if erased > 0 {
            return Err(AdmissionRefusal::Missing(vec![]));
        }
        if pushed.parts.iter().any(|part| self.restricted.contains(&part.record)) {
            return Err(AdmissionRefusal::Rejected(Rejection::of(Code::Restricted)));
        }
        if pushed.parts.iter().any(|part| part.epoch != self.epoch(part.record)) {
            return Err(AdmissionRefusal::Missing(vec![]));
        }
        let (principal, role) = &self.devices[&device];
        let author = Author { device, principal, role: *role };
        let mut outcome = Outcome::default();
        for part in &pushed.parts {
            let before = self.documents.get(&part.record);
            let name = part.collection.as_deref().or(before.map(|(name, _)| name.as_str()));
            let name = name.ok_or(AdmissionRefusal::Rejected(Rejection::of(Code::Identity)))?;
            let collection = self.collection(name);
            if part.change.is_empty() {
                let missing = before.map_or(part.deps.clone(), |(_, known)| known.missing(&part.deps));
                if !missing.is_empty() {
                    return Err(AdmissionRefusal::Missing(missing));
                }
            } else {
                let before = before.map(|(_, document)| document);
                let admitted = admit(before, part, (name, collection), pushed.schema_version, author)?;
                outcome.documents.insert(part.record, (name.to_owned(), admitted.document));
                outcome.writes.extend(admitted.writes.into_iter().map(|write| (part.record, write)));
            }
            if part.collection.is_some() {
                outcome.created.push(part.record);
            }
            outcome.parts.push(LogPart {
                record: part.record,
                collection: part.collection.clone(),
                epoch: part.epoch,
                change: PartChange::Full(part.change.clone()),
            });
        }
        self.check_references(&outcome)?;
        if self.refused.contains(&pushed.id) {
            return Err(AdmissionRefusal::Rejected(Rejection::of(Code::Rule)));
        }
        Ok(outcome)
    }

    fn check_references(&self, outcome: &Outcome) -> Result<(), AdmissionRefusal> {
        for (_, write) in &outcome.writes {
            if let Write::Register { value: Some(Value::Reference(Reference::Record(target))), .. } = write
                && !self.documents.contains_key(target)
                && !outcome.created.contains(target)
            {
                return Err(AdmissionRefusal::Rejected(Rejection::of(Code::ReferenceRejected)));
            }
        }
        Ok(())
    }

    fn collection(&self, name: &str) -> &CollectionSchema {
        self.schema.collection(name).expect("known to the test schema")
    }

    fn origin(&self, device: DeviceId, pushed: &PushedChangeSet) -> RowOrigin {
        let position = self.next_position();
        RowOrigin { position, change_set: pushed.id, device, at: pushed.at, skew_ms: 5 }
    }

    fn epoch(&self, record: RecordId) -> u32 {
        self.epochs.get(&record).copied().unwrap_or(0)
    }

    /// Begins a new epoch of a record.
    pub(super) fn begin_epoch(&mut self, record: RecordId, cause: EpochCause) {
        let fields = match &cause {
            EpochCause::Erased(fields) => {
                self.empty_log_of(record);
                fields.iter().cloned().collect()
            }
            EpochCause::Compacted => BTreeSet::new(),
        };
        let epoch = self.epoch(record) + 1;
        self.epochs.insert(record, epoch);
        let (collection, document) = self.documents.get_mut(&record).expect("a record");
        let root = Root::of(document, &fields);
        *document = root.plant(record, epoch).expect("plants").document;
        let (collection, root) = (collection.clone(), root.to_bytes().expect("writes"));
        let position = self.next_position();
        self.log.push(LogRow::Epoch(EpochRow { position, record, collection, epoch, root, cause }));
    }

    fn empty_log_of(&mut self, record: RecordId) {
        for row in &mut self.log {
            if let LogRow::Accepted(row) = row {
                let parts = row.parts.iter_mut().filter(|part| part.record == record);
                parts.for_each(|part| part.change = PartChange::Erased);
                row.server_changes.retain(|change| change.record != record);
            }
            if let LogRow::Epoch(row) = row
                && row.record == record
            {
                row.root.clear();
            }
        }
    }

    /// Erases a record: what the log held of it, and the record itself.
    pub(super) fn erase(&mut self, record: RecordId) {
        self.documents.remove(&record);
        self.erased.insert(record);
        self.empty_log_of(record);
        let position = self.next_position();
        self.log.push(LogRow::Erased(ErasedRow { position, record: erased_name(record) }));
    }

    /// Restricts a record, or lifts that.
    pub(super) fn restrict(&mut self, record: RecordId, is_restricted: bool) {
        self.restricted.remove(&record);
        self.restricted.extend(is_restricted.then_some(record));
        let position = self.next_position();
        self.log.push(LogRow::Restricted(RestrictedRow { position, record, is_restricted }));
    }

    fn reject(&mut self, device: DeviceId, pushed: &PushedChangeSet, rejection: Rejection) {
        let origin = self.origin(device, pushed);
        self.settled.insert(pushed.id, Some(rejection.clone()));
        self.log.push(LogRow::Rejected(RejectedRow { origin, rejection }));
    }

    fn accept(&mut self, device: DeviceId, pushed: &PushedChangeSet, outcome: Outcome) {
        let origin = self.origin(device, pushed);
        self.settled.insert(pushed.id, None);
        self.documents.extend(outcome.documents);
        let mut assignments = Vec::new();
        for record in outcome.created {
            let server_id = ServerId::new(format!("S-{}", self.ids.len() + 1)).expect("plain");
            self.ids.insert(record, server_id.clone());
            assignments.push(Assignment { record, server_id });
        }
        let covered = |(record, write): &(RecordId, Write)| {
            let Write::Register { field, .. } = write else { return None };
            let (name, document) = &self.documents[record];
            let row = project(document, self.collection(name));
            row.marks.contains_key(field.as_str()).then(|| (*record, field.clone()))
        };
        let shadowed = outcome.writes.iter().filter_map(covered).collect();
        let server_changes = self.rewrite();
        let parts = outcome.parts;
        self.log.push(LogRow::Accepted(AcceptedRow { origin, parts, server_changes, assignments, shadowed }));
    }

    fn rewrite(&mut self) -> Vec<ServerChange> {
        let mut changes = Vec::new();
        let ids = self.ids.clone();
        for (record, (name, document)) in &mut self.documents {
            let collection = self.schema.collection(name).expect("known");
            let authored = rewrite_document(document, collection, &|record| ids.get(&record).cloned());
            for change in authored.expect("rewrites") {
                let epoch = self.epochs.get(record).copied().unwrap_or(0);
                changes.push(ServerChange { record: *record, epoch, change: change.bytes });
            }
        }
        changes
    }

    /// Rows after `from` as the device may see them.
    pub(super) fn page(&self, device: DeviceId, from: u64, rows_max: usize, in_full: bool) -> PageBody {
        let mut rows = Vec::new();
        let mut position = from;
        for row in self.log.iter().filter(|row| row.position() > from).take(rows_max) {
            position = row.position();
            match row {
                LogRow::Rejected(row) if row.origin.device != device => {}
                LogRow::Accepted(row) => {
                    let mut row = row.clone();
                    let is_own = row.origin.device == device && !in_full;
                    row.parts.iter_mut().for_each(|part| part.change = sent(&part.change, is_own));
                    rows.push(LogRow::Accepted(row));
                }
                row => rows.push(row.clone()),
            }
        }
        PageBody { rows, cursor_after: Cursor::new(position.to_be_bytes().to_vec()).expect("small") }
    }

    pub(super) fn position_of(&self, cursor: &Cursor) -> u64 {
        u64::from_be_bytes(cursor.as_bytes().try_into().expect("eight bytes"))
    }

    pub(super) fn digest(&self) -> String {
        let mut digest = StateDigest::default();
        for (record, (name, document)) in &self.documents {
            let row = project(document, self.collection(name));
            digest.add(&canonical_record(*record, self.ids.get(record), name, &row));
        }
        digest.finish()
    }

    /// Appends a row no honest server would.
    pub(super) fn forge(&mut self, device: DeviceId, change: impl FnOnce(&mut AcceptedRow)) {
        let origin = RowOrigin {
            position: self.next_position(),
            change_set: ChangeSetId::from_bytes([0xee; 16]),
            device,
            at: UnixMillis(0),
            skew_ms: 0,
        };
        let mut row = AcceptedRow {
            origin,
            parts: vec![],
            server_changes: vec![],
            assignments: vec![],
            shadowed: vec![],
        };
        change(&mut row);
        self.log.push(LogRow::Accepted(row));
    }
}

/// A change as it is sent: to its own device only its hash.
fn sent(change: &PartChange, is_own: bool) -> PartChange {
    match change {
        PartChange::Full(bytes) if bytes.is_empty() => PartChange::Empty,
        PartChange::Full(bytes) if is_own => {
            PartChange::Own(haversack_core::inspect(bytes).expect("was admitted").hash)
        }
        other => other.clone(),
    }
}
