//! Freezing: authoring a change set's Automerge changes on what its author had seen.
//!
//! A change stands on the confirmed heads its author knew, united with the author's own last change of the record,
//! frozen or accepted. So an edit is concurrent with everything its author had not seen, and own edits form a chain.

use std::collections::{BTreeMap, BTreeSet};

use haversack_protocol::{
    ChangeHash, Code, CollectionSchema, DeviceId, FieldKind, RecordId, Rejection, Schema,
};

use super::entry::{Entry, FrozenPart};
use crate::reason;
use crate::record::document::device_actor;
use crate::record::{Authored, Document, DocumentRefusal, Part};

/// What the store knows of a record when a batch is leased.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// Confirmed document; `None` for a record the server does not know yet.
    pub document: Option<Document>,
    /// Its epoch.
    pub epoch: u32,
    /// Actor generation; raised by every rollback.
    pub generation: u32,
    /// The author's last accepted change of the record.
    pub accepted_tip: Option<ChangeHash>,
    /// Own frozen changes in outbox order, sent or not.
    pub frozen: Vec<Vec<u8>>,
}

/// Why an entry cannot be authored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FreezeRefusal {
    /// The schema no longer has the collection.
    #[error("record {record} is of collection {collection:?}, which the schema does not have")]
    UnknownCollection {
        /// The record.
        record: RecordId,
        /// The collection.
        collection: String,
    },
    /// The document refuses it.
    #[error("record {record}: {source}")]
    Document {
        /// The record.
        record: RecordId,
        /// Why.
        source: DocumentRefusal,
    },
}

impl FreezeRefusal {
    /// What the refused entry keeps of it.
    pub fn rejection(&self) -> Rejection {
        match self {
            Self::UnknownCollection { collection, .. } => {
                Rejection::of(Code::Schema).within(collection).because(reason::UNKNOWN_COLLECTION)
            }
            Self::Document { source: DocumentRefusal::TooLarge, .. } => Rejection::of(Code::Limit),
            Self::Document { .. } => Rejection::of(Code::Schema).because(reason::NOT_AUTHORED),
        }
    }
}

/// The counters a creating part begins. An entry made under an earlier schema begins those it steps and no other: the
/// server may not have more yet, and [`Document::zero`] adds what later steps need.
fn begun<'p>(part: &'p Part, collection: &'p CollectionSchema, is_todays: bool) -> BTreeSet<&'p str> {
    let known = collection.fields.iter().filter(|(_, field)| is_todays && field.kind == FieldKind::Counter);
    known.map(|(name, _)| name.as_str()).chain(part.stepped()).collect()
}

struct OpenLane {
    /// Confirmed document with every own frozen change, but for the creation.
    whole: Document,
    /// A creation spelled out on nothing; most batches need no document of it.
    creation: Option<Vec<u8>>,
    /// The author's view at the tip, kept for the batch: a fork each would cost ten times as much.
    view: Option<Document>,
    tip: Option<ChangeHash>,
    epoch: u32,
    generation: u32,
}

/// Authors the entries of one batch, in outbox order.
pub struct Freezer<'a> {
    device: DeviceId,
    schema: &'a Schema,
    lanes: BTreeMap<RecordId, OpenLane>,
}

impl<'a> Freezer<'a> {
    /// A freezer for one batch of a device.
    pub fn new(device: DeviceId, schema: &'a Schema) -> Self {
        Self { device, schema, lanes: BTreeMap::new() }
    }

    /// Says whether the record's lane still has to be handed in.
    pub fn needs(&self, record: RecordId) -> bool {
        !self.lanes.contains_key(&record)
    }

    /// Hands in what the store knows of a record. Frozen changes of it are applied in order.
    ///
    /// # Errors
    /// [`FreezeRefusal::Document`] when an own frozen change no longer applies.
    pub fn open(&mut self, record: RecordId, lane: Lane) -> Result<(), FreezeRefusal> {
        let refuse = |source| FreezeRefusal::Document { record, source };
        let mut whole = lane.document.unwrap_or_default();
        let mut tip = lane.accepted_tip.filter(|tip| whole.contains(tip));
        for change in &lane.frozen {
            tip = Some(whole.apply_waiting(change).map_err(refuse)?);
        }
        let open = OpenLane {
            whole,
            creation: None,
            view: None,
            tip,
            epoch: lane.epoch,
            generation: lane.generation,
        };
        self.lanes.insert(record, open);
        Ok(())
    }

