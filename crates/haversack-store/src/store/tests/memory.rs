//! Memory: what an open store keeps does not grow with what lies in it.

use std::fs;

use super::world::{change_set, create, open, record, set, text};
use crate::Query;

const RECORDS: u64 = 20_000;
/// Writer and readers, as the connections are set up, and what SQLite adds to each page.
const CACHES: [i32; 3] = [8_000 * 1_100, 16_000 * 1_100, 16_000 * 1_100];

#[test]
fn a_store_of_twenty_thousand_records_is_opened_and_listed_within_its_page_caches() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let note = "x".repeat(900);
    let creation = |n: u64| {
        let intents = vec![set("title", text("walk")), set("note", text(&note))];
        change_set(n, vec![create(record(n), "activity", intents)])
    };
    for first in (1..=RECORDS).step_by(1_000) {
        store.local_write_all((first..first + 1_000).map(creation).collect()).expect("stored");
    }
    store.close().expect("closes");
    let bytes = fs::metadata(folder.path().join("store.db")).expect("a file").len();
    assert!(bytes > 2 * 16_000 * 1024, "it must not fit in a cache: {bytes}");

    let store = open(folder.path());
    let used: i32 = store.connections.cached_bytes().iter().sum();
    assert!(used < 1_000_000, "opening reads next to nothing of it: {used}");
    let mut read = 0;
    for offset in (0..RECORDS).step_by(1_000) {
        let page = Query::of("activity").page(1_000, u32::try_from(offset).expect("small"));
        read += store.list(&page).expect("reads").len() as u64;
    }
    assert_eq!(read, RECORDS);
    let used = store.connections.cached_bytes();
    assert!(used.iter().zip(CACHES).all(|(used, most)| *used <= most), "{used:?}");
    assert!(used[1] > CACHES[1] / 2, "its cache was filled: {used:?}");
    assert!(used[2] < 1_000_000, "one after another are read by one reader: {used:?}");
}
