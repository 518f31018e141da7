use std::sync::mpsc;

use haversack_protocol::StoreId;
use tempfile::TempDir;

use super::*;
use crate::files::StoreFiles;
use crate::{HostKey, STORE_KEY_BYTES, open_store};

fn key() -> StoreKey {
    StoreKey::from_bytes([0x5a; STORE_KEY_BYTES])
}

fn open(folder: &TempDir) -> Connections {
    open_store(folder.path(), &HostKey::new(key())).unwrap().connections
}

fn store() -> (TempDir, Connections) {
    let folder = tempfile::tempdir().unwrap();
    let connections = open(&folder);
    (folder, connections)
}

fn put(connections: &Connections, name: &str, value: &[u8]) -> Result<(), StoreError> {
    connections.write(|tx| {
        tx.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", (name, value))?;
        Ok(())
    })
}

fn has(connections: &Connections, name: &str) -> bool {
    connections
        .read(|connection| {
            Ok(connection.query_row("SELECT count(*) FROM meta WHERE key = ?1", [name], |row| row.get(0))?)
        })
        .map(|count: i64| count == 1)
        .unwrap()
}

fn pragma(connection: &Connection, name: &str) -> i64 {
    connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn a_failed_unit_of_work_leaves_nothing_and_the_writer_usable() {
    let (_folder, connections) = store();
    let refused: Result<(), _> = connections.write(|tx| {
        tx.execute("INSERT INTO meta (key, value) VALUES ('half', x'00')", [])?;
        Err(StoreError::OutboxFull)
    });
    assert!(matches!(refused, Err(StoreError::OutboxFull)));
    assert!(!has(&connections, "half"));
    put(&connections, "whole", b"1").unwrap();
    assert!(has(&connections, "whole"));
}

#[test]
fn a_panic_inside_a_unit_of_work_leaves_nothing_and_the_store_usable() {
    let (_folder, connections) = store();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        connections.write::<()>(|tx| {
            tx.execute("INSERT INTO meta (key, value) VALUES ('half', x'00')", [])?;
            panic!("on purpose")
        })
    }));
    assert!(panicked.is_err());
    for _ in 0..READERS {
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            connections.read::<()>(|_| panic!("on purpose"))
        }));
        assert!(panicked.is_err());
    }
    assert!(!has(&connections, "half"));
    put(&connections, "whole", b"1").unwrap();
    assert!(has(&connections, "whole"));
}

#[test]
fn a_read_sees_one_state_while_others_write() {
    let (_folder, connections) = store();
    connections
        .read(|connection| {
            let count = || connection.query_row("SELECT count(*) FROM meta", [], |row| row.get::<_, i64>(0));
            let before = count()?;
            std::thread::scope(|scope| scope.spawn(|| put(&connections, "later", b"1")).join().unwrap())?;
            assert_eq!(count()?, before);
            Ok(())
        })
        .unwrap();
    assert!(has(&connections, "later"));
}

