//! The outbox and its side tables. What is asked of them leaves out the tail, unless it says otherwise.

use haversack_core::ChangeSet;
use haversack_core::id_map::rewrite_change_set;
use haversack_core::outbox::{BaseHeads, Entry, EntryShape, EntryState, FrozenPart, OutboxView};
use haversack_core::{Reference, Value};
use haversack_protocol::limits::{CHANGE_SETS_PER_PUSH_MAX, HOLDS_MAX};
use haversack_protocol::{ChangeHash, ChangeSetId, Code, RecordId, UnixMillis};
use rusqlite::{Connection, Row};

use super::{all, change_set_at, count, decode, encode, hashes_from, hashes_to, id_map, one, record_at, run};
use crate::StoreError;

/// Adds a pending entry at the end; the tail must be empty.
pub(super) fn insert(
    connection: &Connection,
    change_set: &ChangeSet,
    base: &Vec<BaseHeads>,
    priority: u8,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO outbox (change_set_id, priority, state, body, base)
               VALUES (?1, ?2, 'pending', ?3, ?4)";
    run(connection, sql, (change_set.id.as_bytes(), priority, encode(change_set), encode(base)))?;
    let order = connection.last_insert_rowid();
    insert_sides(connection, order, change_set)
}

/// Adds an entry of another store under its own order. A frozen one is pending until its bytes are frozen again.
pub(super) fn insert_salvaged(connection: &Connection, entry: &Entry) -> Result<(), StoreError> {
    let rejection = entry.state.set_aside();
    let state = match entry.state {
        EntryState::Rejected(_) => "rejected",
        EntryState::Parked(_) => "parked",
        _ => "pending",
    };
    let text = rejection.map(serde_json::to_string).transpose();
    let text = text.map_err(|_| StoreError::Unreadable("rejection"))?;
    let sql = "INSERT OR IGNORE INTO outbox
               (entry_order, change_set_id, priority, state, body, base, rejection, attempts, last_error)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let (id, body, base) = (entry.change_set.id.as_bytes(), encode(&entry.change_set), encode(&entry.base));
    let row = (entry.order, id, entry.priority, state, body, base, text, entry.attempts, &entry.last_error);
    if run(connection, sql, row)? == 0 {
        return Ok(());
    }
    insert_sides(connection, entry.order, &entry.change_set)
}

/// Says anew what the author of an entry had seen.
pub(crate) fn set_base(connection: &Connection, order: i64, base: &Vec<BaseHeads>) -> Result<(), StoreError> {
    run(connection, "UPDATE outbox SET base = ?2 WHERE entry_order = ?1", (order, encode(base))).map(drop)
}

/// Enters an entry in the side tables.
pub(super) fn insert_sides(
    connection: &Connection,
    order: i64,
    change_set: &ChangeSet,
) -> Result<(), StoreError> {
    for part in &change_set.parts {
        let sql = "INSERT INTO outbox_record (record, entry_order, creates) VALUES (?1, ?2, ?3)";
        run(connection, sql, (part.record.as_bytes(), order, part.creates))?;
    }
    for id in &change_set.after {
        let sql = "INSERT OR IGNORE INTO outbox_after (change_set_id, entry_order) VALUES (?1, ?2)";
        run(connection, sql, (id.as_bytes(), order))?;
    }
    insert_references(connection, order, change_set)
}

fn insert_references(connection: &Connection, order: i64, change_set: &ChangeSet) -> Result<(), StoreError> {
    for (_, _, reference) in change_set.references() {
        if let Reference::Record(target) = reference {
            let sql = "INSERT OR IGNORE INTO outbox_reference (target, entry_order) VALUES (?1, ?2)";
            run(connection, sql, (target.as_bytes(), order))?;
        }
    }
    Ok(())
}

pub(super) const COLUMNS: &str =
    "entry_order, priority, state, body, base, rejection, attempts, last_error, next_try";

/// What a row of the table holds, still encoded.
pub(super) struct Encoded {
    entry: Entry,
    state: String,
    body: Vec<u8>,
    base: Vec<u8>,
    rejection: Option<String>,
}

