//! Reading the tables of a damaged store, from every side: what lies behind a damaged page is reached from the other end,
//! or through an index. A row counts only when every page read for it passed its authentication.

use haversack_core::Document;
use haversack_core::outbox::Entry;
use haversack_protocol::{ChangeHash, RecordId, ServerId};
use rusqlite::types::Value;
use rusqlite::{Connection, Params, Row, params_from_iter};

use super::document::StoredDocument;
use super::outbox::{self, COLUMNS, read_encoded};
use super::{one, record_at, run};
use crate::StoreError;
use crate::connection::refuse_zeros;

/// Tables with a number for each row, which are read row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbered {
    /// Filed entries.
    Outbox,
    /// The tail of the outbox.
    Tail,
    /// Confirmed documents.
    Document,
}

/// From where a table is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// From its first row.
    Front,
    /// From its last row.
    Back,
    /// Through an index.
    Index,
}

impl Side {
    /// Every side.
    pub(crate) const ALL: [Self; 3] = [Self::Front, Self::Back, Self::Index];
}

/// Hands over the numbers of rows until one cannot be read. The tail has no index; its other sides are asked once more.
pub(crate) fn numbers(
    connection: &Connection,
    table: Numbered,
    side: Side,
    take: impl FnMut(i64),
) -> Result<(), StoreError> {
    let sql = match (table, side) {
        (Numbered::Outbox, Side::Front) => "SELECT rowid FROM outbox NOT INDEXED ORDER BY rowid",
        (Numbered::Outbox, Side::Back) => "SELECT rowid FROM outbox NOT INDEXED ORDER BY rowid DESC",
        (Numbered::Outbox, Side::Index) => "SELECT rowid FROM outbox INDEXED BY outbox_by_turn",
        (Numbered::Tail, Side::Front | Side::Index) => "SELECT rowid FROM outbox_tail ORDER BY rowid",
        (Numbered::Tail, Side::Back) => "SELECT rowid FROM outbox_tail ORDER BY rowid DESC",
        (Numbered::Document, Side::Front) => "SELECT rowid FROM document NOT INDEXED ORDER BY rowid",
        (Numbered::Document, Side::Back) => "SELECT rowid FROM document NOT INDEXED ORDER BY rowid DESC",
        (Numbered::Document, Side::Index) => "SELECT rowid FROM document ORDER BY record",
    };
    each(connection, sql, [], |row| row.get(0), take)
}

/// The entry under an order, filed or not, without its frozen parts. Where what its author had seen cannot be read any
/// more it is left empty.
pub(crate) fn entry(
    connection: &Connection,
    table: Numbered,
    order: i64,
    has_base: bool,
) -> Result<Option<Entry>, StoreError> {
    let sql = if table == Numbered::Tail {
        "SELECT entry_order, priority, 'pending', body, base, NULL, 0, NULL, NULL FROM outbox_tail WHERE entry_order = ?1"
            .to_owned()
    } else {
        format!("SELECT {COLUMNS} FROM outbox WHERE entry_order = ?1")
    };
    if has_base {
        return one(connection, &sql, [order], read_encoded)?.map(outbox::Encoded::decode).transpose();
    }
    // An empty list in place of what cannot be read. The base follows the body on the same pages; where those were zeroed,
    // SQLCipher takes them for the end of the file and says nothing, so a body that ends in zeros is not believed.
    let sql = sql.replacen(" base,", " x'80',", 1).replace("FROM", ", substr(body, -1) <> x'00' FROM");
    let found = one(connection, &sql, [order], |row| Ok((read_encoded(row)?, row.get::<_, bool>(9)?)))?;
    match found {
        Some((entry, true)) => entry.decode().map(Some),
        Some((_, false)) => Err(StoreError::Unreadable("change set")),
        None => Ok(None),
    }
}

/// The document in a row, if it loads.
pub(crate) fn document(
    connection: &Connection,
    number: i64,
) -> Result<Option<(RecordId, StoredDocument)>, StoreError> {
    let sql = "SELECT record, collection, epoch, bytes FROM document WHERE rowid = ?1";
    let found = one(connection, sql, [number], |row| {
        Ok((record_at(row, 0)?, row.get(1)?, row.get(2)?, row.get::<_, Vec<u8>>(3)?))
    })?;
    let Some((record, collection, epoch, bytes)) = found else { return Ok(None) };
    let document = Document::load(&bytes).map_err(|source| StoreError::Document { record, source })?;
    Ok(Some((record, StoredDocument { collection, epoch, document })))
}

