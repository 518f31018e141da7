//! Released formats: what a library of any of them wrote is opened, edited and brought home by today's.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use haversack::{ChangeSet, ChangeSetId, EntryState, HostKey, Intent, Part, RecordId, Role, Store, Value};
use haversack_server::DATABASE_FORMAT;
use haversack_store::{SIDECAR_FORMAT, STORE_FORMAT};
use haversack_tests::{Courier, Fixture, Held, World, fixture_key, make_fixture, text};
use rusqlite::Connection;

fn record(n: u64) -> RecordId {
    RecordId::from_bytes(u128::from(n).to_be_bytes())
}

/// A fresh id; greater than any in a fixture.
fn change_set_id(n: u64) -> ChangeSetId {
    ChangeSetId::from_bytes((u128::from(n) << 64 | 1 << 127).to_be_bytes())
}

fn edit(n: u64, of: u64, intents: Vec<Intent>) -> ChangeSet {
    let part = Part { record: record(of), collection: "visit".into(), creates: false, intents };
    let at = haversack::UnixMillis(1_800_000_000_000);
    ChangeSet { id: change_set_id(n), at, schema_version: 3, after: vec![], parts: vec![part] }
}

#[test]
fn every_format_there_is_or_was_has_its_fixture() {
    let all = Fixture::all();
    let stores: BTreeSet<i64> = all.iter().map(|fixture| fixture.store_format).collect();
    let databases: BTreeSet<i64> = all.iter().map(|fixture| fixture.database_format).collect();
    let sidecar = |fixture: &Fixture| {
        let json: serde_json::Value = serde_json::from_str(&fixture.sidecar()).expect("a sidecar");
        json["format"].as_i64().expect("a number")
    };
    let sidecars: BTreeSet<i64> = all.iter().map(sidecar).collect();
    let make =
        "make the missing one with `cargo run -p haversack-tests --bin generate-formats` and commit it";
    assert_eq!(stores, (1..=STORE_FORMAT).collect(), "formats of the store: {make}");
    assert_eq!(databases, (1..=DATABASE_FORMAT).collect(), "formats of the server: {make}");
    assert_eq!(sidecars, (1..=SIDECAR_FORMAT).collect(), "formats of the sidecar: {make}");
}

/// Names and columns of every table, and names of every index, of a database.
fn tables(connection: &Connection) -> Vec<String> {
    let sql = "SELECT type || ' ' || name || ': ' || coalesce((SELECT group_concat(one.name || ' ' || one.type || ' '
                   || one.\"notnull\" || ' ' || one.pk, ', ') FROM pragma_table_info(m.name) AS one), '')
               FROM sqlite_master AS m WHERE name NOT LIKE 'sqlite_%' ORDER BY 1";
    let mut statement = connection.prepare(sql).expect("prepared");
    let rows = statement.query_map([], |row| row.get(0)).expect("asked");
    rows.collect::<Result<_, _>>().expect("read")
}

fn tables_of_store(folder: &Path) -> Vec<String> {
    let connection = Connection::open(folder.join("store.db")).expect("opened");
    let digits: String = fixture_key().expose().iter().map(|byte| format!("{byte:02x}")).collect();
    connection.execute_batch(&format!("PRAGMA key = \"x'{digits}'\"")).expect("the public key");
    tables(&connection)
}

/// What catches a released migration that was edited.
#[tokio::test(flavor = "multi_thread")]
async fn a_migrated_database_has_the_tables_of_a_new_one() {
    for fixture in Fixture::all() {
        let schema = Arc::new(fixture.schema());
        let key = HostKey::new(fixture_key());
        let [old, new] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        fixture.put_store(old.path());
        for folder in [&old, &new] {
            Store::open(folder.path(), schema.clone(), &key).expect("opens").close().expect("closes");
        }
        assert_eq!(tables_of_store(old.path()), tables_of_store(new.path()));
        assert!(tables_of_store(new.path()).len() > 20);
        let mut old = World::start_over(&fixture.database(), fixture.schema(), &fixture.rules()).await;
        let mut new = World::start_under(fixture.schema(), &fixture.rules()).await;
        old.stop().await;
        new.stop().await;
        let of = |world: &World| tables(&Connection::open(world.database()).expect("opened"));
        assert_eq!(of(&old), of(&new));
    }
}

