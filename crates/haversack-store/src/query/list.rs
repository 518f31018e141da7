//! Reading records: one, or those of a collection by indexed fields.

use haversack_core::{EditRefusal, Reference, Row, Value, ValueRefusal, value_to_json};
use haversack_protocol::limits::{LIST_LIMIT_MAX, SEARCH_BYTES_MAX};
use haversack_protocol::{CollectionSchema, FieldKind, FieldSchema, RecordId, Schema, ServerId};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};

use super::index::{self, effective, in_collection};
use crate::StoreError;
use crate::table::id_map;
use crate::table::record::{read_row, text_at};

/// Records a listing makes room for beforehand, where it may return as many.
const LIST_ROOM: u32 = 64;

/// Where a record stands between this device and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordState {
    /// Created here; nothing of it was sent.
    LocalOnly,
    /// Has edits that wait to be sent.
    Pending,
    /// Has edits that may have reached the server.
    Sending,
    /// Everything known of it is durable at the server.
    Synced,
    /// Has an edit that was refused and waits for its user.
    Rejected,
    /// Has an edit that was taken back after repeated failure and waits for its user.
    Parked,
}

/// A record as apps read it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRecord {
    /// Its id.
    pub record: RecordId,
    /// Its server id, once assigned.
    pub server_id: Option<ServerId>,
    /// Its collection.
    pub collection: String,
    /// Its fields, marks and conflicts.
    pub row: Row,
    /// Where it stands.
    pub state: RecordState,
}

/// How a field is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// A condition on the effective value of an indexed field. A field without a value fulfils none.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Field.
    pub field: String,
    /// Comparison.
    pub op: Comparison,
    /// Value of the field's kind.
    pub value: Value,
}

/// Order of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first; records without a value before all others.
    Ascending,
    /// Greatest first; records without a value after all others.
    Descending,
}

/// A listing of a collection.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Collection.
    pub collection: String,
    /// Conditions, all of which hold.
    pub filters: Vec<Filter>,
    /// Indexed field to sort by; by record id when absent, which is by creation time.
    pub sort: Option<(String, Direction)>,
    /// Greatest number of records; never more than [`LIST_LIMIT_MAX`].
    pub limit: u32,
    /// Records to skip.
    pub offset: u32,
    /// Include deleted records.
    pub with_deleted: bool,
    /// Words that all occur in searched fields of a record, the last one as the beginning of a word; the best fit comes
    /// first unless sorted.
    pub search: Option<String>,
}

/// What of the columns of a listing each record needs. Greatest state of its entries: 4 rejected, 3 parked, 2 frozen, 1
/// pending, 0 for none; of those in the outbox's tail, which are all pending, its own mark tells.
const COLUMNS: &str = "id, server_id, collection, row,
    max(is_edited, coalesce(
    (SELECT max(CASE outbox.state WHEN 'rejected' THEN 4 WHEN 'parked' THEN 3 WHEN 'frozen' THEN 2 ELSE 1 END)
     FROM outbox_record touched CROSS JOIN outbox ON outbox.entry_order = touched.entry_order
     WHERE touched.record = record.id), 0)),
    EXISTS (SELECT 1 FROM document WHERE document.record = record.id)";

/// Reads a record from [`COLUMNS`].
fn stored(
    connection: &Connection,
    schema: &Schema,
    found: &rusqlite::Row<'_>,
) -> Result<StoredRecord, StoreError> {
    let collection: String = found.get(2)?;
    let mut row = read_row(schema, &collection, text_at(found, 3)?)?;
    resolve_marks(connection, &mut row)?;
    let server_id = found.get::<_, Option<String>>(1)?.map(ServerId::new).transpose();
    Ok(StoredRecord {
        record: RecordId::from_bytes(found.get(0)?),
        server_id: server_id.map_err(|_| StoreError::Unreadable("server id"))?,
        collection,
        row,
        state: match found.get(4)? {
            i64::MIN..=0 => RecordState::Synced,
            4.. => RecordState::Rejected,
            3 => RecordState::Parked,
            2 => RecordState::Sending,
            1 if found.get(5)? => RecordState::Pending,
            1 => RecordState::LocalOnly,
        },
    })
}