    /// Takes a record out again, with every change authored or handed in.
    pub(super) fn close(&mut self, record: RecordId) -> Option<Document> {
        let mut lane = self.lanes.remove(&record)?;
        lane.grow().ok()?;
        Some(lane.whole)
    }

    /// Authors every part of a pending entry. Lanes of all its records must be open.
    ///
    /// # Errors
    /// [`FreezeRefusal`]; lanes then hold what was authored before it, so the batch ends here.
    pub fn freeze(&mut self, entry: &Entry) -> Result<Vec<FrozenPart>, FreezeRefusal> {
        let mut frozen = Vec::with_capacity(entry.change_set.parts.len());
        for part in &entry.change_set.parts {
            let record = part.record;
            let refuse = |source| FreezeRefusal::Document { record, source };
            let unknown = || FreezeRefusal::UnknownCollection { record, collection: part.collection.clone() };
            let collection = self.schema.collection(&part.collection).ok_or_else(unknown)?;
            let lane = self.lanes.get_mut(&record).ok_or(refuse(DocumentRefusal::Unreadable))?;
            let base = entry.base.iter().find(|base| base.record == record);
            let seen = base.map(|base| base.heads.as_slice()).unwrap_or_default();
            let actor = device_actor(self.device, lane.generation);
            let version = entry.change_set.schema_version;
            let counters = begun(part, collection, version == self.schema.version);
            if part.creates && lane.is_empty() {
                let spelled =
                    Document::spell_creation(actor.clone(), entry.change_set.id, part, &counters, version);
                if let Some(change) = spelled.map_err(refuse)? {
                    lane.creation = Some(change.bytes.clone());
                    lane.tip = Some(change.hash);
                    frozen.push(FrozenPart::holding(record, lane.epoch, change));
                    continue;
                }
            }
            let mut view = lane.view_at(seen).map_err(refuse)?;
            if !part.creates {
                view = lane.with_counters(view, part).map_err(refuse)?;
            }
            let knows_all = lane.whole.heads() == view.heads();
            let authored =
                view.author(actor, entry.change_set.id, part, &counters, version).map_err(refuse)?;
            frozen.push(match authored {
                Some(change) => {
                    lane.tip = Some(change.hash);
                    if knows_all {
                        // The author's view has become the whole: nothing need be applied once more.
                        lane.whole = view;
                    } else {
                        lane.whole.apply(&change.bytes).map_err(refuse)?;
                        lane.view = Some(view);
                    }
                    FrozenPart::holding(record, lane.epoch, change)
                }
                None => {
                    FrozenPart { record, epoch: lane.epoch, change: vec![], hash: None, deps: view.heads() }
                }
            });
        }
        Ok(frozen)
    }
}

impl FrozenPart {
    fn holding(record: RecordId, epoch: u32, change: Authored) -> Self {
        Self { record, epoch, change: change.bytes, hash: Some(change.hash), deps: vec![] }
    }
}

impl OpenLane {
    /// Says whether nobody ever wrote the record.
    fn is_empty(&self) -> bool {
        self.creation.is_none() && self.whole.change_count() == 0
    }

    /// Brings the creation into the document.
    fn grow(&mut self) -> Result<(), DocumentRefusal> {
        match self.creation.take() {
            Some(change) => self.whole.apply(&change).map(drop),
            None => Ok(()),
        }
    }

    /// The document as the author of an edit on `seen` knows it.
    fn view_at(&mut self, seen: &[ChangeHash]) -> Result<Document, DocumentRefusal> {
        self.grow()?;
        if let Some(view) = self.view.take()
            && self.tip.is_some_and(|tip| view.heads() == [tip])
            && seen.iter().all(|hash| view.contains(hash))
        {
            return Ok(view);
        }
        let base: BTreeSet<_> = seen.iter().copied().chain(self.tip).collect();
        self.whole.at(&base)
    }

    /// The view with the zeros of the counters the part steps and the record was created without.
    fn with_counters(&mut self, view: Document, part: &Part) -> Result<Document, DocumentRefusal> {
        let mut base: BTreeSet<_> = view.heads().into_iter().collect();
        let known = base.len();
        for field in part.stepped().filter(|field| view.lacks_counter(field)) {
            base.insert(self.whole.apply(&self.whole.zero(field)?.bytes)?);
        }
        if base.len() == known { Ok(view) } else { self.whole.at(&base) }
    }
}
