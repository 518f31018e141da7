//! Applying a page of the log: documents, rows, verdicts, ids and the cursor, in one transaction.
//!
//! Verdicts settle here and nowhere else, in log order. A repeated page changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use haversack_core::{Document, DocumentRefusal, admit_from_server};
use haversack_protocol::{
    ChangeHash, Code, DeviceId, LogRow, PageBody, RecordId, RejectedRow, RestrictedRow, RowOrigin, Schema,
    UnixMillis,
};
use rusqlite::Connection;

use super::accept::accept;
use super::epoch::begin_epoch;
use super::erase::{drop_entry, erase, tell};
use super::materialise::refresh;
use super::reject::roll_back;
use super::touched::Touched;
use crate::StoreError;
use crate::table::document::StoredDocument;
use crate::table::notice::{Notice, NoticeKind};
use crate::table::{document, envelope, erased, keeping, meta, notice, outbox, quarantine, restricted, tail};

/// What became of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageOutcome {
    /// Applied, and its cursor stored.
    Applied,
    /// The server named an own change by its hash, but its bytes are not here: nothing was applied; ask again with
    /// `echo_in_full`.
    NeedsFullEcho,
    /// Applied, but a record that was let go was edited: the cursor is forgotten, for what came before that edit is needed again.
    /// Pages behind this one are not to be applied.
    ReadAnew,
}

/// What a page did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedPage {
    /// What it touched.
    pub changed: Touched,
    /// Own change sets it accepted.
    pub accepted: usize,
    /// Own change sets it refused, those that fell with them included.
    pub rejected: usize,
    /// What became of it.
    pub outcome: PageOutcome,
}