/// A reference inside a mark is never rewritten, so it is resolved when it is read.
fn resolve_marks(connection: &Connection, row: &mut Row) -> Result<(), StoreError> {
    for mark in row.marks.values_mut().chain(row.beaten_marks.values_mut().flatten()) {
        if let Some(Value::Reference(reference)) = &mut mark.value
            && let Reference::Record(record) = reference
            && let Some(server_id) = id_map::server_id(connection, *record)?
        {
            *reference = Reference::Server(server_id);
        }
    }
    Ok(())
}

/// Reads one record.
pub(crate) fn get(
    connection: &Connection,
    schema: &Schema,
    record: RecordId,
) -> Result<Option<StoredRecord>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM record WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([record.as_bytes()])?;
    rows.next()?.map(|found| stored(connection, schema, found)).transpose()
}

/// The record either of its names stands for.
pub(crate) fn resolve(connection: &Connection, name: &Reference) -> Result<Option<RecordId>, StoreError> {
    match name {
        Reference::Record(record) => {
            let sql = "SELECT 1 FROM record WHERE id = ?1 UNION SELECT 1 FROM id_map WHERE record = ?1";
            let is_known = connection.prepare_cached(sql)?.exists([record.as_bytes()])?;
            Ok(is_known.then_some(*record))
        }
        Reference::Server(server_id) => id_map::holder(connection, server_id),
    }
}

/// Lists records.
pub(crate) fn list(
    connection: &Connection,
    schema: &Schema,
    query: &Query,
) -> Result<Vec<StoredRecord>, StoreError> {
    let (sql, values) = listing(connection, schema, query)?;
    let mut statement = connection.prepare_cached(&sql)?;
    all_stored(connection, schema, statement.query(params_from_iter(values))?, query.limit)
}

fn all_stored(
    connection: &Connection,
    schema: &Schema,
    mut rows: rusqlite::Rows<'_>,
    limit: u32,
) -> Result<Vec<StoredRecord>, StoreError> {
    let mut records = Vec::with_capacity(limit.min(LIST_ROOM) as usize);
    while let Some(found) = rows.next()? {
        records.push(stored(connection, schema, found)?);
    }
    Ok(records)
}

/// Records after one in the order of record ids, of every collection, deleted ones included.
pub(crate) fn after(
    connection: &Connection,
    schema: &Schema,
    record: Option<RecordId>,
    limit: u32,
) -> Result<Vec<StoredRecord>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM record WHERE id > ?1 ORDER BY id LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let from = record.as_ref().map_or(&[][..], |record| record.as_bytes());
    all_stored(connection, schema, statement.query((from, limit.min(LIST_LIMIT_MAX)))?, limit)
}

/// The SQL of a listing, with the values of its places.
fn listing(
    connection: &Connection,
    schema: &Schema,
    query: &Query,
) -> Result<(String, Vec<Sql>), StoreError> {
    let collection = known(schema, query)?;
    let (condition, mut values) = condition(connection, collection, query)?;
    let order = match &query.sort {
        None if query.search.is_some() => "fit, id".to_owned(),
        None => "id".to_owned(),
        Some((field, direction)) => {
            let kind = indexed(collection, query, field)?.kind;
            let word = if *direction == Direction::Ascending { "ASC" } else { "DESC" };
            format!("{} {word}, id {word}", effective(kind, field))
        }
    };
    let source = searched(collection, query, &mut values)?.unwrap_or_else(|| source(query));
    let sql = format!("SELECT {COLUMNS} FROM {source} WHERE {condition} ORDER BY {order} LIMIT ? OFFSET ?");
    values.push(Sql::Integer(i64::from(query.limit.min(LIST_LIMIT_MAX))));
    values.push(Sql::Integer(i64::from(query.offset)));
    Ok((sql, values))
}

