//! Leasing a batch: pending entries are authored, and their bytes are stored before anything is sent.

use std::collections::{BTreeMap, BTreeSet};

use haversack_core::outbox::{Entry, FreezeRefusal, Freezer, FrozenPart, Lane};
use haversack_protocol::limits::BODY_COMPRESSED_BYTES_MAX;
use haversack_protocol::{ChangeSetId, PushedChangeSet, PushedPart, RecordId, Schema};
use rusqlite::Connection;

use super::materialise::refresh_stored;
use super::reject::roll_back;
use super::touched::Touched;
use crate::StoreError;
use crate::table::{document, lane, meta, outbox, tail};

/// Raw change bytes of one batch; with ids and lengths it fits a frame even when nothing of it compresses.
const BATCH_BYTES_MAX: usize = BODY_COMPRESSED_BYTES_MAX * 7 / 8;

/// A batch to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Leased {
    /// Change sets in the order they must arrive.
    pub push: Vec<PushedChangeSet>,
    /// Change sets to be answered or refused as withdrawn; the push is empty then.
    pub withdraw: Vec<ChangeSetId>,
    /// Number of this push; of the one before when it is empty.
    pub push_ordinal: u64,
    /// Entries wait that did not fit.
    pub has_more: bool,
    /// What it touched: records whose state changed.
    pub changed: Touched,
}

/// Leases at most `change_sets_max` entries: frozen ones as they are, then pending ones, authored now. What is to be
/// taken back goes alone, so that nothing that needs it is sent after it and refused for its sake.
pub(crate) fn lease_batch(
    connection: &Connection,
    schema: &Schema,
    change_sets_max: usize,
    withdraw: Option<ChangeSetId>,
) -> Result<Leased, StoreError> {
    let device = meta::read(connection, meta::DEVICE)?.ok_or(StoreError::NotRegistered)?;
    tail::file(connection)?;
    if meta::read::<bool>(connection, meta::HEALING)?.is_some() {
        // What an entry stands on may be among what was lost; it is authored when the log has brought that back.
        return Batch::default().close(connection);
    }
    let mut batch = Batch { withdraw: outbox::held_for_good(connection)?, ..Batch::default() };
    batch.withdraw.extend(withdraw.filter(|id| !batch.withdraw.contains(id)));
    if !batch.withdraw.is_empty() {
        return batch.close(connection);
    }
    let mut held_back = BTreeSet::new();
    let mut room = change_sets_max;
    for order in outbox::frozen_orders(connection)? {
        // What it needs may have been thawed and is authored only now: it goes with a later batch, its bytes unchanged.
        let mut needs = outbox::needs(connection, order)?.into_iter();
        if needs.try_fold(false, |waits, need| {
            Ok::<_, StoreError>(waits || held_back.contains(&need) || outbox::is_pending(connection, need)?)
        })? {
            held_back.insert(order);
            continue;
        }
        let parts = outbox::frozen_parts(connection, order)?;
        if !batch.has_room(change_sets_max, &parts) {
            room = 0;
            break;
        }
        batch.add(&outbox::load(connection, order)?, parts);
        room -= 1;
    }
    let mut freezer = Freezer::new(device, schema);
    for order in choose(connection, room, held_back)? {
        let entry = outbox::load(connection, order)?;
        match freeze(connection, &mut freezer, &entry)? {
            Ok(parts) => {
                outbox::freeze(connection, order, &parts)?;
                let touched = &entry.change_set.parts;
                touched.iter().for_each(|part| batch.changed.add(&part.collection, part.record));
                // Its bytes are stored all the same, and open the next batch.
                if !batch.has_room(change_sets_max, &parts) {
                    break;
                }
                batch.add(&entry, parts);
            }
            Err(refusal) => {
                let fallen = roll_back(connection, order, &refusal.rejection(), None)?;
                for record in fallen.stale {
                    batch.changed.extend(refresh_stored(connection, schema, record)?);
                }
                break;
            }
        }
    }
    batch.close(connection)
}