#[test]
fn two_reads_run_beside_each_other() {
    let (_folder, connections) = store();
    let (entered, enters) = mpsc::channel();
    std::thread::scope(|scope| {
        connections
            .read(|_| {
                scope.spawn(|| connections.read(|_| Ok(entered.send(()))).unwrap());
                enters.recv().unwrap();
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn a_reader_cannot_write() {
    let (_folder, connections) = store();
    let refused = connections.read(|connection| Ok(connection.execute("DELETE FROM meta", [])?));
    assert!(matches!(refused, Err(StoreError::ReadOnly)));
    assert!(has(&connections, "store_id"));
}

#[test]
fn a_full_disk_refuses_the_unit_of_work_and_loses_nothing_else() {
    let (_folder, connections) = store();
    put(&connections, "before", b"1").unwrap();
    let pages = pragma(&hold(&connections.writer).connection, "page_count");
    pragma(&hold(&connections.writer).connection, &format!("max_page_count = {pages}"));
    let refused = put(&connections, "large", &[0; 100_000]);
    assert!(matches!(refused, Err(StoreError::DiskFull)));
    assert!(has(&connections, "before") && !has(&connections, "large"));
    pragma(&hold(&connections.writer).connection, "max_page_count = 100000");
    put(&connections, "large", &[0; 100_000]).unwrap();
}

/// Work that finds the disk full as long as the reserve is there.
fn put_into_the_reserve(folder: &TempDir, tx: &Connection, name: &str) -> Result<(), StoreError> {
    if folder.path().join("store.reserve").exists() {
        return Err(StoreError::DiskFull);
    }
    tx.execute("INSERT INTO meta (key, value) VALUES (?1, x'01')", [name])?;
    Ok(())
}

#[test]
fn work_that_brings_edits_home_gets_the_room_of_the_reserve_and_new_edits_do_not() {
    let (folder, connections) = store();
    let refused = connections.write(|tx| put_into_the_reserve(&folder, tx, "edit"));
    assert!(matches!(refused, Err(StoreError::DiskFull)));
    assert!(folder.path().join("store.reserve").exists(), "an edit leaves the reserve alone");
    connections.write_even_when_full(|tx| put_into_the_reserve(&folder, tx, "verdict")).unwrap();
    assert!(has(&connections, "verdict") && !has(&connections, "edit"));
    assert!(!folder.path().join("store.reserve").exists(), "given up");
    put(&connections, "after", b"1").unwrap();
    assert!(folder.path().join("store.reserve").exists(), "made again before the next edit");
}

#[cfg(target_os = "linux")]
#[test]
fn no_edit_is_taken_while_the_reserve_cannot_be_made_again() {
    let (folder, connections) = store();
    connections.write_even_when_full(|tx| put_into_the_reserve(&folder, tx, "verdict")).unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join("store.reserve")).unwrap();
    let refused = put(&connections, "edit", b"1");
    assert!(
        matches!(&refused, Err(error @ StoreError::DiskFull) if error.is_retryable() && !error.is_data_at_risk())
    );
    assert!(!has(&connections, "edit") && has(&connections, "verdict"));
    put(&connections, "edit", b"1").unwrap();
}

#[test]
fn a_file_that_was_taken_away_takes_no_more_work() {
    let (folder, connections) = store();
    put(&connections, "before", b"1").unwrap();
    let path = StoreFiles::in_folder(folder.path()).database();
    std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    let refused = put(&connections, "after", b"1").unwrap_err();
    assert!(matches!(refused, StoreError::StoreMissing) && refused.is_data_at_risk());
    std::fs::write(&path, b"another file").unwrap();
    let refused = connections.write_even_when_full(|_| Ok(())).unwrap_err();
    assert!(matches!(refused, StoreError::StoreMissing), "replaced by another file");
    std::fs::rename(folder.path().join("elsewhere"), path).unwrap();
    put(&connections, "after", b"1").unwrap();
}

#[test]
fn a_damaged_page_that_is_the_last_one_a_read_asks_for_is_noticed() {
    let (folder, connections) = store();
    put(&connections, "long", &[7; 30_000]).unwrap();
    connections.close().unwrap();
    let path = StoreFiles::in_folder(folder.path()).database();
    let whole = std::fs::read(&path).unwrap();
    let mut unnoticed = 0;
    for page in 1..whole.len() / 4096 {
        let mut bytes = whole.clone();
        bytes[page * 4096 + 2000] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let Ok(opened) = open_store(folder.path(), &HostKey::new(key())) else { continue };
        let sql = "SELECT value FROM meta WHERE key = 'long'";
        let read =
            |connection: &Connection| Ok(connection.query_row(sql, [], |row| row.get::<_, Vec<u8>>(0))?);
        match opened.connections.read(read) {
            Ok(value) => assert!(value == [7; 30_000], "page {page} was handed out as zeros"),
            Err(error) => assert!(matches!(error, StoreError::Corrupt), "{error:?}"),
        }
        let bare = hold(&opened.connections.readers[1]);
        unnoticed += usize::from(read(&bare.connection).is_ok_and(|value| value != [7; 30_000]));
    }
    assert_eq!(unnoticed, 1, "SQLite alone does not notice the last one");
}

#[test]
fn every_connection_is_set_up_as_promised() {
    let (_folder, connections) = store();
    let seats = [
        (&connections.writer, 0, -8000),
        (&connections.readers[0], 1, -16000),
        (&connections.readers[1], 1, -16000),
    ];
    for (seat, query_only, cache_size) in seats {
        let connection = &hold(seat).connection;
        let promised = [
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("query_only", query_only),
            ("cache_size", cache_size),
            ("busy_timeout", 5000),
            ("wal_autocheckpoint", 4000),
            ("journal_size_limit", 16 * 1024 * 1024),
            ("trusted_schema", 0),
            ("cell_size_check", 1),
            ("secure_delete", 2),
            ("temp_store", 2),
            ("fullfsync", 1),
            ("checkpoint_fullfsync", 1),
        ];
        for (name, value) in promised {
            assert_eq!(pragma(connection, name), value, "{name}");
        }
        let journal: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(journal, "wal");
        let log: String = connection.query_row("PRAGMA cipher_log_level", [], |row| row.get(0)).unwrap();
        assert_eq!(log, "NONE", "SQLCipher would talk to standard error");
        let defensive = rusqlite::config::DbConfig::SQLITE_DBCONFIG_DEFENSIVE;
        assert!(connection.db_config(defensive).unwrap());
    }
}

#[test]
fn a_statement_is_prepared_once_whatever_is_bound() {
    let (_folder, connections) = store();
    let statements = [
        "UPDATE record SET row = row WHERE has_conflict = ?1",
        "SELECT 1 FROM record WHERE collection > '' LIMIT ?1",
    ];
    for sql in statements {
        for bound in [1, 0, 5] {
            let prepared = connections.write(|tx| {
                let mut statement = tx.prepare_cached(sql)?;
                let mut rows = statement.query([bound])?;
                assert!(rows.next()?.is_none());
                drop(rows);
                Ok(statement.get_status(rusqlite::StatementStatus::RePrepare))
            });
            assert_eq!(prepared.unwrap(), 0, "{sql}");
        }
    }
}

#[test]
fn closing_leaves_the_database_whole_and_without_a_log() {
    let (folder, connections) = store();
    put(&connections, "kept", b"1").unwrap();
    connections.close().unwrap();
    assert!(!folder.path().join("store.db-wal").exists());
    assert!(has(&open(&folder), "kept"));
}

#[test]
fn a_whole_store_has_no_findings() {
    let (_folder, connections) = store();
    put(&connections, "kept", &[7; 50_000]).unwrap();
    assert_eq!(connections.check().unwrap(), Vec::<String>::new());
}

/// Fills a store, closes it, and turns over one bit in the middle of one of the filled pages, whose number it returns.
fn with_damaged_page() -> (TempDir, usize) {
    let (folder, connections) = store();
    for number in 0..40 {
        put(&connections, &format!("filler {number:02}"), &[number; 3_000]).unwrap();
    }
    connections.close().unwrap();
    let path = StoreFiles::in_folder(folder.path()).database();
    let mut bytes = std::fs::read(&path).unwrap();
    // The filling was written last, so it lies at the end. SQLCipher hands out zeros for a page that fails its
    // authentication and says so when the next page is read, so other pages must follow this one.
    let pages_before = bytes.len() / 4096 - 20;
    bytes[pages_before * 4096 + 2000] ^= 1;
    std::fs::write(path, bytes).unwrap();
    (folder, pages_before + 1)
}

fn read_all(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.query_row("SELECT sum(length(hex(value))) FROM meta", [], |row| row.get(0))?)
}

#[test]
fn a_damaged_page_is_found_on_access_and_by_the_check_and_puts_work_at_risk() {
    let (folder, page) = with_damaged_page();
    let connections = open(&folder);
    let error = connections.read(read_all).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt) && error.is_data_at_risk());
    let findings = connections.check().unwrap();
    assert!(
        findings.iter().any(|line| line.contains(&format!("HMAC verification failed for page {page}"))),
        "{findings:?}"
    );
}

#[test]
fn a_unit_of_work_beside_a_damaged_page_is_stored() {
    let (folder, _) = with_damaged_page();
    let connections = open(&folder);
    let met = connections.write(read_all);
    assert!(matches!(met, Err(StoreError::Corrupt)), "{met:?}");
    put(&connections, "after", b"1").unwrap();
    assert!(has(&connections, "after"));
}

#[test]
fn what_lies_beside_a_damaged_page_stays_readable() {
    let (folder, _) = with_damaged_page();
    let connections = open(&folder);
    let read = |number: u8| {
        connections.read(|connection| {
            let sql = "SELECT hex(value) FROM meta WHERE key = ?1";
            let name = format!("filler {number:02}");
            Ok(connection.query_row(sql, [name], |row| row.get::<_, String>(0))?)
        })
    };
    let refusals: Vec<StoreError> = (0..40).filter_map(|number| read(number).err()).collect();
    assert!((1..=4).contains(&refusals.len()), "only rows on the damaged page are lost: {}", refusals.len());
    assert!(refusals.iter().all(|refusal| matches!(refusal, StoreError::Corrupt)), "{refusals:?}");
}

#[test]
fn a_fresh_file_without_an_id_is_not_taken_for_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fresh.db");
    let fresh = KeyedConnection::open(&path, &key(), Creation::Allowed).unwrap();
    assert!(matches!(fresh.store_id(), Err(StoreError::Corrupt)));
    furnish(fresh, MIGRATIONS, |_| Ok(())).unwrap();
    let furnished = KeyedConnection::open(&path, &key(), Creation::Forbidden).unwrap();
    assert!(matches!(furnished.store_id(), Err(StoreError::Corrupt)));
    drop(furnished);
    let named = KeyedConnection::open(&path, &key(), Creation::Forbidden).unwrap();
    furnish(named, MIGRATIONS, |tx| {
        tx.execute("INSERT INTO meta (key, value) VALUES ('store_id', ?1)", [[9u8; 16].as_slice()])?;
        Ok(())
    })
    .unwrap();
    let named = KeyedConnection::open(&path, &key(), Creation::Forbidden).unwrap();
    assert_eq!(named.store_id().unwrap(), StoreId::from_bytes([9; 16]));
}

#[test]
fn a_file_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent.db");
    let refused = KeyedConnection::open(&path, &key(), Creation::Forbidden);
    assert!(matches!(refused, Err(StoreError::NoAccess)));
    assert!(!path.exists());
}
