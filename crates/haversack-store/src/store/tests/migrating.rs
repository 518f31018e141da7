//! Migrations: killed at any write they are finished by the next opening, and nothing is lost.
//!
//! There is one format today, so the formats here are two that no release ever had, run by the machinery of today.

use std::fs;
use std::path::Path;

use haversack_core::outbox::FrozenPart;
use haversack_protocol::{RecordId, Role, ServerId};
use tempfile::TempDir;

use super::damage::{keys, worn_store};
use super::server::Server;
use super::world::{Phone, activity, edit, record, schema, set, text};
use crate::connection::{MIGRATIONS, Migrations};
use crate::open::open_store_under;
use crate::query::{self, OutboxEntry};
use crate::table::{id_map, outbox};
use crate::{Opened, STORE_FORMAT, Store, StoreError, open_store};

const PAGE_BYTES: usize = 4096;
/// Head of the log, and of each page in it.
const LOG_HEAD_BYTES: usize = 32;
const FRAME_BYTES: usize = PAGE_BYTES + 24;

/// A format that writes every entry anew and copies every document, and one that takes the copies away.
const LATER: [&str; 2] = [
    "ALTER TABLE outbox ADD COLUMN origin TEXT NOT NULL DEFAULT 'unknown';
     UPDATE outbox SET origin = 'here';
     CREATE TABLE document_again (record BLOB PRIMARY KEY NOT NULL, bytes BLOB NOT NULL) STRICT;
     INSERT INTO document_again SELECT record, bytes FROM document;",
    "CREATE INDEX outbox_by_origin ON outbox (origin, entry_order);
     DROP TABLE document_again;",
];

/// Everything a person could miss.
#[derive(Debug, PartialEq)]
struct Kept {
    rows: String,
    documents: String,
    entries: Vec<OutboxEntry>,
    frozen: Vec<Vec<FrozenPart>>,
    server_ids: Vec<(RecordId, ServerId)>,
}

fn kept(opened: &Opened) -> Kept {
    let schema = schema();
    let read = |connection: &rusqlite::Connection| {
        let entries = query::entries(connection)?;
        let frozen = entries.iter().map(|entry| outbox::frozen_parts(connection, entry.order));
        Ok(Kept {
            rows: query::digest_from_rows(connection, &schema)?.finish(),
            documents: query::digest_from_documents(connection, &schema)?.finish(),
            frozen: frozen.collect::<Result<_, StoreError>>()?,
            entries,
            server_ids: id_map::all(connection)?.into_iter().collect(),
        })
    };
    opened.connections.read(read).expect("reads")
}

fn steps() -> Vec<&'static str> {
    MIGRATIONS.0.iter().copied().chain(LATER).collect()
}

fn migrated(folder: &Path) -> Opened {
    open_store_under(folder, &keys(), Migrations(&steps())).expect("opens and migrates")
}

/// A folder with these files, as a killed process leaves it.
fn killed_with(sidecar: &Path, database: &[u8], log: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::copy(sidecar, folder.path().join("store.json")).expect("copies");
    fs::write(folder.path().join("store.db"), database).expect("writes");
    if !log.is_empty() {
        fs::write(folder.path().join("store.db-wal"), log).expect("writes");
    }
    folder
}

fn read(folder: &TempDir, name: &str) -> Vec<u8> {
    fs::read(folder.path().join(name)).unwrap_or_default()
}

/// Migrates a store, and copies of it that are killed after and within each page written to the log, and after each page
/// moved from the log into the database.
fn assert_survives_every_kill(folder: &TempDir) {
    let sidecar = folder.path().join("store.json");
    let (old, old_log) = (read(folder, "store.db"), read(folder, "store.db-wal"));
    let copy = killed_with(&sidecar, &old, &old_log);
    let before = kept(&open_store(copy.path(), &keys()).expect("opens"));
    let opened = migrated(folder.path());
    let log = read(folder, "store.db-wal");
    assert_eq!(read(folder, "store.db"), old, "all of it is in the log still");
    let assert_whole = |database: &[u8], log: &[u8], place: &str| {
        let killed = killed_with(&sidecar, database, log);
        let opened = migrated(killed.path());
        assert_eq!(kept(&opened), before, "{place}");
        assert_eq!(opened.connections.check().expect("checks"), Vec::<String>::new(), "{place}");
    };
    let first = old_log.len().max(LOG_HEAD_BYTES);
    assert!(log.len() > first + 10 * FRAME_BYTES, "many pages are written: {} bytes", log.len() - first);
    for end in (first..=log.len()).step_by(FRAME_BYTES) {
        assert_whole(&old, &log[..end], &format!("{end} bytes are in the log"));
        let within = (end + FRAME_BYTES / 3).min(log.len());
        assert_whole(&old, &log[..within], &format!("{within} bytes are in the log"));
    }
    opened.connections.close().expect("closes");
    let new = read(folder, "store.db");
    for moved in (0..=new.len()).step_by(PAGE_BYTES) {
        let half_moved = [&new[..moved], old.get(moved..).unwrap_or_default()].concat();
        assert_whole(&half_moved, &log, &format!("{moved} bytes are moved"));
    }
}

#[test]
fn a_migration_killed_at_any_write_is_finished_by_the_next_opening_and_nothing_is_lost() {
    assert_survives_every_kill(&worn_store());
}

#[test]
fn a_killed_store_with_work_in_its_log_alone_is_migrated_whole_however_often_it_is_killed() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    phone.write(1, vec![activity(record(1), "walk")]);
    phone.sync(&mut server);
    for n in 2..=30 {
        phone.write(n, vec![edit(record(1), "activity", vec![set("note", text(&n.to_string()))])]);
    }
    phone.store.lease_batch(8, None).expect("leases");
    // Copied while it is open: its log stays.
    let sidecar = phone.folder.path().join("store.json");
    let (database, log) = (read(&phone.folder, "store.db"), read(&phone.folder, "store.db-wal"));
    assert!(log.len() > LOG_HEAD_BYTES);
    assert_survives_every_kill(&killed_with(&sidecar, &database, &log));
}

#[test]
fn a_migrated_store_is_refused_by_the_library_before_it_and_no_byte_changes() {
    let folder = worn_store();
    let opened = migrated(folder.path());
    // As the process leaves it that is killed now: with a log.
    let sidecar = folder.path().join("store.json");
    let (database, log) = (read(&folder, "store.db"), read(&folder, "store.db-wal"));
    let killed = killed_with(&sidecar, &database, &log);
    drop(opened);
    for _ in 0..2 {
        let refused = Store::open(killed.path(), schema(), &keys()).err();
        let found = STORE_FORMAT + LATER.len() as i64;
        assert!(
            matches!(refused, Some(StoreError::SchemaTooNew { found: newer, known: STORE_FORMAT }) if newer == found)
        );
        assert!(read(&killed, "store.db") == database && read(&killed, "store.db-wal") == log);
    }
}