/// Why a page stops.
pub(super) enum Stop {
    /// The bytes of an own change are not here.
    NeedsFullEcho,
    /// The store failed, or the page is hostile as a whole.
    Failed(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// Applies a page and stores its cursor, or does nothing at all.
pub(crate) fn apply_page(
    connection: &Connection,
    schema: &Schema,
    page: &PageBody,
) -> Result<AppliedPage, StoreError> {
    connection.execute_batch("SAVEPOINT page")?;
    tail::file(connection)?;
    let device = meta::read(connection, meta::DEVICE)?;
    let mut work = PageWork::new(connection, schema, device);
    match work.apply(page) {
        Ok(outcome) => {
            connection.execute_batch("RELEASE page")?;
            Ok(AppliedPage {
                changed: work.changed,
                accepted: work.accepted,
                rejected: work.rejected,
                outcome,
            })
        }
        Err(Stop::NeedsFullEcho) => {
            connection.execute_batch("ROLLBACK TO page; RELEASE page")?;
            let outcome = PageOutcome::NeedsFullEcho;
            Ok(AppliedPage { changed: Touched::default(), accepted: 0, rejected: 0, outcome })
        }
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// A document while a page is applied.
struct Held {
    stored: StoredDocument,
    /// What this page put in the place of the stored document.
    planted: Option<Document>,
    added: Vec<Added>,
}

/// A change of this page.
struct Added {
    position: u64,
    /// Who is said to have made it; `None`: the server.
    sender: Option<DeviceId>,
    change: Vec<u8>,
}

impl Added {
    /// A record with this change in it, saved and proven to load. `None` when it has the change already.
    fn proven_on(&self, before: &Document) -> Result<Option<(Vec<u8>, Document)>, DocumentRefusal> {
        let Some((document, _)) = admit_from_server(before, &self.change, self.sender)? else {
            return Ok(None);
        };
        Ok(Some((document.save_checked()?, document)))
    }
}

/// The state of one page under way.
pub(super) struct PageWork<'a> {
    pub(super) connection: &'a Connection,
    pub(super) schema: &'a Schema,
    pub(super) device: Option<DeviceId>,
    documents: BTreeMap<RecordId, Option<Held>>,
    /// Records whose rows are made anew in the end.
    pub(super) touched: BTreeSet<RecordId>,
    /// Records that have a server id from now on.
    pub(super) assigned: BTreeSet<RecordId>,
    /// Records that were let go and are wanted back.
    wanted: BTreeSet<RecordId>,
    changed: Touched,
    pub(super) accepted: usize,
    rejected: usize,
}

impl<'a> PageWork<'a> {
    fn new(connection: &'a Connection, schema: &'a Schema, device: Option<DeviceId>) -> Self {
        Self {
            connection,
            schema,
            device,
            documents: BTreeMap::new(),
            touched: BTreeSet::new(),
            assigned: BTreeSet::new(),
            wanted: BTreeSet::new(),
            changed: Touched::default(),
            accepted: 0,
            rejected: 0,
        }
    }

    fn apply(&mut self, page: &PageBody) -> Result<PageOutcome, Stop> {
        for row in &page.rows {
            match row {
                LogRow::Accepted(row) => accept(self, row)?,
                LogRow::Rejected(row) => self.reject(row)?,
                LogRow::Device(row) => envelope::insert_device(self.connection, row.device, &row.principal)?,
                LogRow::Erased(row) => erase(self, row)?,
                LogRow::Epoch(row) => begin_epoch(self, row)?,
                LogRow::Restricted(row) => self.restrict(row)?,
                _ => {}
            }
        }
        let records: Vec<_> = self.documents.keys().copied().collect();
        for record in records {
            self.save(record)?;
        }
        self.refresh()?;
        if self.wanted.is_empty() {
            meta::write(self.connection, meta::CURSOR, &page.cursor_after)?;
            Ok(PageOutcome::Applied)
        } else {
            meta::remove(self.connection, meta::CURSOR)?;
            Ok(PageOutcome::ReadAnew)
        }
    }

    /// Makes the rows of what was touched anew.
    fn refresh(&mut self) -> Result<(), StoreError> {
        let mut named = BTreeSet::new();
        for record in std::mem::take(&mut self.touched) {
            let (connection, schema) = (self.connection, self.schema);
            let confirmed = self.held(record)?.as_ref().map(|held| &held.stored);
            let refreshed = refresh(connection, schema, record, confirmed)?;
            if self.assigned.contains(&record) {
                named.extend(refreshed.collections().map(str::to_owned));
            }
            self.changed.extend(refreshed);
        }
        self.changed.add_referring(self.schema, &named);
        Ok(())
    }

    fn reject(&mut self, row: &RejectedRow) -> Result<(), Stop> {
        let Some(entry) = outbox::find(self.connection, row.origin.change_set)? else { return Ok(()) };
        let position = Some(row.origin.position);
        let fallen = roll_back(self.connection, entry.order, &row.rejection, position)?;
        self.rejected += fallen.rejected;
        self.touched.extend(fallen.stale);
        if row.rejection.code == Code::Erased {
            // It was of an erased record alone: its input is kept nowhere, here as little as at the server.
            drop_entry(self.connection, &entry)?;
            meta::write(self.connection, meta::UNSWEPT, &true)?;
            if let Some(part) = entry.change_set.parts.first() {
                tell(self.connection, part.record, fallen.rejected.max(1) as u64, row.origin.position)?;
            }
        }
        Ok(())
    }

    /// Edits of the record that wait stay as they are: the server decides on them.
    fn restrict(&mut self, row: &RestrictedRow) -> Result<(), StoreError> {
        if row.is_restricted && !self.is_erased(row.record)? {
            restricted::insert(self.connection, row.record, row.position)?;
        } else {
            restricted::remove(self.connection, row.record)?;
        }
        self.touched.insert(row.record);
        Ok(())
    }

    /// Records whose documents this page has loaded or made.
    pub(super) fn held_records(&self) -> Vec<RecordId> {
        self.documents.keys().copied().collect()
    }

    /// The epoch of a record's document; `None` without one.
    pub(super) fn epoch_of(&mut self, record: RecordId) -> Result<Option<u32>, StoreError> {
        let is_begun = |held: &&Held| held.stored.document.change_count() > 0;
        Ok(self.held(record)?.as_ref().filter(is_begun).map(|held| held.stored.epoch))
    }

    /// Takes the document of an ended epoch out of the page.
    pub(super) fn end_epoch(&mut self, record: RecordId) -> Result<Option<StoredDocument>, StoreError> {
        Ok(self.held(record)?.take().map(|held| held.stored))
    }

    /// Puts the document of a new epoch in its place; its bytes are proven to load.
    pub(super) fn plant(
        &mut self,
        record: RecordId,
        stored: StoredDocument,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        document::save(self.connection, record, &stored, bytes)?;
        let planted = Some(stored.document.clone());
        self.documents.insert(record, Some(Held { stored, planted, added: vec![] }));
        self.touched.insert(record);
        Ok(())
    }

    /// Takes the document of an erased record out of the page, and says which changes were in it.
    pub(super) fn forget(&mut self, record: RecordId) -> Result<Vec<ChangeHash>, StoreError> {
        let held = self.held(record)?.take();
        Ok(held.map(|held| held.stored.document.changes()).unwrap_or_default())
    }

    fn held(&mut self, record: RecordId) -> Result<&mut Option<Held>, StoreError> {
        use std::collections::btree_map::Entry;
        match self.documents.entry(record) {
            Entry::Occupied(held) => Ok(held.into_mut()),
            Entry::Vacant(place) => {
                let stored = document::load(self.connection, record)?;
                Ok(place.insert(stored.map(|stored| Held { stored, planted: None, added: vec![] })))
            }
        }
    }

    /// Says whether the record's confirmed document has the change.
    pub(super) fn contains(&mut self, record: RecordId, hash: &ChangeHash) -> Result<bool, StoreError> {
        Ok(self.held(record)?.as_ref().is_some_and(|held| held.stored.document.contains(hash)))
    }

    /// Adds a change of `sender` (`None`: the server) to a confirmed document. `Some` hash when it was new; a refused one
    /// is quarantined.
    pub(super) fn add(
        &mut self,
        (record, collection, epoch): (RecordId, Option<&str>, u32),
        sender: Option<DeviceId>,
        position: u64,
        change: &[u8],
    ) -> Result<Option<ChangeHash>, StoreError> {
        if self.passes_over(record, sender.map(|_| position))? {
            return Ok(None);
        }
        // What an ended epoch held stands in the root of the next.
        if self.epoch_of(record)?.is_some_and(|known| epoch < known) {
            return Ok(None);
        }
        let held = self.held(record)?;
        if held.is_none()
            && let Some(collection) = collection
        {
            let collection = collection.to_owned();
            let stored = StoredDocument { collection, epoch, document: Document::empty() };
            *held = Some(Held { stored, planted: None, added: vec![] });
        }
        let admitted = held.as_mut().filter(|held| held.stored.epoch == epoch).and_then(|held| {
            let Some((document, hash)) = admit_from_server(&held.stored.document, change, sender).ok()?
            else {
                return Some(None);
            };
            held.stored.document = document;
            held.added.push(Added { position, sender, change: change.to_vec() });
            Some(Some(hash))
        });
        let Some(new) = admitted else {
            self.quarantine(record, position, change)?;
            return Ok(None);
        };
        if new.is_some() {
            self.touched.insert(record);
        }
        Ok(new)
    }

    /// Says whether what the log tells of a record is none of this device's concern: it was erased, or let go. An edit at a
    /// position behind all that was known of a record that was let go brings it back, with the log read anew.
    pub(super) fn passes_over(
        &mut self,
        record: RecordId,
        edited_at: Option<u64>,
    ) -> Result<bool, StoreError> {
        if self.held(record)?.is_some() {
            return Ok(false);
        }
        if self.wanted.contains(&record) || self.is_erased(record)? {
            return Ok(true);
        }
        let Some(known) = keeping::let_go_at(self.connection, record)? else { return Ok(false) };
        if edited_at.is_some_and(|position| position > known) {
            keeping::let_go(self.connection, record, false)?;
            self.wanted.insert(record);
        }
        Ok(true)
    }

    /// Notes when a record was edited last, where its collection is kept for so many days.
    pub(super) fn note_edit(&mut self, record: RecordId, origin: &RowOrigin) -> Result<(), StoreError> {
        let schema = self.schema;
        let Some(held) = self.held(record)? else { return Ok(()) };
        let collection = schema.collection(&held.stored.collection);
        if collection.is_none_or(|collection| collection.keep_days.is_none()) {
            return Ok(());
        }
        let at = UnixMillis(origin.at.0.saturating_add(origin.skew_ms));
        keeping::note(self.connection, record, at, origin.position)
    }

    pub(super) fn is_erased(&self, record: RecordId) -> Result<bool, StoreError> {
        Ok(!erased::is_empty(self.connection)? && erased::contains(self.connection, record)?)
    }

    pub(super) fn quarantine(
        &mut self,
        record: RecordId,
        position: u64,
        change: &[u8],
    ) -> Result<(), StoreError> {
        if quarantine::insert(self.connection, record, position, change)? {
            let told = Notice {
                id: 0,
                kind: NoticeKind::Quarantined,
                record: Some(record),
                change_set: None,
                cause: None,
                entries: 1,
                position: Some(position),
            };
            notice::insert(self.connection, &told)?;
        }
        Ok(())
    }

    /// Stores a document whose bytes are proven to load. Where they are not, its changes of this page are taken one by
    /// one and only the culprits are quarantined.
    fn save(&mut self, record: RecordId) -> Result<(), StoreError> {
        let Some(Some(held)) = self.documents.get(&record) else { return Ok(()) };
        if held.added.is_empty() {
            if held.stored.document.change_count() == 0 {
                self.documents.insert(record, None);
            }
            return Ok(());
        }
        if let Ok(bytes) = held.stored.document.save_checked() {
            return document::save(self.connection, record, &held.stored, &bytes);
        }
        self.save_one_by_one(record)
    }

    fn save_one_by_one(&mut self, record: RecordId) -> Result<(), StoreError> {
        let Some(Some(mut held)) = self.documents.remove(&record) else { return Ok(()) };
        let before = match held.planted.take() {
            Some(planted) => Some(planted),
            None => document::load(self.connection, record)?.map(|before| before.document),
        };
        let mut good = before.unwrap_or_default();
        let mut proven = None;
        for added in std::mem::take(&mut held.added) {
            match added.proven_on(&good) {
                Ok(Some((bytes, document))) => (good, proven) = (document, Some(bytes)),
                Ok(None) => {}
                Err(_) => self.quarantine(record, added.position, &added.change)?,
            }
        }
        held.stored.document = good;
        if let Some(bytes) = proven {
            document::save(self.connection, record, &held.stored, &bytes)?;
        }
        let is_empty = held.stored.document.change_count() == 0;
        self.documents.insert(record, (!is_empty).then_some(held));
        Ok(())
    }
}