/// Counts the records a listing without limit would return.
pub(crate) fn count(connection: &Connection, schema: &Schema, query: &Query) -> Result<u64, StoreError> {
    let collection = known(schema, query)?;
    let (condition, mut values) = condition(connection, collection, query)?;
    let unsorted = || source(&Query { sort: None, ..query.clone() });
    let source = searched(collection, query, &mut values)?.unwrap_or_else(unsorted);
    let mut statement =
        connection.prepare_cached(&format!("SELECT count(*) FROM {source} WHERE {condition}"))?;
    let count: i64 = statement.query_row(params_from_iter(values), |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

/// The index of words joined with what it finds; its value comes before those of the condition.
fn searched(
    collection: &CollectionSchema,
    query: &Query,
    values: &mut Vec<Sql>,
) -> Result<Option<String>, StoreError> {
    let Some(search) = &query.search else { return Ok(None) };
    if collection.searched().next().is_none() {
        return Err(StoreError::NotSearched { collection: query.collection.clone() });
    }
    if search.len() > SEARCH_BYTES_MAX {
        return Err(StoreError::SearchTooLong);
    }
    values.insert(0, Sql::Text(phrases(search)));
    let words = index::words(&query.collection);
    Ok(Some(format!(
        "(SELECT rowid AS found, rank AS fit FROM {words} WHERE {words} MATCH ?)
         CROSS JOIN record ON record.number = found"
    )))
}

/// The words as the index is asked for them: each between quotes, so that none is read as an operator. What holds no
/// word finds nothing.
fn phrases(search: &str) -> String {
    let is_word = |letter: char| letter.is_alphanumeric() || UNICODE_MARKS.contains(&letter);
    let words = search.split(|letter| !is_word(letter)).filter(|word| !word.is_empty());
    let mut phrases: Vec<_> = words.map(|word| format!("\"{word}\"")).collect();
    match phrases.last_mut() {
        Some(last) => last.push('*'),
        None => phrases.push("\"\"".to_owned()),
    }
    phrases.join(" ")
}

/// Combining marks: parts of a letter written apart from it.
const UNICODE_MARKS: std::ops::RangeInclusive<char> = '\u{300}'..='\u{36f}';

/// How a listing will be found, a step a line, in the words of SQLite's planner.
pub(crate) fn explain(
    connection: &Connection,
    schema: &Schema,
    query: &Query,
) -> Result<Vec<String>, StoreError> {
    let (sql, values) = listing(connection, schema, query)?;
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let steps = statement.query_map(params_from_iter(values), |row| row.get(3))?;
    Ok(steps.collect::<Result<_, _>>()?)
}

/// The table with the index to walk: that of a field given exactly, else of the order, else of any condition. Named,
/// because without statistics SQLite prefers the index over the whole collection.
fn source(query: &Query) -> String {
    let mut filters = query.filters.iter();
    let exact = filters.clone().find(|filter| filter.op == Comparison::Eq).map(|filter| &filter.field);
    let sorted = query.sort.as_ref().map(|(field, _)| field);
    match exact.or(sorted).or(filters.next().map(|filter| &filter.field)) {
        Some(field) => format!("record INDEXED BY {}", index::name(&query.collection, field)),
        None => "record".to_owned(),
    }
}

fn known<'s>(schema: &'s Schema, query: &Query) -> Result<&'s CollectionSchema, StoreError> {
    let unknown = || EditRefusal::UnknownCollection(query.collection.clone());
    Ok(schema.collection(&query.collection).ok_or_else(unknown)?)
}

fn indexed<'s>(
    collection: &'s CollectionSchema,
    query: &Query,
    field: &str,
) -> Result<&'s FieldSchema, StoreError> {
    let (name, field) = (query.collection.clone(), field.to_owned());
    match collection.field(&field) {
        Some(known) if known.indexed => Ok(known),
        Some(_) => Err(StoreError::NotIndexed { collection: name, field }),
        None => Err(EditRefusal::UnknownField { collection: name, field }.into()),
    }
}

/// The condition of a query, with the values of its places.
fn condition(
    connection: &Connection,
    collection: &CollectionSchema,
    query: &Query,
) -> Result<(String, Vec<Sql>), StoreError> {
    let mut sql = in_collection(&query.collection);
    if !query.with_deleted {
        sql.push_str(" AND is_deleted = 0");
    }
    let mut values = Vec::new();
    for filter in &query.filters {
        let kind = indexed(collection, query, &filter.field)?.kind;
        if filter.value.kind() != kind {
            let (collection, field) = (query.collection.clone(), filter.field.clone());
            let source = ValueRefusal::Kind { expected: kind };
            return Err(EditRefusal::Value { collection, field, source }.into());
        }
        let names = names_of(connection, &filter.value)?;
        let places = vec!["?"; names.len()].join(", ");
        let comparison = match filter.op {
            Comparison::Eq => format!("IN ({places})"),
            Comparison::Lt => "< ?".to_owned(),
            Comparison::Le => "<= ?".to_owned(),
            Comparison::Gt => "> ?".to_owned(),
            Comparison::Ge => ">= ?".to_owned(),
        };
        sql.push_str(&format!(" AND {} {comparison}", effective(kind, &filter.field)));
        let taken = if filter.op == Comparison::Eq { names.len() } else { 1 };
        values.extend(names.into_iter().take(taken).map(|name| sql_value(kind, &name)));
    }
    Ok((sql, values))
}