pub(super) fn read_encoded(row: &Row<'_>) -> rusqlite::Result<Encoded> {
    let nothing = ChangeSet {
        id: ChangeSetId::from_bytes([0; 16]),
        at: UnixMillis(0),
        schema_version: 0,
        after: vec![],
        parts: vec![],
    };
    let entry = Entry {
        order: row.get(0)?,
        priority: row.get(1)?,
        change_set: nothing,
        base: vec![],
        frozen: vec![],
        state: EntryState::Pending,
        attempts: row.get(6)?,
        last_error: row.get(7)?,
        next_try: row.get::<_, Option<i64>>(8)?.map(UnixMillis),
    };
    Ok(Encoded { entry, state: row.get(2)?, body: row.get(3)?, base: row.get(4)?, rejection: row.get(5)? })
}

impl Encoded {
    pub(super) fn decode(self) -> Result<Entry, StoreError> {
        let mut entry = self.entry;
        entry.change_set = decode(&self.body, "change set")?;
        entry.base = decode(&self.base, "change set's base")?;
        entry.state = match (self.state.as_str(), self.rejection) {
            ("pending", _) => EntryState::Pending,
            ("frozen", _) => EntryState::Frozen,
            (state, text) => {
                let rejection = serde_json::from_str(&text.unwrap_or_default());
                let rejection = rejection.map_err(|_| StoreError::Unreadable("rejection"))?;
                if state == "parked" {
                    EntryState::Parked(rejection)
                } else {
                    EntryState::Rejected(rejection)
                }
            }
        };
        Ok(entry)
    }
}

/// An entry without its frozen parts, see [`frozen_parts`].
pub(crate) fn load(connection: &Connection, order: i64) -> Result<Entry, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM outbox WHERE entry_order = ?1");
    let found = one(connection, &sql, [order], read_encoded)?;
    found.ok_or(StoreError::Unreadable("outbox entry"))?.decode()
}

/// The entry of a change set, without its frozen parts.
pub(crate) fn find(connection: &Connection, id: ChangeSetId) -> Result<Option<Entry>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM outbox WHERE change_set_id = ?1");
    one(connection, &sql, [id.as_bytes()], read_encoded)?.map(Encoded::decode).transpose()
}

/// Entries in order, those of the tail included, without their frozen parts.
pub(crate) fn list(connection: &Connection) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    each(connection, |entry| {
        entries.push(entry);
        Ok(())
    })?;
    Ok(entries)
}

/// Hands every entry to `visit`, in order, those of the tail included, without their frozen parts.
pub(crate) fn each(
    connection: &Connection,
    mut visit: impl FnMut(Entry) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM outbox UNION ALL
         SELECT entry_order, priority, 'pending', body, base, NULL, 0, NULL, NULL FROM outbox_tail
         ORDER BY entry_order"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit(read_encoded(row)?.decode()?)?;
    }
    Ok(())
}

/// Rejected and parked entries, in order.
pub(crate) fn all_set_aside(connection: &Connection) -> Result<Vec<Entry>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM outbox WHERE state IN ('rejected', 'parked') ORDER BY entry_order");
    all(connection, &sql, [], read_encoded)?.into_iter().map(Encoded::decode).collect()
}

/// Entries of the tail that touch the record, in order.
pub(crate) fn in_tail_of(connection: &Connection, record: RecordId) -> Result<Vec<Entry>, StoreError> {
    // An id stands in the bytes as it is: what does not hold it need not be decoded.
    let sql = "SELECT entry_order, priority, 'pending', body, base, NULL, 0, NULL, NULL FROM outbox_tail
               WHERE instr(body, ?1) > 0 ORDER BY entry_order";
    let entries = all(connection, sql, [record.as_bytes()], read_encoded)?.into_iter().map(Encoded::decode);
    let touches = |entry: &Entry| entry.change_set.parts.iter().any(|part| part.record == record);
    entries.filter(|entry| entry.as_ref().map_or(true, touches)).collect()
}