/// Pending entries in the order they are to be authored: greatest priority first, but nothing before what it needs, and
/// nothing that needs what is held back.
fn choose(
    connection: &Connection,
    room: usize,
    mut held_back: BTreeSet<i64>,
) -> Result<Vec<i64>, StoreError> {
    let mut chosen = Vec::new();
    let mut taken = BTreeSet::new();
    let mut waiting: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for candidate in outbox::pending_orders(connection, i64::try_from(room).unwrap_or(i64::MAX))? {
        let mut open = vec![(candidate, false)];
        while let Some((order, is_ready)) = open.pop() {
            if taken.contains(&order) || held_back.contains(&order) {
                continue;
            }
            if is_ready {
                if waiting
                    .remove(&order)
                    .is_some_and(|needs| needs.iter().any(|need| held_back.contains(need)))
                {
                    held_back.insert(order);
                    continue;
                }
                taken.insert(order);
                chosen.push(order);
                if chosen.len() == room {
                    return Ok(chosen);
                }
                continue;
            }
            open.push((order, true));
            // Latest first on the stack, so that the earliest is chosen first.
            let needs = outbox::needs(connection, order)?;
            for need in needs.iter().rev() {
                if !taken.contains(need) && outbox::is_pending(connection, *need)? {
                    open.push((*need, false));
                }
            }
            waiting.insert(order, needs);
        }
    }
    Ok(chosen)
}

/// Authors an entry, handing in the lanes it needs.
fn freeze(
    connection: &Connection,
    freezer: &mut Freezer<'_>,
    entry: &Entry,
) -> Result<Result<Vec<FrozenPart>, FreezeRefusal>, StoreError> {
    for part in &entry.change_set.parts {
        if freezer.needs(part.record) {
            let lane = open_lane(connection, part.record, entry)?;
            if let Err(refusal) = freezer.open(part.record, lane) {
                return Ok(Err(refusal));
            }
        }
    }
    Ok(freezer.freeze(entry))
}

fn open_lane(connection: &Connection, record: RecordId, entry: &Entry) -> Result<Lane, StoreError> {
    let (generation, accepted_tip) = lane::load(connection, record)?;
    let frozen = outbox::frozen_of(connection, record)?;
    let stored = document::load(connection, record)?;
    let epoch = match &stored {
        Some(stored) => stored.epoch,
        None => entry.base.iter().find(|base| base.record == record).map_or(0, |base| base.epoch),
    };
    let document = stored.map(|stored| stored.document);
    Ok(Lane { document, epoch, generation, accepted_tip, frozen })
}

#[derive(Default)]
struct Batch {
    push: Vec<PushedChangeSet>,
    withdraw: Vec<ChangeSetId>,
    bytes: usize,
    changed: Touched,
}

impl Batch {
    /// A batch that does not compress at all must still fit a frame; a single change set always does.
    fn has_room(&self, change_sets_max: usize, parts: &[FrozenPart]) -> bool {
        let bytes: usize = parts.iter().map(|part| part.change.len()).sum();
        let fits = self.push.is_empty() || self.bytes + bytes <= BATCH_BYTES_MAX;
        self.push.len() < change_sets_max && fits
    }

    fn add(&mut self, entry: &Entry, frozen: Vec<FrozenPart>) {
        let change_set = &entry.change_set;
        let (mut created, mut edited) = (Vec::new(), Vec::new());
        for (part, frozen) in change_set.parts.iter().zip(frozen) {
            self.bytes += frozen.change.len();
            let to = if part.creates { &mut created } else { &mut edited };
            to.push(PushedPart {
                record: frozen.record,
                collection: part.creates.then(|| part.collection.clone()),
                epoch: frozen.epoch,
                change: frozen.change,
                deps: frozen.deps,
            });
        }
        created.append(&mut edited);
        self.push.push(PushedChangeSet {
            id: change_set.id,
            at: change_set.at,
            schema_version: change_set.schema_version,
            after: change_set.after.clone(),
            parts: created,
        });
    }

    fn close(self, connection: &Connection) -> Result<Leased, StoreError> {
        let mut push_ordinal: u64 = meta::read(connection, meta::PUSH_ORDINAL)?.unwrap_or(0);
        if !self.push.is_empty() {
            push_ordinal += 1;
            meta::write(connection, meta::PUSH_ORDINAL, &push_ordinal)?;
        }
        let live = outbox::count_in(connection, "pending")? + outbox::count_in(connection, "frozen")?;
        let has_more = live > self.push.len() as u64;
        Ok(Leased { push: self.push, withdraw: self.withdraw, push_ordinal, has_more, changed: self.changed })
    }
}
