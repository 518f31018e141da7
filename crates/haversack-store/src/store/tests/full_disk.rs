//! A disk that is full: nothing is lost, no edit is taken, and everything that brings work home goes on.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "processes of tests talk to each other, and skipping is told"
)]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use haversack_protocol::Role;

use super::server::Server;
use super::world::{Phone, activity, change_set, edit, id, open, record, set, text};
use crate::StoreError;

/// Tells a process of these tests that its temporary folder is a small disk.
const SMALL_DISK_VARIABLE: &str = "HAVERSACK_TEST_SMALL_DISK";

/// Takes all room there is on the disk of a folder.
fn fill(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("filler");
    let mut file = File::create(&path).expect("a file");
    for size in [1 << 16, 1 << 12, 1 << 8, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
    path
}

/// Played by the test below, where the temporary folder is a disk of a few megabytes.
#[test]
fn another_process_plays_on_a_small_disk() {
    if std::env::var_os(SMALL_DISK_VARIABLE).is_none() {
        return;
    }
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    for n in 1..=20 {
        phone.write(n, vec![activity(record(n), "tur")]);
    }
    let filler = fill(phone.folder.path());

    // Edits are refused, whatever room is left in the log, and nothing of them is seen.
    let mut taken = 20;
    let refusal = loop {
        let parts = vec![edit(record(1), "activity", vec![set("note", text(&"lang ".repeat(400)))])];
        match phone.store.local_write(change_set(taken + 1, parts)) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, StoreError::DiskFull) && refusal.is_retryable() && !refusal.is_data_at_risk());
    assert_eq!(phone.store.outbox().expect("reads").len() as u64, taken);

    // Work goes home.
    phone.sync(&mut server);
    assert_eq!(phone.store.outbox().expect("reads"), vec![]);
    assert_eq!(phone.value(record(20), "title"), Some(text("tur")));
    phone.assert_sound();
    let again = phone.store.local_write(change_set(900, vec![activity(record(900), "ny")]));
    assert!(matches!(again, Err(StoreError::DiskFull)), "the room of the reserve is not for edits");

    // Opening goes on, too.
    let folder = phone.folder;
    drop(phone.store);
    let store = open(folder.path());
    assert!(store.get(record(20)).expect("reads").is_some());
    assert!(matches!(store.discard(id(1)), Err(StoreError::UnknownChangeSet(_))));

    std::fs::remove_file(filler).expect("removes");
    store.local_write(change_set(901, vec![activity(record(901), "ny")])).expect("there is room again");
    assert!(folder.path().join("store.reserve").exists(), "made again");
    println!("[played]");
}

#[cfg(target_os = "linux")]
#[test]
fn on_a_full_disk_no_edit_is_taken_and_everything_else_goes_on() {
    let disk = tempfile::tempdir().expect("a folder");
    let script = "mount -t tmpfs -o size=12m none \"$TMPDIR\" && echo '[mounted]' && \
                  exec \"$0\" --exact store::tests::full_disk::another_process_plays_on_a_small_disk --nocapture";
    let played = Command::new("unshare")
        .args(["-rm", "sh", "-c", script])
        .arg(std::env::current_exe().expect("this program"))
        .env("TMPDIR", disk.path())
        .env(SMALL_DISK_VARIABLE, "1")
        .stdin(Stdio::null())
        .output();
    let said =
        played.map(|played| String::from_utf8_lossy(&[played.stdout, played.stderr].concat()).into_owned());
    match said {
        Ok(said) if said.contains("[mounted]") => assert!(said.contains("[played]"), "{said}"),
        _ => eprintln!("skipped: this machine lets no test mount a disk"),
    }
}

#[test]
fn a_store_at_its_page_limit_refuses_edits_and_goes_on_reading_and_discarding() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    phone.write(1, vec![activity(record(1), "tur")]);
    phone.sync(&mut server);
    let limit = |pages: Option<i64>| {
        let limited = phone.store.connections.write(|tx| {
            let count: i64 = tx.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let sql = format!("PRAGMA max_page_count = {}", pages.unwrap_or(count));
            Ok(tx.query_row(&sql, [], |_| Ok(()))?)
        });
        limited.expect("limits");
    };
    limit(None);
    let large = || vec![edit(record(1), "activity", vec![set("note", text(&"lang ".repeat(3_000)))])];
    let refusal = phone.store.local_write(change_set(2, large())).expect_err("no page is left");
    assert!(matches!(refusal, StoreError::DiskFull));
    assert_eq!(phone.value(record(1), "title"), Some(text("tur")));
    assert_eq!(phone.value(record(1), "note"), None);
    assert_eq!(phone.store.outbox().expect("reads"), vec![]);
    limit(Some(100_000));
    phone.store.local_write(change_set(2, large())).expect("there is room again");
    phone.assert_sound();
}