/// Every form the value may have in rows: a reference inside a mark may still be by record id.
fn names_of(connection: &Connection, value: &Value) -> Result<Vec<Value>, StoreError> {
    let Value::Reference(reference) = value else { return Ok(vec![value.clone()]) };
    let other = match reference {
        Reference::Record(record) => id_map::server_id(connection, *record)?.map(Reference::Server),
        Reference::Server(server_id) => id_map::holder(connection, server_id)?.map(Reference::Record),
    };
    Ok(other.into_iter().map(Value::Reference).chain([value.clone()]).collect())
}

/// The value as `json_extract` gives it.
fn sql_value(kind: FieldKind, value: &Value) -> Sql {
    match (kind, value) {
        (FieldKind::Decimal, Value::Decimal(text)) => Sql::Real(text.parse().unwrap_or(f64::NAN)),
        (_, Value::Integer(number) | Value::Counter(number)) => Sql::Integer(*number),
        (_, Value::Float(number)) => Sql::Real(*number),
        (_, Value::Boolean(truth)) => Sql::Integer(i64::from(*truth)),
        (_, value) => match value_to_json(value) {
            serde_json::Value::String(text) => Sql::Text(text),
            other => Sql::Text(other.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::index;

    fn plan_of(connection: &Connection, schema: &Schema, query: &Query) -> String {
        explain(connection, schema, query).expect("a query").join("; ")
    }

    fn opened() -> (Connection, Schema) {
        let schema = r#"{"version":1,"collections":{"visit":{"fields":{
            "place":{"kind":"text","indexed":true},"minutes":{"kind":"integer","indexed":true}}}}}"#;
        let schema = Schema::from_json(schema).expect("checked");
        let connection = Connection::open_in_memory().expect("opens");
        let stable_plans = rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG;
        connection.set_db_config(stable_plans, true).expect("as every connection of a store");
        let tables = include_str!("../../migrations/0001_create_store.sql");
        connection.execute_batch(tables).expect("creates");
        index::make(&connection, &schema).expect("indexes");
        (connection, schema)
    }

    fn all_visits() -> Query {
        Query {
            collection: "visit".into(),
            filters: vec![],
            sort: None,
            limit: 10,
            offset: 0,
            with_deleted: false,
            search: None,
        }
    }

    #[test]
    fn words_are_asked_for_as_words_whatever_they_look_like() {
        for (search, asked) in [
            ("tur på Vålerenga", r#""tur" "på" "Vålerenga"*"#),
            ("kari OR ola*", r#""kari" "OR" "ola"*"#),
            ("\"NEAR(a, b)\" - field_0:x", r#""NEAR" "a" "b" "field" "0" "x"*"#),
            ("e\u{301}te\u{301}", "\"e\u{301}te\u{301}\"*"),
            (" \0 -- ' \u{1f600}", r#""""#),
        ] {
            assert_eq!(phrases(search), asked);
        }
    }

    #[test]
    fn a_listing_by_an_indexed_field_walks_its_index_in_order() {
        let (connection, schema) = opened();
        let by_minutes = |op| Filter { field: "minutes".into(), op, value: Value::Integer(5) };
        let all = all_visits();
        let sort = |field: &str| Some((field.to_owned(), Direction::Descending));
        let longer = vec![by_minutes(Comparison::Gt)];
        for (query, walked) in [
            (all.clone(), "record_by_collection"),
            (Query { filters: vec![by_minutes(Comparison::Eq)], ..all.clone() }, "field:visit:minutes"),
            (Query { filters: longer.clone(), sort: sort("minutes"), ..all.clone() }, "field:visit:minutes"),
            (Query { filters: longer, sort: sort("place"), ..all.clone() }, "field:visit:place"),
            (Query { sort: sort("place"), ..all }, "field:visit:place"),
        ] {
            let plan = plan_of(&connection, &schema, &query);
            assert!(plan.contains(walked) && !plan.contains("TEMP B-TREE FOR ORDER BY"), "{plan}");
        }
    }
}