/// Live entries that touch the record, in order, without their frozen parts. Here and below a `CROSS JOIN` says which
/// table leads: without statistics the planner may walk all live entries for one record.
pub(crate) fn live_of(connection: &Connection, record: RecordId) -> Result<Vec<Entry>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM outbox_record CROSS JOIN outbox USING (entry_order)
         WHERE record = ?1 AND state IN ('pending', 'frozen') ORDER BY entry_order"
    );
    all(connection, &sql, [record.as_bytes()], read_encoded)?.into_iter().map(Encoded::decode).collect()
}

/// Every entry that touches the record, in order, set aside ones included, without their frozen parts.
pub(crate) fn all_of(connection: &Connection, record: RecordId) -> Result<Vec<Entry>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM outbox_record CROSS JOIN outbox USING (entry_order)
         WHERE record = ?1 ORDER BY entry_order"
    );
    all(connection, &sql, [record.as_bytes()], read_encoded)?.into_iter().map(Encoded::decode).collect()
}

/// Puts what is left of an entry in its place: the change set and what its author had seen. Authored bytes of records it
/// no longer touches go, the others stay as they were sent.
pub(crate) fn reduce(
    connection: &Connection,
    order: i64,
    change_set: &ChangeSet,
    base: &Vec<BaseHeads>,
) -> Result<(), StoreError> {
    let sql = "UPDATE outbox SET body = ?2, base = ?3 WHERE entry_order = ?1";
    run(connection, sql, (order, encode(change_set), encode(base)))?;
    for sql in [
        "DELETE FROM outbox_record WHERE entry_order = ?1",
        "DELETE FROM outbox_reference WHERE entry_order = ?1",
        "DELETE FROM outbox_after WHERE entry_order = ?1",
    ] {
        run(connection, sql, [order])?;
    }
    insert_sides(connection, order, change_set)?;
    let sql = "DELETE FROM frozen_part WHERE entry_order = ?1
               AND record NOT IN (SELECT record FROM outbox_record WHERE entry_order = ?1)";
    run(connection, sql, [order]).map(drop)
}

/// Entries that were declared after a change set, whatever their state, in order.
pub(crate) fn declared_after(connection: &Connection, id: ChangeSetId) -> Result<Vec<Entry>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM outbox_after CROSS JOIN outbox USING (entry_order)
         WHERE outbox_after.change_set_id = ?1 ORDER BY entry_order"
    );
    all(connection, &sql, [id.as_bytes()], read_encoded)?.into_iter().map(Encoded::decode).collect()
}

/// Says whether any entry touches a record or refers to it, whatever its state. Those of the tail are to be filed before.
pub(crate) fn concerns(connection: &Connection, record: RecordId) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM outbox_record WHERE record = ?1)
               OR EXISTS (SELECT 1 FROM outbox_reference WHERE target = ?1)";
    Ok(one(connection, sql, [record.as_bytes()], |row| row.get(0))?.unwrap_or(false))
}

/// Removes an entry and everything about it.
pub(crate) fn remove(connection: &Connection, order: i64) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM outbox WHERE entry_order = ?1",
        "DELETE FROM outbox_record WHERE entry_order = ?1",
        "DELETE FROM outbox_reference WHERE entry_order = ?1",
        "DELETE FROM outbox_after WHERE entry_order = ?1",
    ] {
        run(connection, sql, [order])?;
    }
    drop_frozen(connection, order)
}

fn drop_frozen(connection: &Connection, order: i64) -> Result<(), StoreError> {
    run(connection, "DELETE FROM frozen_part WHERE entry_order = ?1", [order]).map(drop)
}

/// Keeps an entry's authored bytes; from now on they are what is sent.
pub(crate) fn freeze(connection: &Connection, order: i64, parts: &[FrozenPart]) -> Result<(), StoreError> {
    run(connection, "UPDATE outbox SET state = 'frozen', holds = 0 WHERE entry_order = ?1", [order])?;
    for (position, part) in (0i64..).zip(parts) {
        let sql = "INSERT INTO frozen_part (entry_order, position, record, epoch, hash, change, deps)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let hash = part.hash.map(|hash| *hash.as_bytes());
        let row = (order, position, part.record.as_bytes(), part.epoch, hash, &part.change);
        let (order, position, record, epoch, hash, change) = row;
        run(connection, sql, (order, position, record, epoch, hash, change, hashes_to(&part.deps)))?;
    }
    Ok(())
}

