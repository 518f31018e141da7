//! What else can happen to a store's files, row by row: each a typed error that says whether trying again helps and
//! whether work is at risk, and never a file that was made anew or emptied.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "processes of tests talk to each other, and skipping is told"
)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::*;
use crate::HostKey;

/// Tells another process of these tests which folder it is about.
const FOLDER_VARIABLE: &str = "HAVERSACK_TEST_FOLDER";

fn keys() -> HostKey {
    HostKey::new(key(1))
}

/// Runs one of the tests below that do nothing otherwise in a process of its own, after a shell did `before`.
fn other_process(folder: &Path, name: &str, before: &str) -> Child {
    let script = format!("{before} exec \"$0\" --exact \"$1\" --nocapture");
    Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .arg(format!("open::tests::matrix::{name}"))
        .env(FOLDER_VARIABLE, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The folder it is about, in a process that another test started.
fn folder_of_the_other_process() -> Option<PathBuf> {
    std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from)
}

#[test]
fn a_store_cut_at_any_page_is_damaged_and_untouched() {
    for (folder, is_closed) in [(store_with(&keys()), true), (killed_store_with(&keys()), false)] {
        let whole = fs::read(database(&folder)).unwrap();
        for pages in 1..whole.len() / 4096 {
            fs::write(database(&folder), &whole[..pages * 4096]).unwrap();
            // Where the log holds a page, nobody misses it in the database.
            if is_closed {
                let error = refused(&folder, &keys());
                assert!(matches!(error, StoreError::Corrupt), "{pages} pages: {error}");
                assert!(error.is_data_at_risk() && !error.is_retryable());
            }
        }
        fs::write(database(&folder), whole).unwrap();
        assert!(has_secret(&open_store(folder.path(), &keys()).unwrap()));
    }
}

#[test]
fn the_log_of_another_store_is_damage_and_never_taken_in() {
    let (mine, other) = (store_with(&keys()), killed_store_with(&HostKey::new(key(2))));
    fs::copy(other.path().join("store.db-wal"), mine.path().join("store.db-wal")).unwrap();
    let error = refused(&mine, &keys());
    assert!(matches!(error, StoreError::Corrupt) && error.is_data_at_risk());
    fs::remove_file(mine.path().join("store.db-wal")).unwrap();
    assert!(has_secret(&open_store(mine.path(), &keys()).unwrap()));
}

#[test]
fn a_log_cut_or_changed_anywhere_leaves_what_was_committed_before_that_place() {
    let folder = killed_store_with(&keys());
    let log = folder.path().join("store.db-wal");
    let whole = fs::read(&log).unwrap();
    for place in (0..whole.len()).step_by(997) {
        let copy = tempfile::tempdir().unwrap();
        for name in ["store.db", "store.json"] {
            fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
        }
        let mut changed = whole.clone();
        changed[place] ^= 1;
        fs::write(copy.path().join("store.db-wal"), changed).unwrap();
        let opened = open_store(copy.path(), &keys()).unwrap();
        assert_eq!(opened.connections.check().unwrap(), Vec::<String>::new(), "byte {place}");
        drop(opened);
        fs::write(copy.path().join("store.db-wal"), &whole[..place]).unwrap();
        assert!(open_store(copy.path(), &keys()).is_ok(), "cut at {place}");
    }
}

#[test]
fn a_lost_log_goes_unnoticed_and_takes_only_what_was_in_it() {
    let folder = killed_store_with(&keys());
    fs::remove_file(folder.path().join("store.db-wal")).unwrap();
    let opened = open_store(folder.path(), &keys()).unwrap();
    assert!(!has_secret(&opened) && !opened.created);
    assert_eq!(opened.connections.check().unwrap(), Vec::<String>::new());
}

/// Opens in another process, says how it went, and holds the store until its input ends.
#[test]
fn another_process_opens_and_says_how_it_went() {
    let Some(folder) = folder_of_the_other_process() else { return };
    let opened = open_store(&folder, &keys());
    println!("[{}]", if opened.is_ok() { "opened" } else { "refused" });
    if let Err(error) = &opened {
        assert!(matches!(error, StoreError::AlreadyOpen), "{error}");
    }
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

/// Reads what the other process says, to the closing bracket.
fn heard(child: &mut Child) -> String {
    let mut said = String::new();
    let mut byte = [0];
    let out = child.stdout.as_mut().unwrap();
    while !said.ends_with(']') && out.read(&mut byte).unwrap() == 1 {
        said.push(char::from(byte[0]));
    }
    said.rsplit('[').next().unwrap().trim_end_matches(']').to_owned()
}

#[test]
fn of_processes_that_open_at_once_one_gets_the_store_and_a_killed_holder_lets_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut others: Vec<_> = (0..3)
        .map(|_| other_process(folder.path(), "another_process_opens_and_says_how_it_went", ""))
        .collect();
    let answers: Vec<String> = others.iter_mut().map(heard).collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "opened").count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| *answer == "refused").count(), 2, "{answers:?}");
    let error = open_store(folder.path(), &keys()).unwrap_err();
    assert!(matches!(error, StoreError::AlreadyOpen) && error.is_retryable() && !error.is_data_at_risk());
    for other in &mut others {
        other.kill().unwrap();
        other.wait().unwrap();
    }
    assert!(!open_store(folder.path(), &keys()).unwrap().created, "whole, and nobody's");
}

