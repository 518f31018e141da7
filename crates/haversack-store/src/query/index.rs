//! Indexes over the fields of rows. An index and the query that wants it must spell the expression alike.

use haversack_protocol::{CollectionSchema, FieldKind, Schema};
use rusqlite::Connection;

use crate::StoreError;

/// SQL for the effective value of a field: the override mark's where there is one, else the field's own. Decimals
/// compare as numbers, to the precision of a double; instants and dates as text, which sorts as they do.
pub(crate) fn effective(kind: FieldKind, field: &str) -> String {
    let value = effective_in("row", field);
    if kind == FieldKind::Decimal { format!("CAST({value} AS REAL)") } else { value }
}

fn effective_in(row: &str, field: &str) -> String {
    let field = quoted(field);
    format!(
        "iif(json_type({row}, '$.m.{field}') IS NULL, \
         json_extract({row}, '$.f.{field}'), json_extract({row}, '$.m.{field}.value'))"
    )
}

/// The name between quotes: a key of a JSON path inside an SQL text.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\'', "''").replace('"', ""))
}

/// SQL that says a row is of the collection, in the one spelling that partial indexes have.
pub(crate) fn in_collection(collection: &str) -> String {
    format!("collection = '{}'", collection.replace('\'', "''"))
}

/// Name of the index over a field, between quotes.
pub(crate) fn name(collection: &str, field: &str) -> String {
    format!("\"{}\"", format!("field:{collection}:{field}").replace('"', ""))
}

/// Name of the index of words of a collection, between quotes.
pub(crate) fn words(collection: &str) -> String {
    format!("\"{}\"", format!("words:{collection}").replace('"', ""))
}

/// Makes the indexes of a schema, in place of those of another one.
pub(crate) fn make(connection: &Connection, schema: &Schema) -> Result<(), StoreError> {
    drop_all(connection)?;
    for (name, collection) in &schema.collections {
        make_words(connection, name, collection)?;
        for (field, known) in collection.fields.iter().filter(|(_, field)| field.indexed) {
            let (value, of) = (effective(known.kind, field), in_collection(name));
            let index = self::name(name, field);
            connection.execute_batch(&format!("CREATE INDEX {index} ON record ({value}, id) WHERE {of}"))?;
        }
    }
    Ok(())
}

/// Takes words that no row holds any more out of the indexes: until they are merged, they only count as removed.
pub(crate) fn forget_removed_words(connection: &Connection, schema: &Schema) -> Result<(), StoreError> {
    let searched = schema.collections.iter().filter(|(_, collection)| collection.searched().next().is_some());
    for (name, _) in searched {
        let words = words(name);
        connection.execute_batch(&format!("INSERT INTO {words} ({words}) VALUES ('optimize')"))?;
    }
    Ok(())
}

fn drop_all(connection: &Connection) -> Result<(), StoreError> {
    let sql = "SELECT upper(type), name FROM sqlite_master
               WHERE type = 'index' AND name GLOB 'field:*' OR type = 'trigger' AND name GLOB 'words:*'
               OR type = 'table' AND name GLOB 'words:*' AND sql GLOB 'CREATE VIRTUAL*'";
    let mut statement = connection.prepare(sql)?;
    let old = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let old: Vec<(String, String)> = old.collect::<Result<_, _>>()?;
    for (kind, name) in old {
        connection.execute_batch(&format!("DROP {kind} \"{name}\""))?;
    }
    Ok(())
}

/// Makes the index of words of a collection that has searched fields, and what keeps it true: whatever writes a row
/// writes its words in the same transaction. It holds no text, only where words occur.
fn make_words(connection: &Connection, name: &str, collection: &CollectionSchema) -> Result<(), StoreError> {
    let fields: Vec<_> = collection.searched().collect();
    if fields.is_empty() {
        return Ok(());
    }
    let (words, of) = (words(name), in_collection(name));
    let list = |each: &dyn Fn(usize, &str) -> String| {
        let all = fields.iter().enumerate().map(|(place, field)| each(place, field));
        all.collect::<Vec<_>>().join(", ")
    };
    let columns = list(&|place, _| format!("field_{place}"));
    let of_row = |row: &str| list(&|_, field| effective_in(row, field));
    let (plain, new, old) = (of_row("row"), of_row("new.row"), of_row("old.row"));
    // Rows without words cost nothing.
    let has_words = |row: &str| format!("coalesce({}, NULL) IS NOT NULL", of_row(row));
    let (plain_words, new_words) = (has_words("row"), has_words("new.row"));
    let trigger = |what: &str| format!("\"words:{}:{what}\"", name.replace('"', ""));
    let (inserted, updated, deleted) = (trigger("insert"), trigger("update"), trigger("delete"));
    connection.execute_batch(&format!(
        "CREATE VIRTUAL TABLE {words} USING fts5({columns}, content='', contentless_delete=1,
             tokenize=\"unicode61 remove_diacritics 2\");
         INSERT INTO {words} (rowid, {columns}) SELECT number, {plain} FROM record WHERE {of} AND {plain_words};
         CREATE TRIGGER {inserted} AFTER INSERT ON record WHEN new.{of} AND {new_words} BEGIN
             INSERT INTO {words} (rowid, {columns}) VALUES (new.number, {new});
         END;
         CREATE TRIGGER {updated} AFTER UPDATE OF row ON record
         WHEN new.{of} AND ({new}) IS NOT ({old}) BEGIN
             DELETE FROM {words} WHERE rowid = old.number;
             INSERT INTO {words} (rowid, {columns}) SELECT new.number, {new} WHERE {new_words};
         END;
         CREATE TRIGGER {deleted} AFTER DELETE ON record WHEN old.{of} BEGIN
             DELETE FROM {words} WHERE rowid = old.number;
         END;"
    ))?;
    Ok(())
}