/// Drops an entry's bytes, to be authored anew; its references are brought up to date, for assignments pass frozen
/// entries by.
pub(crate) fn thaw(connection: &Connection, order: i64) -> Result<(), StoreError> {
    drop_frozen(connection, order)?;
    run(connection, "UPDATE outbox SET state = 'pending' WHERE entry_order = ?1", [order])?;
    rewrite(connection, order)
}

/// Sets an entry aside, refused or parked, and drops its bytes. The input stays, its references brought up to date.
pub(crate) fn set_aside(connection: &Connection, order: i64, state: &EntryState) -> Result<(), StoreError> {
    let word = if matches!(state, EntryState::Parked(_)) { "parked" } else { "rejected" };
    let rejection = state.set_aside().ok_or(StoreError::Unreadable("rejection"))?;
    drop_frozen(connection, order)?;
    let text = serde_json::to_string(rejection).map_err(|_| StoreError::Unreadable("rejection"))?;
    let sql = "UPDATE outbox SET state = ?2, rejection = ?3, next_try = NULL WHERE entry_order = ?1";
    run(connection, sql, (order, word, text))?;
    rewrite(connection, order)
}

/// Entries that are parked for the sake of a change set, in order.
pub(crate) fn parked_for(connection: &Connection, root: ChangeSetId) -> Result<Vec<Entry>, StoreError> {
    // The reason is asked where it lies: what is parked for the sake of others is not decoded.
    let sql = format!(
        "SELECT {COLUMNS} FROM outbox WHERE state = 'parked' AND rejection ->> 'root_cause' = ?1
         ORDER BY entry_order"
    );
    all(connection, &sql, [root.to_string()], read_encoded)?.into_iter().map(Encoded::decode).collect()
}

/// Replaces references by record id in an entry's intents where there is a server id by now.
pub(crate) fn rewrite(connection: &Connection, order: i64) -> Result<(), StoreError> {
    let mut change_set = load(connection, order)?.change_set;
    if !id_map::resolving(connection, |resolve| rewrite_change_set(&mut change_set, resolve))? {
        return Ok(());
    }
    let sql = "UPDATE outbox SET body = ?2 WHERE entry_order = ?1";
    run(connection, sql, (order, encode(&change_set)))?;
    run(connection, "DELETE FROM outbox_reference WHERE entry_order = ?1", [order])?;
    insert_references(connection, order, &change_set)
}

/// Orders of entries that are not frozen and refer to the record by its record id.
pub(crate) fn rewritable(connection: &Connection, target: RecordId) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT entry_order FROM outbox_reference CROSS JOIN outbox USING (entry_order)
               WHERE target = ?1 AND state <> 'frozen' ORDER BY entry_order";
    all(connection, sql, [target.as_bytes()], |row| row.get(0))
}

const PART_COLUMNS: &str = "record, epoch, hash, change, deps";

fn read_part(row: &Row<'_>) -> rusqlite::Result<FrozenPart> {
    Ok(FrozenPart {
        record: record_at(row, 0)?,
        epoch: row.get(1)?,
        hash: row.get::<_, Option<_>>(2)?.map(ChangeHash::from_bytes),
        change: row.get(3)?,
        deps: hashes_from(&row.get::<_, Vec<u8>>(4)?),
    })
}

/// Authored parts of an entry, in the order of its parts.
pub(crate) fn frozen_parts(connection: &Connection, order: i64) -> Result<Vec<FrozenPart>, StoreError> {
    let sql = format!("SELECT {PART_COLUMNS} FROM frozen_part WHERE entry_order = ?1 ORDER BY position");
    all(connection, &sql, [order], read_part)
}

/// Own frozen changes of a record, in outbox order.
pub(crate) fn frozen_of(connection: &Connection, record: RecordId) -> Result<Vec<Vec<u8>>, StoreError> {
    let sql = "SELECT change FROM frozen_part WHERE record = ?1 AND hash IS NOT NULL ORDER BY entry_order";
    all(connection, sql, [record.as_bytes()], |row| row.get(0))
}

