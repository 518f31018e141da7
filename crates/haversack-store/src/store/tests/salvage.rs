//! Salvage: whatever page is damaged, the rest arrives, and finds its way home.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use haversack_protocol::{ChangeSetId, Role};
use tempfile::TempDir;

use super::damage::{PAGE_BYTES, keys, note, pages, with_damaged_page, worn_store};
use super::server::Server;
use super::world::{Phone, activity, change_set, edit, open, record, schema, set, text};
use crate::{
    Condition, HostKey, OutboxEntry, SalvageReport, Store, StoreError, StoreKey, StoredRecord, Tally,
    examine, rekey, salvage,
};

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Salvages a folder, expecting its files to be untouched, and returns the new store's folder.
fn salvaged(folder: &Path) -> Result<(SalvageReport, TempDir), StoreError> {
    let before = files(folder);
    let place = tempfile::tempdir().unwrap();
    let outcome = salvage(folder, &place.path().join("new"), &keys());
    assert!(files(folder) == before, "the damaged store was touched");
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(outcome.is_err() || left == ["new"], "{left:?}");
    outcome.map(|report| (report, place))
}

/// Entries by change set, as a store lists them; places among others aside.
fn entries(store: &Store) -> BTreeMap<ChangeSetId, OutboxEntry> {
    let listed = store.outbox().unwrap().into_iter();
    listed.map(|entry| (entry.change_set.id, OutboxEntry { waits_for: vec![], ..entry })).collect()
}

fn shown(store: &Store) -> Vec<Option<StoredRecord>> {
    (1..=12).chain(101..=112).chain(30..=37).map(|n| store.get(record(n)).unwrap()).collect()
}

#[test]
fn a_whole_store_is_salvaged_whole() {
    let folder = worn_store();
    let (report, place) = salvaged(folder.path()).unwrap();
    assert_eq!(report.entries, Tally { kept: 16, lost: 0 });
    assert_eq!(report.documents, Tally { kept: 24, lost: 0 });
    assert!(report.is_identity_kept && !report.has_lost_more);
    let (old, new) = (open(folder.path()), open(&place.path().join("new")));
    assert_eq!(entries(&old), entries(&new));
    assert_eq!(shown(&old), shown(&new));
    assert_eq!(old.identity().unwrap(), new.identity().unwrap());
    assert_eq!(old.server_ids().unwrap(), new.server_ids().unwrap());
    assert_ne!(old.store_id(), new.store_id());
    assert_eq!(new.cursor().unwrap(), None);
    assert_eq!(new.check().unwrap(), Vec::<String>::new());
}

#[test]
fn work_that_is_only_in_the_log_is_salvaged() {
    let living = tempfile::tempdir().unwrap();
    let store = open(living.path());
    store.local_write(change_set(1, vec![activity(record(1), "tur")])).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["store.db", "store.db-wal", "store.json"] {
        fs::copy(living.path().join(name), folder.path().join(name)).unwrap();
    }
    let (report, place) = salvaged(folder.path()).unwrap();
    assert_eq!(report.entries, Tally { kept: 1, lost: 0 });
    assert!(open(&place.path().join("new")).get(record(1)).unwrap().is_some());
}

/// What is found where the list of tables had to be replaced.
const MENDED: &str = "the first page or the list of tables is damaged";

