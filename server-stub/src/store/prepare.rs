//! Rows made anew when the server is started with another schema than the one they were made under.

use haversack_core::{Document, project};
use haversack_protocol::{RecordId, Schema};
use ring::digest::{SHA256, digest};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::StoreRefusal;
use super::read::fixed;

/// Raised when rows are made differently from the same schema.
const ROW_FORMAT: u8 = 2;

/// Makes every row anew when the schema changed, in one transaction. Documents, log and verdicts stay as they are. A record
/// of a collection the schema does not have keeps its row, and so does one whose document does not read.
///
/// # Errors
/// [`StoreRefusal`]; nothing is changed then.
pub(crate) fn prepare(connection: &mut Connection, schema: &Schema) -> Result<(), StoreRefusal> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let known = transaction
        .query_row("SELECT value FROM meta WHERE name = 'schema'", [], |row| row.get::<_, Vec<u8>>(0))
        .optional()?;
    let fingerprint = fingerprint(schema)?;
    if known.as_ref() == Some(&fingerprint) {
        return Ok(());
    }
    let ids: Vec<Vec<u8>> = transaction
        .prepare("SELECT id FROM record ORDER BY id")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in ids {
        make_row(&transaction, schema, RecordId::from_bytes(fixed(id, "record id")?))?;
    }
    transaction.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('schema', ?1)", [fingerprint])?;
    Ok(transaction.commit()?)
}

fn make_row(connection: &Connection, schema: &Schema, id: RecordId) -> Result<(), StoreRefusal> {
    let (collection, document): (String, Vec<u8>) = connection
        .prepare_cached("SELECT collection, document FROM record WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let Some(collection) = schema.collection(&collection) else { return Ok(()) };
    let Ok(document) = Document::load(&document) else {
        tracing::warn!(record = %id, "a document does not read; its row stays as it was");
        return Ok(());
    };
    let row = project(&document, collection).to_text();
    connection.prepare_cached("UPDATE record SET row = ?2 WHERE id = ?1")?.execute((id.as_bytes(), row))?;
    Ok(())
}

fn fingerprint(schema: &Schema) -> Result<Vec<u8>, StoreRefusal> {
    let text = serde_json::to_vec(schema).map_err(|_| StoreRefusal::Damaged("schema"))?;
    Ok([&[ROW_FORMAT], digest(&SHA256, &text).as_ref()].concat())
}
