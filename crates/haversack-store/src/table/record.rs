//! Rows, and the references by record id that they show.

use haversack_core::{Reference, Row, Value};
use haversack_protocol::{RecordId, Schema, ServerId};
use rusqlite::{Connection, params};

use super::{all, one, record_at, run};
use crate::StoreError;

/// A row as stored.
#[derive(Clone, Debug)]
pub(crate) struct FoundRow {
    pub(crate) collection: String,
    pub(crate) row: Row,
}

/// Reads the JSON text of a row under the schema.
pub(crate) fn read_row(schema: &Schema, collection: &str, text: &str) -> Result<Row, StoreError> {
    let known = schema.collection(collection).ok_or(StoreError::Unreadable("row"))?;
    Row::from_text(known, text).map_err(|_| StoreError::Unreadable("row"))
}

/// The JSON text of a row, where SQLite keeps it.
pub(crate) fn text_at<'r>(row: &'r rusqlite::Row<'_>, column: usize) -> Result<&'r str, StoreError> {
    row.get_ref(column)?.as_str().map_err(|_| StoreError::Unreadable("row"))
}

/// The row of a record.
pub(crate) fn load(
    connection: &Connection,
    schema: &Schema,
    record: RecordId,
) -> Result<Option<FoundRow>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT collection, row FROM record WHERE id = ?1")?;
    let mut rows = statement.query([record.as_bytes()])?;
    let Some(found) = rows.next()? else { return Ok(None) };
    let collection: String = found.get(0)?;
    let row = read_row(schema, &collection, text_at(found, 1)?)?;
    Ok(Some(FoundRow { collection, row }))
}

/// The collection of a record that has a row.
pub(crate) fn collection(connection: &Connection, record: RecordId) -> Result<Option<String>, StoreError> {
    one(connection, "SELECT collection FROM record WHERE id = ?1", [record.as_bytes()], |row| row.get(0))
}

/// Says whether a live edit was laid over a record's row since it was made; it may still be in the outbox's tail.
pub(crate) fn is_edited(connection: &Connection, record: RecordId) -> Result<bool, StoreError> {
    let edited =
        one(connection, "SELECT is_edited FROM record WHERE id = ?1", [record.as_bytes()], |row| row.get(0))?;
    Ok(edited.unwrap_or(false))
}

/// Writes a row, and what it refers to by record id. `is_edited` when it was not made anew but has a live edit laid over
/// it, which may still be in the outbox's tail.
pub(crate) fn save(
    connection: &Connection,
    schema: &Schema,
    record: RecordId,
    found: &FoundRow,
    is_edited: bool,
) -> Result<(), StoreError> {
    let FoundRow { collection, row } = found;
    let has_conflict = !row.conflicts.is_empty() || !row.beaten_marks.is_empty();
    let text = row.to_text();
    let values = params![record.as_bytes(), collection, row.is_deleted, has_conflict, text, is_edited];
    // SQLite rewrites the indexes of every column an update names, changed or not, and each page of them is encrypted
    // anew: most edits change the text alone.
    let sql = "UPDATE record SET row = ?5, is_edited = ?6
               WHERE id = ?1 AND collection = ?2 AND is_deleted = ?3 AND has_conflict = ?4
               AND server_id IS (SELECT server_id FROM id_map WHERE record = ?1)";
    if run(connection, sql, values)? == 0 {
        let sql = "INSERT INTO record (id, collection, server_id, is_deleted, has_conflict, row, is_edited)
                   VALUES (?1, ?2, (SELECT server_id FROM id_map WHERE record = ?1), ?3, ?4, ?5, ?6)
                   ON CONFLICT (id) DO UPDATE SET collection = excluded.collection,
                   server_id = excluded.server_id, is_deleted = excluded.is_deleted,
                   has_conflict = excluded.has_conflict, row = excluded.row, is_edited = excluded.is_edited";
        run(connection, sql, values)?;
    }
    let refers = schema.collection(collection).is_some_and(|known| known.references().next().is_some());
    if refers {
        forget_references(connection, record)?;
        for (target, field) in temporary_references(row) {
            let sql = "INSERT OR IGNORE INTO reference (target, record, field) VALUES (?1, ?2, ?3)";
            run(connection, sql, (target.as_bytes(), record.as_bytes(), field))?;
        }
    }
    Ok(())
}

/// Every reference by record id that a row shows, conflicts included.
pub(crate) fn temporary_references(row: &Row) -> impl Iterator<Item = (RecordId, &str)> {
    let own = row.fields.iter().map(|(field, value)| (field, Some(value)));
    let concurrent = row
        .conflicts
        .iter()
        .flat_map(|(field, all)| all.iter().map(move |candidate| (field, candidate.value.as_ref())));
    own.chain(concurrent).filter_map(|(field, value)| match value {
        Some(Value::Reference(Reference::Record(target))) => Some((*target, field.as_str())),
        _ => None,
    })
}

fn forget_references(connection: &Connection, record: RecordId) -> Result<(), StoreError> {
    run(connection, "DELETE FROM reference WHERE record = ?1", [record.as_bytes()]).map(drop)
}

/// Removes the row of a record.
pub(crate) fn remove(connection: &Connection, record: RecordId) -> Result<(), StoreError> {
    forget_references(connection, record)?;
    run(connection, "DELETE FROM record WHERE id = ?1", [record.as_bytes()]).map(drop)
}

/// Records whose rows show a reference to the record by its record id.
pub(crate) fn showing(connection: &Connection, target: RecordId) -> Result<Vec<RecordId>, StoreError> {
    let sql = "SELECT DISTINCT record FROM reference WHERE target = ?1";
    all(connection, sql, [target.as_bytes()], |row| record_at(row, 0))
}

/// A row with what its listing needs.
pub(crate) struct ListedRow {
    pub(crate) record: RecordId,
    pub(crate) collection: String,
    pub(crate) server_id: Option<ServerId>,
    pub(crate) row: Row,
}

/// Hands every row to `visit`, ascending by record id.
pub(crate) fn each(
    connection: &Connection,
    schema: &Schema,
    mut visit: impl FnMut(ListedRow) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let sql = "SELECT id, collection, server_id, row FROM record ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let collection: String = row.get(1)?;
        let server_id = row.get::<_, Option<String>>(2)?.map(ServerId::new).transpose();
        visit(ListedRow {
            record: record_at(row, 0)?,
            server_id: server_id.map_err(|_| StoreError::Unreadable("server id"))?,
            row: read_row(schema, &collection, text_at(row, 3)?)?,
            collection,
        })?;
    }
    Ok(())
}

/// Every record with a row, ascending.
pub(crate) fn records(connection: &Connection) -> Result<Vec<RecordId>, StoreError> {
    all(connection, "SELECT id FROM record ORDER BY id", [], |row| record_at(row, 0))
}

/// Number of references by record id, kept for rows, whose record has a server id.
pub(crate) fn assigned_references(connection: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM reference JOIN id_map ON id_map.record = reference.target";
    super::count(connection, sql, [])
}