/// Damages every page in turn, and expects what lies on other pages to arrive and to be what it was.
fn damage_every_page(damage: impl Fn(&mut [u8])) {
    let folder = worn_store();
    let whole = open(folder.path());
    let before = entries(&whole);
    drop(whole);
    let (mut mended, mut lost_entries, mut lost_documents) = (0, 0, 0);
    for page in 0..pages(folder.path()) {
        let damaged = with_damaged_page(folder.path(), page, &damage);
        let examined = examine(damaged.path(), &keys());
        let (report, place) = salvaged(damaged.path()).unwrap();
        assert_eq!((examined.entries, examined.documents), (Some(report.entries), Some(report.documents)));
        assert!(matches!(examined.condition, Condition::Damaged), "page {page}");
        if examined.findings == [MENDED] {
            mended += 1;
            assert_eq!((report.entries.kept, report.documents.kept), (16, 24), "page {page}");
        }
        let store = open(&place.path().join("new"));
        let found = entries(&store);
        for (id, entry) in &found {
            assert_eq!(entry.change_set, before[id].change_set, "page {page}");
        }
        assert_eq!(found.len() as u64, report.entries.kept, "page {page}");
        for (tally, all) in [(report.entries, 16), (report.documents, 24)] {
            assert!(tally.kept == all || (tally.kept < all && tally.lost > 0), "page {page}: {report:?}");
        }
        assert_eq!(store.check().unwrap(), Vec::<String>::new(), "page {page}");
        assert!(report.entries.kept + report.documents.kept >= 8, "page {page} hides all others: {report:?}");
        lost_entries = lost_entries.max(report.entries.lost);
        lost_documents = lost_documents.max(report.documents.lost);
    }
    assert!((4..16).contains(&mended), "the list of tables takes some pages: {mended}");
    assert!((1..=16).contains(&lost_entries), "{lost_entries}");
    assert!((1..=24).contains(&lost_documents), "{lost_documents}");
}

#[test]
fn whatever_page_is_overwritten_the_rest_arrives() {
    damage_every_page(|bytes| bytes.iter_mut().zip(0u8..=255).for_each(|(byte, junk)| *byte ^= junk | 1));
}

#[test]
fn whatever_page_is_zeroed_the_rest_arrives() {
    damage_every_page(|bytes| bytes.fill(0));
}

#[test]
fn a_store_whose_first_bytes_are_damaged_is_salvaged_whole() {
    let folder = worn_store();
    // All of the first page, the salt alone, all but the salt.
    for place in [0..PAGE_BYTES, 0..16, 16..PAGE_BYTES] {
        let damaged = with_damaged_page(folder.path(), 0, |bytes| bytes[place.clone()].fill(0x5a));
        let (report, _place) = salvaged(damaged.path()).unwrap();
        assert_eq!(report.entries, Tally { kept: 16, lost: 0 }, "{place:?}");
        assert_eq!(report.documents, Tally { kept: 24, lost: 0 }, "{place:?}");
        assert!(report.is_identity_kept && !report.has_lost_more, "{place:?}");
    }
}

