//! The public face of the store: every call is one unit of work or one query.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use haversack_core::{ChangeSet, Reference, StateDigest};
use haversack_protocol::limits::{LET_GO_PAUSE_MS, LET_GO_RECORDS_MAX, OUTBOX_ENTRIES_MAX};
use haversack_protocol::{
    ChangeSetId, Cursor, DeviceReply, HintBody, PageBody, RecordId, Role, Schema, ServerId, StoreId,
    UnixMillis,
};
use rusqlite::Connection;

use crate::connection::Connections;
use crate::open::open_store;
use crate::query::{self, Counts, FieldConflict, HistoryEntry, OutboxEntry, Query, StoredRecord};
use crate::table::notice::{self, Notice};
use crate::table::{document, erased, id_map, keeping, meta, outbox, quarantine, restricted, tail};
use crate::unit_of_work::{self, AppliedPage, Identity, Leased, Touched};
use crate::{KeyProvider, StoreError};

#[cfg(test)]
mod tests;

/// An opened store. Every method blocks; none of them touches the network.
pub struct Store {
    connections: Connections,
    store_id: StoreId,
    schema: Arc<Schema>,
}

impl Store {
    /// Opens the store in `folder`, or makes a new one where there is none, and prepares it for `schema`: when the
    /// schema changed, every row is made anew.
    ///
    /// # Errors
    /// [`StoreError`]; an existing store is then as it was.
    pub fn open(folder: &Path, schema: Arc<Schema>, keys: &dyn KeyProvider) -> Result<Self, StoreError> {
        let opened = open_store(folder, keys)?;
        opened.connections.write_even_when_full(|tx| unit_of_work::prepare(tx, &schema))?;
        Ok(Self { connections: opened.connections, store_id: opened.store_id, schema })
    }

    /// Closes the store, leaving the database without a log. Dropping it instead loses nothing, either.
    ///
    /// # Errors
    /// Why the log could not be emptied; the store is closed nevertheless, and nothing is lost.
    pub fn close(self) -> Result<(), StoreError> {
        self.connections.close()
    }

    /// Writes an encrypted copy of this moment into `to`, a folder that is not there yet or empty; the store goes on
    /// meanwhile. The copy has the same key and the recovery slots, and is checked before it gets its name. It knows no
    /// device: whoever restores it is a new one.
    ///
    /// # Errors
    /// Those of [`back_up`](crate::back_up()).
    pub fn back_up(&self, to: &Path) -> Result<(), StoreError> {
        crate::backup::back_up_open(&self.connections, to)
    }

    /// Name of the store.
    pub fn store_id(&self) -> StoreId {
        self.store_id
    }