/// Adds an entry under its own order, as pending or set aside; its bytes are frozen apart.
pub(crate) fn insert_entry(connection: &Connection, entry: &Entry) -> Result<(), StoreError> {
    outbox::insert_salvaged(connection, entry)
}

/// Hands over generations and tips until one cannot be read.
pub(crate) fn lanes(
    connection: &Connection,
    side: Side,
    take: impl FnMut((RecordId, (u32, Option<ChangeHash>))),
) -> Result<(), StoreError> {
    let sql = match side {
        Side::Back => "SELECT record, generation, accepted_tip FROM lane ORDER BY record DESC",
        _ => "SELECT record, generation, accepted_tip FROM lane ORDER BY record",
    };
    let read = |row: &Row<'_>| {
        let tip = row.get::<_, Option<[u8; 32]>>(2)?.map(ChangeHash::from_bytes);
        Ok((record_at(row, 0)?, (row.get(1)?, tip)))
    };
    each(connection, sql, [], read, take)
}

/// Writes a generation and a tip.
pub(crate) fn insert_lane(
    connection: &Connection,
    record: RecordId,
    (generation, tip): (u32, Option<ChangeHash>),
) -> Result<(), StoreError> {
    let sql = "INSERT INTO lane (record, generation, accepted_tip) VALUES (?1, ?2, ?3)";
    run(connection, sql, (record.as_bytes(), generation, tip.map(|tip| *tip.as_bytes()))).map(drop)
}

/// Hands over assignments until one cannot be read.
pub(crate) fn assignments(
    connection: &Connection,
    side: Side,
    mut take: impl FnMut(RecordId, ServerId),
) -> Result<(), StoreError> {
    let sql = match side {
        Side::Front => "SELECT record, server_id FROM id_map ORDER BY record",
        Side::Back => "SELECT record, server_id FROM id_map ORDER BY record DESC",
        Side::Index => "SELECT record, server_id FROM id_map ORDER BY server_id",
    };
    each(
        connection,
        sql,
        [],
        |row| Ok((record_at(row, 0)?, row.get::<_, String>(1)?)),
        |(record, text)| {
            if let Ok(server_id) = ServerId::new(text) {
                take(record, server_id);
            }
        },
    )
}

/// Tables that are copied as they are, with how many columns they have and what they are ordered by: for display and as
/// evidence.
pub(crate) const COPIED: [(&str, usize, [&str; 2]); 4] = [
    ("device", 2, ["id", "id DESC"]),
    ("change_envelope", 5, ["hash", "hash DESC"]),
    ("quarantine", 3, ["record, position, bytes", "record DESC, position DESC, bytes DESC"]),
    ("notice", 8, ["id", "id DESC"]),
];

/// Hands over the rows of a copied table until one cannot be read.
pub(crate) fn copied(
    connection: &Connection,
    (table, columns, orders): (&str, usize, [&str; 2]),
    side: Side,
    take: impl FnMut(Vec<Value>),
) -> Result<(), StoreError> {
    let order = orders[usize::from(side == Side::Back)];
    let read = |row: &Row<'_>| (0..columns).map(|column| row.get(column)).collect();
    each(connection, &format!("SELECT * FROM {table} ORDER BY {order}"), [], read, take)
}

/// Adds a row to a copied table, unless it is there.
pub(crate) fn insert_copied(connection: &Connection, table: &str, row: &[Value]) -> Result<(), StoreError> {
    let places = vec!["?"; row.len()].join(", ");
    let sql = format!("INSERT OR IGNORE INTO {table} VALUES ({places})");
    run(connection, &sql, params_from_iter(row)).map(drop)
}

/// Runs a query and hands over row by row what was read from sound pages.
fn each<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    mut take: impl FnMut(T),
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        let value = read(row);
        refuse_zeros(connection)?;
        // A row that does not read is left out alone.
        if let Ok(value) = value {
            take(value);
        }
    }
    Ok(())
}