/// The own frozen change of that hash.
pub(crate) fn frozen_by_hash(
    connection: &Connection,
    hash: ChangeHash,
) -> Result<Option<Vec<u8>>, StoreError> {
    one(connection, "SELECT change FROM frozen_part WHERE hash = ?1", [hash.as_bytes()], |row| row.get(0))
}

/// Orders of frozen entries.
pub(crate) fn frozen_orders(connection: &Connection) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT entry_order FROM outbox WHERE state = 'frozen' ORDER BY entry_order";
    all(connection, sql, [], |row| row.get(0))
}

/// Orders of pending entries, greatest priority first.
pub(crate) fn pending_orders(connection: &Connection, limit: i64) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT entry_order FROM outbox WHERE state = 'pending'
               ORDER BY priority DESC, entry_order LIMIT ?1";
    all(connection, sql, [limit], |row| row.get(0))
}

/// Orders of the live entries an entry must not overtake: the one before it on each of its records, those that create
/// what it refers to, and those it was declared after.
pub(crate) fn needs(connection: &Connection, order: i64) -> Result<Vec<i64>, StoreError> {
    let sql = "
        SELECT (SELECT earlier.entry_order FROM outbox_record earlier
                CROSS JOIN outbox ON outbox.entry_order = earlier.entry_order
                WHERE earlier.record = mine.record AND earlier.entry_order < ?1 AND state IN ('pending', 'frozen')
                ORDER BY earlier.entry_order DESC LIMIT 1)
        FROM outbox_record mine WHERE mine.entry_order = ?1
        UNION
        SELECT creator.entry_order FROM outbox_reference mine
        CROSS JOIN outbox_record creator ON creator.record = mine.target AND creator.creates = 1
        CROSS JOIN outbox ON outbox.entry_order = creator.entry_order AND state IN ('pending', 'frozen')
        WHERE mine.entry_order = ?1 AND creator.entry_order < ?1
        UNION
        SELECT outbox.entry_order FROM outbox_after mine
        CROSS JOIN outbox ON outbox.change_set_id = mine.change_set_id AND state IN ('pending', 'frozen')
        WHERE mine.entry_order = ?1 AND outbox.entry_order < ?1
        ORDER BY 1";
    let found = all(connection, sql, [order], |row| row.get::<_, Option<i64>>(0))?;
    Ok(found.into_iter().flatten().collect())
}

/// Says whether an entry is still to be authored.
pub(crate) fn is_pending(connection: &Connection, order: i64) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM outbox WHERE entry_order = ?1 AND state = 'pending'";
    Ok(one(connection, sql, [order], |_| Ok(()))?.is_some())
}

/// Notes a request that brought no verdict.
pub(crate) fn note_failure(
    connection: &Connection,
    id: ChangeSetId,
    error: &str,
    next_try: Option<UnixMillis>,
) -> Result<(), StoreError> {
    let sql = "UPDATE outbox SET attempts = attempts + 1, last_error = ?2, next_try = ?3
               WHERE change_set_id = ?1 AND state IN ('pending', 'frozen')";
    run(connection, sql, (id.as_bytes(), error, next_try.map(|at| at.0))).map(drop)
}

/// Notes an answer that is not final; it counts as no attempt. Answers that hold the bytes are counted.
pub(crate) fn note_hint(connection: &Connection, id: ChangeSetId, code: Code) -> Result<(), StoreError> {
    let sql = "UPDATE outbox SET last_error = ?2, holds = holds + ?3
               WHERE change_set_id = ?1 AND state IN ('pending', 'frozen')";
    run(connection, sql, (id.as_bytes(), code.as_str(), code == Code::DependencyMissing)).map(drop)
}

/// Frozen change sets whose bytes were held too often: nothing this device sends will free them.
pub(crate) fn held_for_good(connection: &Connection) -> Result<Vec<ChangeSetId>, StoreError> {
    let sql = "SELECT change_set_id FROM outbox WHERE state = 'frozen' AND holds >= ?1 ORDER BY entry_order LIMIT ?2";
    all(connection, sql, (HOLDS_MAX, CHANGE_SETS_PER_PUSH_MAX as i64), |row| change_set_at(row, 0))
}