    /// Schema it was opened with.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Who the store speaks for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn identity(&self) -> Result<Identity, StoreError> {
        self.connections.read(unit_of_work::identity)
    }

    /// Binds the store to a server, a principal and a device; returns what that touched.
    ///
    /// # Errors
    /// [`StoreError::OtherPrincipal`] when it is bound to others; nothing is changed then.
    pub fn bind(&self, server: &str, reply: &DeviceReply) -> Result<Touched, StoreError> {
        self.connections.write_even_when_full(|tx| unit_of_work::bind(tx, &self.schema, server, reply))
    }

    /// Remembers the principal's role as the server last said it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_role(&self, role: Role) -> Result<(), StoreError> {
        self.connections.write_even_when_full(|tx| meta::write(tx, meta::ROLE, &role))
    }

    /// Stores an edit in the outbox and shows it; returns what it touched. Once it returns, the edit survives
    /// a crash.
    ///
    /// # Errors
    /// [`StoreError::Edit`], [`StoreError::OutboxFull`] and [`StoreError::DiskFull`] among others; nothing is stored then.
    pub fn local_write(&self, change_set: ChangeSet) -> Result<Touched, StoreError> {
        self.write_bounded(change_set, OUTBOX_ENTRIES_MAX)
    }

    fn write_bounded(&self, change_set: ChangeSet, entries_max: u64) -> Result<Touched, StoreError> {
        let schema = self.schema();
        self.connections.write(|tx| unit_of_work::local_write(tx, schema, change_set, entries_max))
    }

    /// Stores several edits in one transaction, each with a verdict of its own to come; returns what they touched.
    ///
    /// # Errors
    /// Those of [`Store::local_write`] for the first that is refused; none of them is stored then.
    pub fn local_write_all(&self, change_sets: Vec<ChangeSet>) -> Result<Touched, StoreError> {
        self.connections.write(|tx| write_all(tx, self.schema(), change_sets))
    }

    /// Says whether [`Store::local_write_all`] would store these edits; stores nothing.
    ///
    /// # Errors
    /// Those of [`Store::local_write_all`].
    pub fn rehearse_all(&self, change_sets: Vec<ChangeSet>) -> Result<(), StoreError> {
        self.connections.rehearse(|tx| write_all(tx, self.schema(), change_sets)).map(drop)
    }

    /// Forgets a rejected or parked change set for good. What was parked for its sake is rejected with it.
    ///
    /// # Errors
    /// [`StoreError::UnknownChangeSet`] or [`StoreError::NotSetAside`] among others.
    pub fn discard(&self, id: ChangeSetId) -> Result<Touched, StoreError> {
        self.connections.write_even_when_full(|tx| unit_of_work::discard(tx, id))
    }

    /// Replaces rejected or parked change sets, each by the one beside it, in that order; or leaves all as they were.
    ///
    /// # Errors
    /// Those of [`Store::discard`] and [`Store::local_write`].
    pub fn resubmit(&self, replaced: Vec<(ChangeSetId, ChangeSet)>) -> Result<Touched, StoreError> {
        let (schema, max) = (self.schema(), OUTBOX_ENTRIES_MAX);
        self.connections.write(|tx| unit_of_work::resubmit(tx, schema, replaced, max))
    }

    /// The read position; `None` before the first page.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn cursor(&self) -> Result<Option<Cursor>, StoreError> {
        self.connections.read(|connection| meta::read(connection, meta::CURSOR))
    }

    /// Forgets the read position; documents and outbox stay.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn reset_cursor(&self) -> Result<(), StoreError> {
        self.connections.write_even_when_full(|tx| meta::remove(tx, meta::CURSOR))
    }

    /// Notes that the log was read to its end. From then on a salvaged store leases its outbox: what was lost beside it
    /// has come back.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn note_end_of_log(&self) -> Result<(), StoreError> {
        let healing = self.connections.read(|connection| meta::read::<bool>(connection, meta::HEALING))?;
        match healing {
            Some(_) => self.connections.write_even_when_full(|tx| meta::remove(tx, meta::HEALING)),
            None => Ok(()),
        }
    }

    /// Leases a batch of at most `change_sets_max` change sets. Their bytes are stored before this returns, and a
    /// later lease gives the same bytes until there is a verdict. A salvaged store leases nothing before
    /// [`Store::note_end_of_log`]. A batch that takes something back, `withdraw` or what
    /// the server held too often, carries nothing else.
    ///
    /// # Errors
    /// [`StoreError::NotRegistered`] before the first contact, among others.
    pub fn lease_batch(
        &self,
        change_sets_max: usize,
        withdraw: Option<ChangeSetId>,
    ) -> Result<Leased, StoreError> {
        let schema = self.schema();
        self.connections
            .write_even_when_full(|tx| unit_of_work::lease_batch(tx, schema, change_sets_max, withdraw))
    }

    /// Applies a page of the log and stores its cursor, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Assignment`] for a contradicting id map, among others; nothing is stored then.
    pub fn apply_page(&self, page: &PageBody) -> Result<AppliedPage, StoreError> {
        let schema = self.schema();
        self.connections.write_even_when_full(|tx| unit_of_work::apply_page(tx, schema, page))
    }

    /// Notes answers that are not final, for display; they count as no attempt.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn note_hints(&self, hints: &HintBody) -> Result<(), StoreError> {
        self.connections.write_even_when_full(|tx| {
            tail::file(tx)?;
            hints.hints.iter().try_for_each(|hint| outbox::note_hint(tx, hint.change_set, hint.code))
        })
    }

    /// Notes a request that brought no verdict. `error` is a code or a transport word, never a value.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn note_failure(
        &self,
        change_sets: &[ChangeSetId],
        error: &str,
        next_try: Option<UnixMillis>,
    ) -> Result<(), StoreError> {
        self.connections.write_even_when_full(|tx| {
            tail::file(tx)?;
            change_sets.iter().try_for_each(|id| outbox::note_failure(tx, *id, error, next_try))
        })
    }

    /// Says up to which position of the log nothing is left here of what was erased: the receipt a server waits for; `None`
    /// when nothing ever was. Where pages of the file may still hold it, or what was let go, they are written anew first.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while somebody reads, among others; the same call later finishes it.
    pub fn sweep_erased(&self) -> Result<Option<u64>, StoreError> {
        let (position, is_unswept) = self.connections.read(|connection| {
            let unswept: Option<bool> = meta::read(connection, meta::UNSWEPT)?;
            Ok((meta::read(connection, meta::ERASED)?, unswept.is_some()))
        })?;
        if is_unswept {
            self.connections
                .write_even_when_full(|tx| query::index::forget_removed_words(tx, &self.schema))?;
            let layout = self.connections.sweep()?;
            crate::open::note_layout(self.connections.folder(), layout);
            self.connections.write_even_when_full(|tx| {
                // What was erased meanwhile is for the next sweep.
                if meta::read::<u64>(tx, meta::ERASED)? == position {
                    meta::remove(tx, meta::UNSWEPT)?;
                }
                Ok(())
            })?;
            // That write is all the log holds now.
            let _ = self.connections.empty_log();
        }
        Ok(position)
    }

    /// Lets settled records go that were kept for as long as their collection's `keep_days` says, by the server's clock; at
    /// most once a day. What an entry of the outbox concerns stays, and the server keeps everything. Their bytes are gone with
    /// the next [`Store::sweep_erased`].
    ///
    /// # Errors
    /// [`StoreError`]; what was let go before stays so, and the next day's call goes on.
    pub fn let_go_aged(&self, now: UnixMillis) -> Result<Touched, StoreError> {
        let mut touched = Touched::default();
        if self.schema.collections.values().all(|collection| collection.keep_days.is_none()) {
            return Ok(touched);
        }
        let last: Option<UnixMillis> =
            self.connections.read(|connection| meta::read(connection, meta::LET_GO))?;
        // A clock that was set back does not put it off for longer than that.
        if last.is_some_and(|last| (0..LET_GO_PAUSE_MS).contains(&now.0.saturating_sub(last.0))) {
            return Ok(touched);
        }
        let aged = self.connections.write_even_when_full(|tx| unit_of_work::aged(tx, &self.schema, now))?;
        for records in aged.chunks(LET_GO_RECORDS_MAX) {
            let let_go = |tx: &_| unit_of_work::let_go(tx, &self.schema, now, records);
            touched.extend(self.connections.write_even_when_full(let_go)?);
        }
        Ok(touched)
    }

    /// Number of records that were let go.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn records_let_go(&self) -> Result<u64, StoreError> {
        self.connections.read(keeping::number_let_go)
    }

    /// Says whether a record was erased: nothing is left of it, and nothing of it can come back.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn is_erased(&self, record: RecordId) -> Result<bool, StoreError> {
        self.connections.read(|connection| erased::contains(connection, record))
    }

    /// Says whether a record is restricted: no edit of it is taken until that is lifted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn is_restricted(&self, record: RecordId) -> Result<bool, StoreError> {
        self.connections.read(|connection| restricted::contains(connection, record))
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn get(&self, record: RecordId) -> Result<Option<StoredRecord>, StoreError> {
        self.connections.read(|connection| query::get(connection, &self.schema, record))
    }

    /// The record either of its names stands for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn resolve(&self, name: &Reference) -> Result<Option<RecordId>, StoreError> {
        self.connections.read(|connection| query::resolve(connection, name))
    }

    /// The server id of a record, once assigned.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn server_id(&self, record: RecordId) -> Result<Option<ServerId>, StoreError> {
        self.connections.read(|connection| id_map::server_id(connection, record))
    }

    /// Every server id known here, by record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn server_ids(&self) -> Result<BTreeMap<RecordId, ServerId>, StoreError> {
        self.connections.read(id_map::all)
    }

    /// Lists records of a collection.
    ///
    /// # Errors
    /// [`StoreError::NotIndexed`] for a field without an index, [`StoreError::NotSearched`] for a collection without
    /// searched fields, among others.
    pub fn list(&self, query: &Query) -> Result<Vec<StoredRecord>, StoreError> {
        self.connections.read(|connection| query::list(connection, &self.schema, query))
    }

    /// Says how a listing will be found, a step a line.
    ///
    /// # Errors
    /// Those of [`Store::list`].
    pub fn explain(&self, query: &Query) -> Result<Vec<String>, StoreError> {
        self.connections.read(|connection| query::explain(connection, &self.schema, query))
    }

    /// Counts the records a listing without limit and offset would return.
    ///
    /// # Errors
    /// Those of [`Store::list`].
    pub fn count(&self, query: &Query) -> Result<u64, StoreError> {
        self.connections.read(|connection| query::count(connection, &self.schema, query))
    }

    /// The conflicts of a record, by field.
    ///
    /// # Errors
    /// [`StoreError::UnknownRecord`] among others.
    pub fn conflicts(&self, record: RecordId) -> Result<Vec<FieldConflict>, StoreError> {
        self.connections.read(|connection| query::conflicts(connection, &self.schema, record))
    }

    /// The history of a record, or of one field of it: every write that was accepted, in causal order, then the edits
    /// of this device that wait. That of a field holds the record's deletions and restorings, too.
    ///
    /// # Errors
    /// [`StoreError::UnknownRecord`] among others.
    pub fn history(&self, record: RecordId, field: Option<&str>) -> Result<Vec<HistoryEntry>, StoreError> {
        self.connections.read(|connection| query::history(connection, &self.schema, record, field))
    }

    /// At most `limit` records of all collections, deleted ones included, in the order of their record ids after `record`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn records_after(
        &self,
        record: Option<RecordId>,
        limit: u32,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        self.connections.read(|connection| query::after(connection, &self.schema, record, limit))
    }

    /// Number of records without a row: of collections the schema does not have. No listing shows them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn records_without_row(&self) -> Result<u64, StoreError> {
        self.connections.read(document::without_row)
    }

    /// Names of the fields a record holds that the schema does not have, or has as another kind: nothing shows them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn fields_without_schema(&self, record: RecordId) -> Result<BTreeSet<String>, StoreError> {
        self.connections.read(|connection| query::fields_without_schema(connection, &self.schema, record))
    }

    /// Number of changes in quarantine, by record: nothing shows what they hold.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn quarantined(&self) -> Result<BTreeMap<RecordId, u64>, StoreError> {
        self.connections.read(quarantine::counts)
    }

    /// A record and every record that refers to it, directly or through others; in the outbox, too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn subject(&self, record: RecordId) -> Result<BTreeSet<RecordId>, StoreError> {
        self.connections.read(|connection| query::subject(connection, &self.schema, record))
    }

    /// The outbox, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn outbox(&self) -> Result<Vec<OutboxEntry>, StoreError> {
        self.connections.read(query::entries)
    }

    /// The rejected and parked entries of the outbox, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_aside(&self) -> Result<Vec<OutboxEntry>, StoreError> {
        self.connections.read(query::set_aside)
    }

    /// An entry that was set aside and those that are parked for its sake, in the order in which they may be sent again.
    ///
    /// # Errors
    /// [`StoreError::UnknownChangeSet`] or [`StoreError::NotSetAside`] among others.
    pub fn set_aside_with(&self, id: ChangeSetId) -> Result<Vec<OutboxEntry>, StoreError> {
        self.connections.read(|connection| query::set_aside_with(connection, id))
    }

    /// Notices nobody acknowledged yet, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn notices(&self) -> Result<Vec<Notice>, StoreError> {
        self.connections.read(notice::open)
    }

    /// Marks a notice as seen. False when there is none of that id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn acknowledge_notice(&self, id: i64) -> Result<bool, StoreError> {
        self.connections.write_even_when_full(|tx| notice::acknowledge(tx, id))
    }

    /// Counts for status displays.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn counts(&self) -> Result<Counts, StoreError> {
        self.connections.read(query::counts)
    }

    /// Change sets the server has not settled to the user's satisfaction: pending, under way, rejected and parked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn unsynced(&self) -> Result<u64, StoreError> {
        let counts = self.counts()?;
        Ok(counts.pending + counts.sending + counts.rejected + counts.parked)
    }

    /// The digest of what rows show. Equals that of any device and the server with the same state and no work.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn digest_from_rows(&self) -> Result<StateDigest, StoreError> {
        self.connections.read(|connection| query::digest_from_rows(connection, &self.schema))
    }

    /// The digest of what confirmed documents hold.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn digest_from_documents(&self) -> Result<StateDigest, StoreError> {
        self.connections.read(|connection| query::digest_from_documents(connection, &self.schema))
    }

    /// Number of temporary ids visible in rows, documents, waiting entries and the reference table.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn temporary_ids(&self) -> Result<u64, StoreError> {
        self.connections.read(|connection| query::temporary_ids(connection, &self.schema))
    }

    /// Checks the file, and every row against its document and edits. One sentence per finding, without values.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn check(&self) -> Result<Vec<String>, StoreError> {
        let mut findings = self.connections.check()?;
        match self.connections.read(|connection| query::stale_rows(connection, &self.schema)) {
            Ok(stale) => findings.extend(stale),
            Err(error) if error.is_data_at_risk() && !findings.is_empty() => {
                findings.push("rows could not be compared with their documents and edits".to_owned());
            }
            Err(error) => return Err(error),
        }
        Ok(findings)
    }
}

fn write_all(tx: &Connection, schema: &Schema, change_sets: Vec<ChangeSet>) -> Result<Touched, StoreError> {
    let mut touched = Touched::default();
    for change_set in change_sets {
        touched.extend(unit_of_work::local_write(tx, schema, change_set, OUTBOX_ENTRIES_MAX)?);
    }
    Ok(touched)
}
