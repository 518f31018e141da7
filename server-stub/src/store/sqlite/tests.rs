use std::fs;
use std::path::PathBuf;

use super::*;

#[test]
fn a_database_keeps_its_identity_and_refuses_another_tenant() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("server.db");
    let [ours, other] = ["ours", "other"].map(|name| TenantId::new(name).expect("plain"));
    let (_, first) = open(&path, &ours).expect("created");
    let (_, again) = open(&path, &ours).expect("opened");
    assert_eq!(first.cursor_key, again.cursor_key);
    assert!(matches!(open(&path, &other), Err(StoreRefusal::OtherTenant)));
}

/// Bytes of the database and of its log; an empty log is none.
fn files(path: &Path) -> [Vec<u8>; 2] {
    [path.to_owned(), log_of(path)].map(|path| fs::read(path).unwrap_or_default())
}

fn log_of(path: &Path) -> PathBuf {
    path.with_extension("db-wal")
}

/// Puts files as a killed process leaves them into a folder of their own.
fn killed_with([database, log]: [&[u8]; 2]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("server.db");
    fs::write(&path, database).expect("written");
    if !log.is_empty() {
        fs::write(log_of(&path), log).expect("written");
    }
    (directory, path)
}

fn ours() -> TenantId {
    TenantId::new("ours").expect("plain")
}

/// Rows of every kind, enough for many pages.
fn filled(connection: &Connection) {
    for n in 1..=60_u8 {
        let put = "INSERT INTO log VALUES (?1, 'org', 0, 0, ?2, ?3, ?4, ?5)";
        connection.execute(put, params![n, [n; 8], [n; 16], vec![n; 700], [n; 32]]).expect("stored");
        let put = "INSERT INTO verdict VALUES (?1, ?2, ?3, 1)";
        connection.execute(put, params![[n; 16], n, [n; 8]]).expect("stored");
        let put = "INSERT INTO record VALUES (?1, 'visit', ?2, 0, ?3, '{}', ?4)";
        connection.execute(put, params![[n; 16], format!("V-{n}"), vec![n; 300], n]).expect("stored");
    }
}

/// Everything that may not be lost, as text.
fn everything(connection: &Connection) -> String {
    let ask = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).expect("read");
    ["log", "verdict", "record", "meta"]
        .map(|table| {
            let columns = match table {
                "log" => "position, hex(device), hex(change_set), hex(body), hex(chain)",
                "verdict" => "hex(change_set), position, hex(device), is_accepted",
                "record" => "hex(id), collection, server_id, hex(document), row, updated_position",
                _ => "name, hex(value)",
            };
            let line = columns.split(", ").collect::<Vec<_>>().join(" || ' ' || ");
            ask(&format!(
                "SELECT group_concat(line, ',') FROM (SELECT {line} AS line FROM {table} ORDER BY 1)"
            ))
        })
        .join(";")
}

/// Formats no release ever had: one that moves a table, one that adds to a table.
const LATER: [&str; 2] = [
    "CREATE TABLE log_again (position INTEGER PRIMARY KEY, body BLOB NOT NULL, device BLOB NOT NULL) STRICT;
     INSERT INTO log_again SELECT position, body, device FROM log;
     CREATE INDEX log_again_by_device ON log_again (device);",
    "ALTER TABLE record ADD COLUMN scope TEXT NOT NULL DEFAULT 'org';
     UPDATE record SET scope = collection;
     DROP TABLE log_again;",
];

fn migrations() -> Vec<&'static str> {
    MIGRATIONS.iter().copied().chain(LATER).collect()
}

#[test]
fn a_database_of_a_newer_build_is_refused_and_not_a_byte_of_it_changes() {
    for journal in ["WAL", "DELETE"] {
        let (directory, path) = killed_with([&[], &[]]);
        let (connection, _) = open(&path, &ours()).expect("created");
        filled(&connection);
        drop(connection);
        let newer = Connection::open(&path).expect("opened");
        newer.query_row(&format!("PRAGMA journal_mode = {journal}"), [], |_| Ok(())).expect("set");
        newer.pragma_update(None, "user_version", 9).expect("set");
        let before = files(&path);
        let (_other, killed) = killed_with([&before[0], &before[1]]);
        for _ in 0..2 {
            assert!(matches!(open(&killed, &ours()), Err(StoreRefusal::Newer(9))));
            assert!(matches!(open_read_only(&killed), Err(StoreRefusal::Newer(9))));
            assert_eq!(files(&killed), before, "{journal}");
        }
        drop((newer, directory));
    }
}

#[test]
fn a_migration_killed_at_any_write_is_finished_by_the_next_opening_and_nothing_is_lost() {
    let (_directory, path) = killed_with([&[], &[]]);
    let (connection, _) = open(&path, &ours()).expect("created");
    filled(&connection);
    let before = everything(&connection);
    drop(connection);
    let [old, _] = files(&path);
    let (connection, _) = open_under(&path, &ours(), &migrations()).expect("migrated");
    assert_eq!(everything(&connection), before);
    let [database, log] = files(&path);
    assert_eq!(database, old, "all of it is in the log still");
    let page = 4096 + 24;
    let frames = (log.len() - 32) / page;
    assert!(frames > 20, "{frames} writes");
    let is_whole = |files: [&[u8]; 2], place: &str| {
        let (_directory, path) = killed_with(files);
        let (connection, _) = open_under(&path, &ours(), &migrations()).expect(place);
        assert_eq!(everything(&connection), before, "{place}");
        assert_eq!(applied(&connection, &migrations()).expect("known"), migrations().len(), "{place}");
        let sound: String =
            connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
        assert_eq!(sound, "ok", "{place}");
    };
    for frame in 0..=frames {
        let end = 32 + frame * page;
        is_whole([&old, &log[..end]], &format!("after frame {frame}"));
        is_whole([&old, &log[..(end + page / 2).min(log.len())]], &format!("within frame {frame}"));
    }
    drop(connection);
    let [new, _] = files(&path);
    for pages in 0..=new.len() / 4096 {
        let written = pages * 4096;
        let half_moved = [&new[..written], old.get(written..).unwrap_or_default()].concat();
        is_whole([&half_moved, &log], &format!("after page {pages} of moving the log"));
    }
}
