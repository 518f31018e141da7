//! Brings the schema of a store to the newest version, one transaction per step.
//!
//! A released step is frozen, and no step deletes an outbox row.

use rusqlite::{Connection, TransactionBehavior};

use crate::StoreError;

/// The steps in order; after step n the database says version n.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/0001_create_store.sql")];

/// Runs the steps the database has not seen.
///
/// # Errors
/// [`StoreError::SchemaTooNew`] when it has seen steps unknown here; nothing is changed then.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    migrate_with(connection, MIGRATIONS)
}

/// Refuses a database that a newer library made, before anything is written to it.
///
/// # Errors
/// [`StoreError::SchemaTooNew`].
pub(super) fn refuse_newer(connection: &Connection) -> Result<(), StoreError> {
    version(connection, MIGRATIONS.len() as i64).map(|_| ())
}

fn migrate_with(connection: &mut Connection, migrations: &[&str]) -> Result<(), StoreError> {
    let known = migrations.len() as i64;
    let mut seen = version(connection, known)?;
    for step in &migrations[usize::try_from(seen).map_err(|_| StoreError::Corrupt)?..] {
        seen += 1;
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(step)?;
        tx.pragma_update(None, "user_version", seen)?;
        tx.commit()?;
    }
    Ok(())
}

fn version(connection: &Connection, known: i64) -> Result<i64, StoreError> {
    let found = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known { Err(StoreError::SchemaTooNew { found, known }) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "CREATE TABLE first (a INTEGER) STRICT";
    const SECOND: &str = "CREATE TABLE second (a INTEGER) STRICT; INSERT INTO second VALUES (2)";
    const BROKEN: &str = "CREATE TABLE third (a INTEGER) STRICT; INSERT INTO nowhere VALUES (1)";

    fn tables(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn each_step_runs_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_with(&mut connection, &[FIRST]).unwrap();
        migrate_with(&mut connection, &[FIRST, SECOND]).unwrap();
        migrate_with(&mut connection, &[FIRST, SECOND]).unwrap();
        let rows: i64 = connection.query_row("SELECT count(*) FROM second", [], |row| row.get(0)).unwrap();
        assert_eq!((tables(&connection), rows), (2, 1));
    }

    #[test]
    fn a_failing_step_leaves_nothing_and_the_steps_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(migrate_with(&mut connection, &[FIRST, BROKEN]).is_err());
        assert_eq!((tables(&connection), version(&connection, 2).unwrap()), (1, 1));
        migrate_with(&mut connection, &[FIRST, SECOND]).unwrap();
        assert_eq!(tables(&connection), 2);
    }

    #[test]
    fn a_newer_schema_is_refused_unchanged() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 3).unwrap();
        let refusal = migrate_with(&mut connection, &[FIRST, SECOND]);
        assert!(matches!(refusal, Err(StoreError::SchemaTooNew { found: 3, known: 2 })));
        assert_eq!(tables(&connection), 0);
    }
}