/// Number of entries in a state.
pub(crate) fn count_in(connection: &Connection, state: &str) -> Result<u64, StoreError> {
    count(connection, "SELECT count(*) FROM outbox WHERE state = ?1", [state])
}

/// Number of entries, whatever their state.
pub(super) fn entries(connection: &Connection) -> Result<u64, StoreError> {
    count(connection, "SELECT count(*) FROM outbox", [])
}

/// Records that live entries touch.
pub(crate) fn live_records(connection: &Connection) -> Result<Vec<RecordId>, StoreError> {
    let sql = "SELECT DISTINCT record FROM outbox_record JOIN outbox USING (entry_order)
               WHERE state IN ('pending', 'frozen')";
    all(connection, sql, [], |row| record_at(row, 0))
}

/// Says how many of a change set's intents hold a reference by record id to a record with a server id.
pub(crate) fn temporary_ids(connection: &Connection, change_set: &ChangeSet) -> Result<u64, StoreError> {
    id_map::resolving(connection, |resolve| {
        let is_temporary = |value: &Value| matches!(value, Value::Reference(Reference::Record(record)) if resolve(*record).is_some());
        let references = change_set.references().map(|(_, _, reference)| Value::Reference(reference.clone()));
        references.filter(is_temporary).count() as u64
    })
}

/// Live entries as the rollback plan asks for them.
pub(crate) struct LiveOutbox<'a>(pub(crate) &'a Connection);

impl LiveOutbox<'_> {
    /// One entry as the plan sees it.
    pub(crate) fn shape(&self, order: i64) -> Result<EntryShape, StoreError> {
        let sql = "SELECT change_set_id, state = 'frozen' FROM outbox WHERE entry_order = ?1";
        let found = one(self.0, sql, [order], |row| Ok((change_set_at(row, 0)?, row.get(1)?)))?;
        let (id, is_frozen) = found.ok_or(StoreError::Unreadable("outbox entry"))?;
        let sql = "SELECT record, creates FROM outbox_record WHERE entry_order = ?1";
        let touched = all(self.0, sql, [order], |row| Ok((record_at(row, 0)?, row.get::<_, bool>(1)?)))?;
        let sql = "SELECT record FROM frozen_part WHERE entry_order = ?1 AND hash IS NOT NULL";
        let authored = all(self.0, sql, [order], |row| record_at(row, 0))?;
        Ok(EntryShape {
            order,
            id,
            records: touched.iter().map(|(record, _)| *record).collect(),
            created: touched.iter().filter(|(_, creates)| *creates).map(|(record, _)| *record).collect(),
            is_frozen,
            authored,
        })
    }

    fn shapes(&self, sql: &str, key: &[u8; 16]) -> Result<Vec<EntryShape>, StoreError> {
        let orders = all(self.0, sql, [key], |row| row.get(0))?;
        orders.into_iter().map(|order| self.shape(order)).collect()
    }
}

impl OutboxView for LiveOutbox<'_> {
    type Error = StoreError;

    fn touching(&mut self, record: RecordId) -> Result<Vec<EntryShape>, StoreError> {
        let sql = "SELECT entry_order FROM outbox_record CROSS JOIN outbox USING (entry_order)
                   WHERE record = ?1 AND state IN ('pending', 'frozen') ORDER BY entry_order";
        self.shapes(sql, record.as_bytes())
    }

    fn referring(&mut self, record: RecordId) -> Result<Vec<EntryShape>, StoreError> {
        let sql = "SELECT entry_order FROM outbox_reference CROSS JOIN outbox USING (entry_order)
                   WHERE target = ?1 AND state IN ('pending', 'frozen') ORDER BY entry_order";
        self.shapes(sql, record.as_bytes())
    }

    fn after(&mut self, id: ChangeSetId) -> Result<Vec<EntryShape>, StoreError> {
        let sql = "SELECT entry_order FROM outbox_after
                   CROSS JOIN outbox USING (entry_order)
                   WHERE outbox_after.change_set_id = ?1 AND state IN ('pending', 'frozen') ORDER BY entry_order";
        self.shapes(sql, id.as_bytes())
    }
}
