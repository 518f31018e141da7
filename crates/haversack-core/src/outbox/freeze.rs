//! Freezing: authoring a change set's Automerge changes on what its author had seen.
//!
//! A change stands on the confirmed heads its author knew, united with the author's own last change of the record,
//! frozen or accepted. So an edit is concurrent with everything its author had not seen, and own edits form a chain.

use std::collections::{BTreeMap, BTreeSet};

use haversack_protocol::{ChangeHash, DeviceId, RecordId, Schema};

use super::entry::{Entry, FrozenPart};
use crate::record::document::device_actor;
use crate::record::{Document, DocumentRefusal};

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
    #[error("record {0} is of a collection the schema does not have")]
    UnknownCollection(RecordId),
    /// The document refuses it.
    #[error("record {record}: {source}")]
    Document {
        /// The record.
        record: RecordId,
        /// Why.
        source: DocumentRefusal,
    },
}

struct OpenLane {
    /// Confirmed document with every own frozen change.
    whole: Document,
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
            tip = Some(whole.apply(change).map_err(refuse)?);
        }
        let open = OpenLane { whole, view: None, tip, epoch: lane.epoch, generation: lane.generation };
        self.lanes.insert(record, open);
        Ok(())
    }

    /// Takes a record out again, with every change authored or handed in.
    pub(super) fn close(&mut self, record: RecordId) -> Option<Document> {
        self.lanes.remove(&record).map(|lane| lane.whole)
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
            let collection =
                self.schema.collection(&part.collection).ok_or(FreezeRefusal::UnknownCollection(record))?;
            let lane = self.lanes.get_mut(&record).ok_or(refuse(DocumentRefusal::Unreadable))?;
            let base = entry.base.iter().find(|base| base.record == record);
            let seen = base.map(|base| base.heads.as_slice()).unwrap_or_default();
            let mut view = lane.view_at(seen).map_err(refuse)?;
            let actor = device_actor(self.device, lane.generation);
            let version = entry.change_set.schema_version;
            let authored =
                view.author(actor, entry.change_set.id, part, collection, version).map_err(refuse)?;
            frozen.push(match authored {
                Some(change) => {
                    lane.whole.apply(&change.bytes).map_err(refuse)?;
                    lane.tip = Some(change.hash);
                    lane.view = Some(view);
                    FrozenPart {
                        record,
                        epoch: lane.epoch,
                        change: change.bytes,
                        hash: Some(change.hash),
                        deps: vec![],
                    }
                }
                None => {
                    FrozenPart { record, epoch: lane.epoch, change: vec![], hash: None, deps: view.heads() }
                }
            });
        }
        Ok(frozen)
    }
}

impl OpenLane {
    /// The document as the author of an edit on `seen` knows it.
    fn view_at(&mut self, seen: &[ChangeHash]) -> Result<Document, DocumentRefusal> {
        if let Some(view) = self.view.take()
            && self.tip.is_some_and(|tip| view.heads() == [tip])
            && seen.iter().all(|hash| view.contains(hash))
        {
            return Ok(view);
        }
        let base: BTreeSet<_> = seen.iter().copied().chain(self.tip).collect();
        self.whole.at(&base)
    }
}