/// Sends every entry that was set aside again, with what was refused put right.
fn correct_and_retry(store: &Store) {
    for (n, entry) in (1000..).zip(store.set_aside().expect("listed")) {
        let mut change_set = ChangeSet { id: change_set_id(n), after: vec![], ..entry.change_set.clone() };
        for intent in change_set.parts.iter_mut().flat_map(|part| &mut part.intents) {
            if let Intent::Set { field, value: Value::Integer(minutes) } = intent
                && field == "minutes"
            {
                *minutes = (*minutes).min(720);
            }
        }
        store.resubmit(vec![(entry.change_set.id, change_set)]).expect("stored");
    }
}

/// Ordinary edits, one of each kind.
fn edit_on(store: &Store) {
    let step = Intent::Increment { field: "calls".into(), by: 100 };
    let add = Intent::Add { field: "tags".into(), element: "lenge etter".into() };
    let note = Intent::Set { field: "note".into(), value: text("solskinn i dag") };
    store.local_write(edit(1, 1, vec![step, add, note])).expect("stored");
    store.local_write(edit(2, 7, vec![Intent::Restore])).expect("stored");
    let words = haversack::Query::of("visit").search("solskinn");
    assert_eq!(store.list(&words).expect("listed").len(), 1, "the index of words goes on");
}

async fn brings_home(fixture: &Fixture) {
    let folder = tempfile::tempdir().expect("a folder");
    fixture.put_store(folder.path());
    let world = World::start_over(&fixture.database(), fixture.schema(), &fixture.rules()).await;
    let schema = Arc::new(fixture.schema());
    let open = || Store::open(folder.path(), schema.clone(), &HostKey::new(fixture_key())).expect("opens");
    let store = open();
    assert_eq!(Held::by(&store, &world.prove()), fixture.held(), "nothing is lost by opening");
    assert_eq!(store.check().expect("checks"), Vec::<String>::new());
    let states: BTreeSet<String> = fixture.held().entries.into_keys().collect();
    let every = ["failed", "frozen", "held", "parked", "pending", "rejected"].map(str::to_owned);
    assert_eq!(states, every.into(), "an entry in every state");
    edit_on(&store);
    drop(store);
    let store = open();
    let courier = Courier::to(world.address(), world.token("ola", Role::Mentor));
    courier.drain(&store).await;
    let left = store.outbox().expect("listed");
    assert!(left.iter().all(|entry| !matches!(entry.state, EntryState::Pending | EntryState::Frozen)));
    assert_eq!(left.len(), fixture.held().entries["rejected"] + fixture.held().entries["parked"]);
    correct_and_retry(&store);
    courier.drain(&store).await;
    assert_eq!(store.outbox().expect("listed"), [], "all of it came home");
    let reader_folder = tempfile::tempdir().expect("a folder");
    let key = HostKey::new(fixture_key());
    let reader = Store::open(reader_folder.path(), schema, &key).expect("opens");
    let reading = Courier::to(world.address(), world.token("reader", Role::Mentor));
    reading.register(&reader, "https://fixture.invalid#north").await;
    reading.drain(&reader).await;
    let proof = world.prove();
    for store in [&store, &reader] {
        assert_eq!(store.digest_from_rows().expect("read").finish(), proof.from_rows);
        assert_eq!(store.digest_from_documents().expect("read").finish(), proof.from_documents);
        assert_eq!(store.check().expect("checks"), Vec::<String>::new());
        assert_eq!(store.temporary_ids().expect("counted"), 0);
    }
    assert_eq!((proof.from_rows.clone(), proof.temporary_ids), (proof.from_documents.clone(), 0));
    assert!(proof.records > 1000, "{} records", proof.records);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_and_a_server_of_every_released_format_are_opened_edited_and_brought_to_one_state() {
    let all = Fixture::all();
    assert!(!all.is_empty());
    for fixture in all {
        brings_home(&fixture).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_generator_still_tells_the_story_the_fixtures_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let held = make_fixture(folder.path()).await;
    let all = Fixture::all();
    for kept in all.iter().map(Fixture::held) {
        assert_eq!(
            (held.entries.clone(), held.conflicts, held.found),
            (kept.entries, kept.conflicts, kept.found)
        );
    }
    // Later formats add rows of kinds that earlier ones have not.
    let newest = all.iter().max_by_key(|fixture| (fixture.store_format, fixture.database_format));
    assert_eq!(newest.map(|fixture| fixture.held().log_rows), Some(held.log_rows));
}
