//! Brings the schema of a store to the newest version, one transaction per step.
//!
//! A released step is frozen, and no step deletes an outbox row.

use rusqlite::{Connection, TransactionBehavior};

use crate::StoreError;

/// Steps in order; after step n the database says format n. Tests bring lists of their own, to prove the machinery while
/// there is one format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Migrations<'m>(pub(crate) &'m [&'m str]);

/// The steps to the format of today.
pub(crate) const MIGRATIONS: Migrations<'static> = Migrations(&[
    include_str!("../../migrations/0001_create_store.sql"),
    include_str!("../../migrations/0002_erase.sql"),
    include_str!("../../migrations/0003_restrict.sql"),
]);

/// Format of the store's database that this library writes, and the newest it reads.
pub const STORE_FORMAT: i64 = MIGRATIONS.0.len() as i64;

impl Migrations<'_> {
    /// Runs the steps the database has not seen.
    ///
    /// # Errors
    /// [`StoreError::SchemaTooNew`] when it has seen steps unknown here; nothing is changed then.
    pub(super) fn run(self, connection: &mut Connection) -> Result<(), StoreError> {
        let mut seen = version(connection, self.0.len() as i64)?;
        for step in &self.0[usize::try_from(seen).map_err(|_| StoreError::Corrupt)?..] {
            seen += 1;
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.execute_batch(step)?;
            tx.pragma_update(None, "user_version", seen)?;
            tx.commit()?;
        }
        Ok(())
    }

    /// Refuses a database that a newer library made, before anything is written to it.
    ///
    /// # Errors
    /// [`StoreError::SchemaTooNew`].
    pub(super) fn refuse_newer(self, connection: &Connection) -> Result<(), StoreError> {
        version(connection, self.0.len() as i64).map(|_| ())
    }
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
        Migrations(&[FIRST]).run(&mut connection).unwrap();
        Migrations(&[FIRST, SECOND]).run(&mut connection).unwrap();
        Migrations(&[FIRST, SECOND]).run(&mut connection).unwrap();
        let rows: i64 = connection.query_row("SELECT count(*) FROM second", [], |row| row.get(0)).unwrap();
        assert_eq!((tables(&connection), rows), (2, 1));
    }

    #[test]
    fn a_failing_step_leaves_nothing_and_the_steps_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(Migrations(&[FIRST, BROKEN]).run(&mut connection).is_err());
        assert_eq!((tables(&connection), version(&connection, 2).unwrap()), (1, 1));
        Migrations(&[FIRST, SECOND]).run(&mut connection).unwrap();
        assert_eq!(tables(&connection), 2);
    }

    #[test]
    fn a_newer_schema_is_refused_unchanged() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 3).unwrap();
        let refusal = Migrations(&[FIRST, SECOND]).run(&mut connection);
        assert!(matches!(refusal, Err(StoreError::SchemaTooNew { found: 3, known: 2 })));
        assert_eq!(tables(&connection), 0);
    }
}
