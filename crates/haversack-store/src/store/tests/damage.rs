//! Damage on every page of a small store, one after the other.

use std::path::Path;

use haversack_protocol::Role;
use tempfile::TempDir;

use super::server::Server;
use super::world::{Phone, activity, edit, person, record, schema, set, text};
use crate::{HostKey, Store, StoreError, StoreKey};

pub(super) const PAGE_BYTES: usize = 4096;

pub(super) fn keys() -> HostKey {
    HostKey::new(StoreKey::from_bytes([1; 32]))
}

pub(super) fn note(n: u64) -> String {
    format!("{n:04} ").repeat(900)
}

/// A closed store with confirmed and waiting work, short and long: half of it overflows its page.
pub(super) fn worn_store() -> TempDir {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    for n in 1..=12 {
        phone.write(n, vec![activity(record(n), "tur"), person(record(100 + n), "Kari")]);
    }
    phone.write(13, vec![edit(record(1), "activity", vec![set("note", text(&note(13)))])]);
    phone.sync(&mut server);
    for n in 20..=27 {
        phone.write(n, vec![edit(record(n - 19), "activity", vec![set("note", text(&note(n)))])]);
    }
    phone.push(&mut server);
    for n in 30..=37 {
        phone.write(n, vec![activity(record(n), "ny")]);
    }
    phone.store.close().expect("closes");
    phone.folder
}

/// A copy of a store's folder with one page overwritten.
pub(super) fn with_damaged_page(whole: &Path, page: usize, damage: impl Fn(&mut [u8])) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(whole.join("store.json"), folder.path().join("store.json")).expect("copies");
    let mut bytes = std::fs::read(whole.join("store.db")).expect("reads");
    damage(&mut bytes[page * PAGE_BYTES..(page + 1) * PAGE_BYTES]);
    std::fs::write(folder.path().join("store.db"), bytes).expect("writes");
    folder
}

pub(super) fn pages(folder: &Path) -> usize {
    std::fs::read(folder.join("store.db")).expect("reads").len() / PAGE_BYTES
}

/// What is read is what was written, or the error says that work is at risk.
fn assert_same_or_told<T: PartialEq + std::fmt::Debug>(
    whole: &Result<T, StoreError>,
    found: Result<T, StoreError>,
    page: usize,
) {
    match found {
        Ok(found) => assert!(found == *whole.as_ref().expect("whole"), "page {page}"),
        Err(error) => {
            let may_be = error.is_data_at_risk() && !error.is_retryable();
            assert!(may_be, "page {page}: {error:?}");
        }
    }
}

#[test]
fn a_flipped_bit_in_any_page_is_told_or_harmless_and_never_read_as_something_else() {
    read_with_every_page_damaged(|page, bytes| bytes[(page * 37) % PAGE_BYTES] ^= 1);
}

#[test]
fn a_zeroed_page_is_told_or_harmless_and_never_read_as_something_else() {
    read_with_every_page_damaged(|_, bytes| bytes.fill(0));
}

fn read_with_every_page_damaged(damage: impl Fn(usize, &mut [u8])) {
    let folder = worn_store();
    let whole = Store::open(folder.path(), schema(), &keys()).expect("opens");
    let records: Vec<_> = (1..=12).chain(101..=112).chain(30..=37).map(record).collect();
    let outbox = whole.outbox();
    let shown: Vec<_> = records.iter().map(|record| whole.get(*record)).collect();
    drop(whole);
    let mut refused = 0;
    for page in 0..pages(folder.path()) {
        let damaged = with_damaged_page(folder.path(), page, |bytes| damage(page, bytes));
        let store = match Store::open(damaged.path(), schema(), &keys()) {
            Ok(store) => store,
            Err(error) => {
                assert!(
                    matches!(error, StoreError::Corrupt) && error.is_data_at_risk(),
                    "page {page}: {error:?}"
                );
                refused += 1;
                continue;
            }
        };
        for (record, shown) in records.iter().zip(&shown) {
            assert_same_or_told(shown, store.get(*record), page);
        }
        assert_same_or_told(&outbox, store.outbox(), page);
        assert!(!store.check().expect("checks").is_empty(), "page {page}");
    }
    assert!(refused < pages(folder.path()) / 2, "{refused} pages stop everything");
}