/// Takes every file handle, then gives back one after the other until the store opens.
#[test]
fn another_process_opens_with_few_handles() {
    let Some(folder) = folder_of_the_other_process() else { return };
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    let mut refusals = 0;
    while let Err(error) = open_store(&folder, &keys()) {
        assert!(error.is_retryable() && !error.is_data_at_risk(), "{error:?}");
        refusals += 1;
        assert!(taken.pop().is_some(), "never opens: {error:?}");
    }
    println!("[{refusals}]");
}

#[cfg(unix)]
#[test]
fn too_many_open_files_are_retryable_at_every_step_of_opening() {
    let folder = store_with(&keys());
    let before = snapshot(&folder);
    let mut other = other_process(folder.path(), "another_process_opens_with_few_handles", "ulimit -n 40;");
    let refusals: usize = heard(&mut other).parse().expect("a count");
    assert!(other.wait().unwrap().success());
    assert!(refusals >= 5, "each file of the store was the one too many once: {refusals}");
    assert_eq!(snapshot(&folder), before);
    assert!(has_secret(&open_store(folder.path(), &keys()).unwrap()));
}

/// Opens where nothing can be written, and says what the refusal was.
#[test]
fn another_process_meets_a_read_only_disk() {
    let Some(folder) = folder_of_the_other_process() else { return };
    let error = open_store(&folder, &keys()).unwrap_err();
    assert!(error.is_retryable() && !error.is_data_at_risk(), "{error:?}");
    println!("[{error:?}]");
}

#[cfg(target_os = "linux")]
#[test]
fn a_store_on_a_read_only_disk_is_told_and_untouched() {
    let folder = store_with(&keys());
    let before = snapshot(&folder);
    let mount = format!(
        "mount --bind \"${FOLDER_VARIABLE}\" \"${FOLDER_VARIABLE}\" && \
        mount -o remount,bind,ro \"${FOLDER_VARIABLE}\" && printf '[mounted]' &&"
    );
    let mut other = in_own_mounts(folder.path(), "another_process_meets_a_read_only_disk", &mount);
    if heard(&mut other) != "mounted" {
        eprintln!("skipped: this machine lets no test mount a disk");
        return;
    }
    assert_eq!(heard(&mut other), "ReadOnly");
    assert!(other.wait().unwrap().success());
    assert_eq!(snapshot(&folder), before);
}

#[cfg(target_os = "linux")]
fn in_own_mounts(folder: &Path, name: &str, before: &str) -> Child {
    let exe = std::env::current_exe().unwrap();
    let test = format!("open::tests::matrix::{name}");
    let script = format!("{before} exec \"$0\" --exact \"$1\" --nocapture");
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script]).arg(exe).arg(test).env(FOLDER_VARIABLE, folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|_| Command::new("true").stdout(Stdio::piped()).spawn().unwrap())
}

/// A folder or file whose mode says no. Says so and does nothing for a user who may do everything.
#[cfg(unix)]
fn refused_by_mode(path: &Path, mode: u32, folder: &TempDir) {
    use std::os::unix::fs::PermissionsExt;
    let before = fs::metadata(path).unwrap().permissions();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let is_all_mighty = if path.is_dir() {
        File::create(path.join("probe")).is_ok_and(|_| fs::remove_file(path.join("probe")).is_ok())
    } else {
        File::open(path).is_ok()
    };
    let refusal = (!is_all_mighty).then(|| open_store(folder.path(), &keys()));
    fs::set_permissions(path, before).unwrap();
    match refusal {
        None => eprintln!("skipped: no mode stops this user"),
        Some(opened) => {
            let error = opened.expect_err("must be refused");
            assert!(matches!(error, StoreError::NoAccess | StoreError::ReadOnly), "{error:?}");
            assert!(error.is_retryable() && !error.is_data_at_risk());
        }
    }
}

#[cfg(unix)]
#[test]
fn files_and_folders_without_permission_are_told_and_untouched() {
    let folder = store_with(&keys());
    let before = snapshot(&folder);
    for (path, mode) in [
        (folder.path().to_path_buf(), 0o000),
        (folder.path().to_path_buf(), 0o500),
        (database(&folder), 0o000),
        (sidecar(&folder), 0o000),
        (folder.path().join("store.lock"), 0o000),
    ] {
        refused_by_mode(&path, mode, &folder);
        assert_eq!(snapshot(&folder), before);
    }
    assert!(has_secret(&open_store(folder.path(), &keys()).unwrap()));
}

#[test]
fn a_foreign_database_of_the_same_key_but_no_store_is_damage() {
    let folder = store_with(&keys());
    fs::remove_file(database(&folder)).unwrap();
    let foreign = KeyedConnection::open(&database(&folder), &key(1), Creation::Allowed).unwrap();
    furnish(foreign, MIGRATIONS, |tx| Ok(tx.execute_batch("DROP TABLE meta")?)).unwrap();
    let error = refused(&folder, &keys());
    assert!(matches!(error, StoreError::Corrupt), "{error:?}");
    let mut garbage = fs::OpenOptions::new().append(true).open(database(&folder)).unwrap();
    garbage.write_all(b"trailing").unwrap();
    refused(&folder, &keys());
}
