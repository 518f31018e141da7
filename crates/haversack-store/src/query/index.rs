//! Indexes over the fields of rows. An index and the query that wants it must spell the expression alike.

use haversack_protocol::{FieldKind, Schema};
use rusqlite::Connection;

use crate::StoreError;

/// SQL for the effective value of a field: the override mark's where there is one, else the field's own. Decimals
/// compare as numbers, to the precision of a double; instants and dates as text, which sorts as they do.
pub(crate) fn effective(kind: FieldKind, field: &str) -> String {
    let field = quoted(field);
    let value = format!(
        "iif(json_type(row, '$.m.{field}') IS NULL, \
         json_extract(row, '$.f.{field}'), json_extract(row, '$.m.{field}.value'))"
    );
    if kind == FieldKind::Decimal { format!("CAST({value} AS REAL)") } else { value }
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

/// Makes the indexes of a schema, in place of those of another one.
pub(crate) fn make(connection: &Connection, schema: &Schema) -> Result<(), StoreError> {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND name GLOB 'field:*'";
    let mut statement = connection.prepare(sql)?;
    let old: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for name in old {
        connection.execute_batch(&format!("DROP INDEX \"{name}\""))?;
    }
    for (name, collection) in &schema.collections {
        for (field, known) in collection.fields.iter().filter(|(_, field)| field.indexed) {
            let (value, of) = (effective(known.kind, field), in_collection(name));
            let index = self::name(name, field);
            connection.execute_batch(&format!("CREATE INDEX {index} ON record ({value}, id) WHERE {of}"))?;
        }
    }
    Ok(())
}