#[test]
fn work_in_the_log_is_salvaged_although_the_first_page_is_damaged() {
    let living = tempfile::tempdir().unwrap();
    open(living.path()).close().unwrap();
    let store = open(living.path());
    for n in 1..=40 {
        store.local_write(change_set(n, vec![activity(record(n), &note(n))])).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["store.db", "store.db-wal", "store.json"] {
        fs::copy(living.path().join(name), folder.path().join(name)).unwrap();
    }
    let whole = fs::read(folder.path().join("store.db")).unwrap();
    // The first page; and every page of the database, the log beside it being whole.
    for pages in [1, whole.len() / PAGE_BYTES] {
        let mut damaged = whole.clone();
        damaged[..pages * PAGE_BYTES].fill(0x5a);
        fs::write(folder.path().join("store.db"), damaged).unwrap();
        let (report, place) = salvaged(folder.path()).unwrap();
        assert_eq!(report.entries.kept, 40, "{pages} pages: {report:?}");
        assert!(open(&place.path().join("new")).get(record(40)).unwrap().is_some());
    }
}

#[test]
fn a_damaged_first_page_is_told_where_nobody_noted_where_the_tables_begin() {
    let folder = worn_store();
    let damaged = with_damaged_page(folder.path(), 0, |bytes| bytes.fill(0x5a));
    let path = damaged.path().join("store.json");
    let mut sidecar: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let layout = sidecar.as_object_mut().unwrap().remove("layout").unwrap();
    fs::write(&path, sidecar.to_string()).unwrap();
    assert!(matches!(salvaged(damaged.path()), Err(StoreError::Corrupt)));
    let examined = examine(damaged.path(), &keys());
    assert!(matches!(examined.condition, Condition::Damaged) && examined.entries.is_none());
    // Nor does a sidecar that was tampered with lead anywhere.
    for (member, value) in [("salt", "5a".repeat(16)), ("salt", "z".repeat(32)), ("salt", String::new())] {
        let mut wrong = layout.clone();
        wrong[member] = value.into();
        sidecar["layout"] = wrong;
        fs::write(&path, sidecar.to_string()).unwrap();
        assert!(matches!(salvaged(damaged.path()), Err(StoreError::Corrupt)));
    }
    let mut wrong = layout.clone();
    for root in wrong["roots"].as_object_mut().unwrap().values_mut() {
        *root = (root.as_u64().unwrap() + 1).into();
    }
    sidecar["layout"] = wrong;
    fs::write(&path, sidecar.to_string()).unwrap();
    if let Ok((report, place)) = salvaged(damaged.path()) {
        let store = open(&place.path().join("new"));
        assert_eq!(store.outbox().unwrap().len() as u64, report.entries.kept);
        assert_eq!(store.check().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn what_is_noted_of_the_tables_names_no_field_and_follows_a_new_key() {
    let folder = worn_store();
    let sidecar = || fs::read_to_string(folder.path().join("store.json")).unwrap();
    let before = sidecar();
    assert!(before.contains("outbox_by_turn") && before.len() < 2_500, "{before}");
    assert!(!before.contains("title") && !before.contains("activity"), "{before}");
    drop(open(folder.path()));
    assert_eq!(sidecar(), before, "opening again notes nothing new");
    rekey(folder.path(), &keys(), &HostKey::new(StoreKey::from_bytes([2; 32]))).unwrap();
    drop(Store::open(folder.path(), schema(), &HostKey::new(StoreKey::from_bytes([2; 32]))).unwrap());
    let bytes = fs::read(folder.path().join("store.db")).unwrap();
    let salt: String = bytes[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(sidecar().contains(&salt), "{}", sidecar());
}

#[test]
fn a_store_that_was_cut_off_gives_what_is_left_of_it() {
    let folder = worn_store();
    let whole = fs::read(folder.path().join("store.db")).unwrap();
    let before = entries(&open(folder.path()));
    let mut kept = 0;
    for pages in (1..whole.len() / PAGE_BYTES).rev().step_by(5) {
        let cut = tempfile::tempdir().unwrap();
        fs::copy(folder.path().join("store.json"), cut.path().join("store.json")).unwrap();
        fs::write(cut.path().join("store.db"), &whole[..pages * PAGE_BYTES + 1_000]).unwrap();
        let (report, place) = match salvaged(cut.path()) {
            Ok(salvaged) => salvaged,
            Err(error) => {
                assert!(matches!(error, StoreError::Corrupt), "{pages} pages: {error:?}");
                continue;
            }
        };
        let store = open(&place.path().join("new"));
        for (id, entry) in entries(&store) {
            assert_eq!(entry.change_set, before[&id].change_set, "{pages} pages");
        }
        kept += report.entries.kept + report.documents.kept;
    }
    assert!(kept > 100, "{kept}");
}

#[test]
fn a_salvaged_store_finds_its_way_home_whatever_page_was_damaged() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    for n in 1..=6 {
        phone.write(n, vec![activity(record(n), "tur")]);
    }
    phone.sync(&mut server);
    for n in 1..=6 {
        phone.write(20 + n, vec![edit(record(n), "activity", vec![set("note", text(&note(n)))])]);
    }
    phone.push(&mut server);
    phone.write(40, vec![activity(record(40), "ny")]);
    let folder = phone.folder;
    phone.store.close().unwrap();
    let mut healed = 0;
    for page in 0..pages(folder.path()) {
        let damaged = with_damaged_page(folder.path(), page, |bytes| bytes[3_000] ^= 1);
        let Ok((report, place)) = salvaged(damaged.path()) else { continue };
        if !report.is_identity_kept {
            continue;
        }
        let store = open(&place.path().join("new"));
        assert_eq!(
            store.lease_batch(256, None).unwrap().push,
            vec![],
            "nothing goes before the log was read"
        );
        let device = store.identity().unwrap().device.unwrap();
        let mut server = server.clone();
        let mut position = 0;
        for _ in 0..8 {
            let page = server.page(device, position, usize::MAX, true);
            store.apply_page(&page).unwrap();
            position = server.position_of(&page.cursor_after);
            store.note_end_of_log().unwrap();
            let leased = store.lease_batch(256, None).unwrap();
            server.push(device, &leased.push);
        }
        let left = store.outbox().unwrap();
        assert!(left.is_empty(), "page {page}: {report:?} {left:?}");
        assert_eq!(store.digest_from_rows().unwrap().finish(), server.digest(), "page {page}");
        assert_eq!(store.check().unwrap(), Vec::<String>::new(), "page {page}");
        healed += 1;
    }
    assert!(healed > 20, "{healed}");
}

#[test]
fn nothing_is_salvaged_over_something_or_from_what_is_no_store() {
    let folder = worn_store();
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("holiday.jpg"), b"photo").unwrap();
    assert!(matches!(salvage(folder.path(), place.path(), &keys()), Err(StoreError::Io(_))));
    assert!(matches!(salvage(folder.path(), folder.path(), &keys()), Err(StoreError::Io(_))));
    assert!(matches!(salvage(place.path(), &place.path().join("new"), &keys()), Err(StoreError::NotAStore)));
    let other = HostKey::new(StoreKey::from_bytes([2; 32]));
    let refused = salvage(folder.path(), &place.path().join("new"), &other);
    assert!(matches!(refused, Err(StoreError::WrongKey)));
    let _open = open(folder.path());
    let refused = salvage(folder.path(), &place.path().join("new"), &keys());
    assert!(matches!(refused, Err(StoreError::AlreadyOpen)));
    assert_eq!(fs::read(place.path().join("holiday.jpg")).unwrap(), b"photo");
}

#[test]
fn an_examination_names_the_row_of_the_opening_table_and_changes_nothing() {
    let told = |folder: &Path, keys: &HostKey| {
        let before = files(folder);
        let examination = examine(folder, keys);
        assert!(files(folder) == before, "changed");
        assert!(!examination.advice().is_empty());
        examination.condition
    };
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(told(empty.path(), &keys()), Condition::Empty));
    let folder = worn_store();
    assert!(matches!(told(folder.path(), &keys()), Condition::Whole));
    let other = HostKey::new(StoreKey::from_bytes([2; 32]));
    assert!(matches!(told(folder.path(), &other), Condition::Refused(StoreError::WrongKey)));
    let sidecar = fs::read_to_string(folder.path().join("store.json")).unwrap();
    fs::write(folder.path().join("store.json"), "{}").unwrap();
    assert!(matches!(told(folder.path(), &keys()), Condition::Refused(StoreError::SidecarUnreadable)));
    fs::write(folder.path().join("store.json"), &sidecar).unwrap();
    let opened = Store::open(folder.path(), schema(), &keys()).unwrap();
    assert!(matches!(examine(folder.path(), &keys()).condition, Condition::Refused(StoreError::AlreadyOpen)));
    opened.close().unwrap();
    fs::remove_file(folder.path().join("store.db")).unwrap();
    assert!(matches!(told(folder.path(), &keys()), Condition::Refused(StoreError::StoreMissing)));
    fs::write(folder.path().join("store.json"), sidecar.replace("ready", "creating")).unwrap();
    assert!(matches!(told(folder.path(), &keys()), Condition::Unfinished));
}
