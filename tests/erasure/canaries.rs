//! Marked values in every place a record reaches, between real devices and the real server, erased and searched for.

use std::fs;
use std::path::Path;

use haversack::{Changes, NoticeKind, Query, RecordId, Schema, UnixMillis, Value};
use haversack_server::{compact, erase, erase_fields, erasures};
use haversack_tests::{Device, World, day, decimal, text};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

const SCHEMA: &str = r#"{"version": 1, "collections": {
    "person": {"fields": {
        "name": {"kind": "text", "required": true, "indexed": true, "searched": true},
        "secret": {"kind": "text", "sensitive": true},
        "born": {"kind": "date", "indexed": true},
        "debt": {"kind": "decimal", "indexed": true},
        "number": {"kind": "integer", "indexed": true},
        "picture": {"kind": "bytes"},
        "traits": {"kind": "set"},
        "friend": {"kind": "reference", "target": "person", "indexed": true}}},
    "place": {"fields": {"name": {"kind": "text", "searched": true}}}}}"#;

const RULES: &str = r#"{"version": 1, "rules": [
    { "name": "small-debts", "collection": "person", "message_key": "debt.range",
      "check": { "range": { "field": "debt", "min": 0, "max": 99999999999999 } } }]}"#;

/// What nobody else writes: words, digits of a decimal, of an integer, and a day.
const CANARIES: [&str; 4] = ["kanarifugl", "9876543210.12", "731098765432", "2031-07-19"];

/// A value of every kind that can be told in bytes, each marked.
fn marked() -> Changes {
    Changes::new()
        .set("name", "kanarifugl name")
        .set("secret", "kanarifugl secret ".repeat(300))
        .set("born", day("2031-07-19"))
        .set("debt", decimal("9876543210.12"))
        .set("number", 7_310_987_654_321_i64)
        .set("picture", b"kanarifugl picture".to_vec())
        .add("traits", "kanarifugl trait")
}

fn found_in(bytes: &[u8]) -> Vec<&'static str> {
    let is_in = |word: &&str| bytes.windows(word.len()).any(|at| at == word.as_bytes());
    CANARIES.into_iter().filter(is_in).collect()
}

/// Every byte of every file of the server.
fn server_bytes(world: &World) -> Vec<u8> {
    let folder = world.database().parent().expect("a folder");
    let files = fs::read_dir(folder).expect("listed").map(|file| file.expect("a file").path());
    files.filter(|path| path.is_file()).flat_map(|path| fs::read(path).expect("read")).collect()
}

/// Everything in every table of a store, those of its indexes of words included; it has no free pages.
fn store_bytes(device: &Device, folder: &Path) -> Vec<u8> {
    let connection = Connection::open(folder.join("store.db")).expect("opened");
    let digits: String = device.key().expose().iter().map(|byte| format!("{byte:02x}")).collect();
    connection.execute_batch(&format!("PRAGMA key = \"x'{digits}'\"")).expect("the key");
    let mut tables =
        connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").expect("prepared");
    let names: Vec<String> =
        tables.query_map([], |row| row.get(0)).expect("asked").map(|name| name.expect("read")).collect();
    let mut bytes = Vec::new();
    for name in names {
        let mut statement = connection.prepare(&format!("SELECT * FROM \"{name}\"")).expect("prepared");
        let columns = statement.column_count();
        let mut rows = statement.query([]).expect("asked");
        while let Some(row) = rows.next().expect("read") {
            for column in 0..columns {
                match row.get_ref(column).expect("read") {
                    ValueRef::Text(text) => bytes.extend(text),
                    ValueRef::Blob(blob) => bytes.extend(blob),
                    ValueRef::Integer(number) => bytes.extend(number.to_string().into_bytes()),
                    _ => {}
                }
                bytes.push(0);
            }
        }
    }
    bytes
}

fn free_pages(device: &Device) -> i64 {
    let connection = Connection::open(device.folder().join("store.db")).expect("opened");
    let digits: String = device.key().expose().iter().map(|byte| format!("{byte:02x}")).collect();
    connection.execute_batch(&format!("PRAGMA key = \"x'{digits}'\"")).expect("the key");
    connection.query_row("PRAGMA freelist_count", [], |row| row.get(0)).expect("read")
}

/// Everything the library tells of a store, as its types print.
async fn told(device: &Device) -> String {
    let store = &device.store;
    let rows = [store.list(Query::of("person")).await, store.list(Query::of("place")).await];
    format!("{rows:?} {:?} {:?}", device.outbox().await, store.notices().await)
}

struct Story {
    world: World,
    ola: Device,
    kari: Device,
    gone: RecordId,
    stays: RecordId,
}

/// Marked values accepted, beaten, overridden, refused, waiting and compacted away.
async fn fill() -> Story {
    let schema = Schema::from_json(SCHEMA).expect("sound");
    let world = World::start_under(schema.clone(), RULES).await;
    let ola = world.mentor_under("ola", &schema).await;
    let kari = world.coordinator_under("kari", &schema).await;
    let stays = ola.create("person", Changes::new().set("name", "stays")).await;
    let gone = ola.create("person", marked().set("friend", stays)).await;
    ola.edit("person", stays, Changes::new().set("friend", gone)).await;
    for device in [&ola, &kari] {
        device.connect(world.address()).await;
        device.sync().await;
    }
    let mark = Some(text("kanarifugl mark"));
    kari.store.override_field(gone, "name", mark, "kanarifugl reason").await.expect("stored");
    for n in 0..110 {
        kari.edit("person", gone, Changes::new().set("secret", format!("kanarifugl {n}"))).await;
    }
    kari.sync().await;
    let done = compact(world.database(), &schema, UnixMillis(i64::MAX)).expect("compacted");
    assert_eq!(done.compacted, 1);
    for device in [&ola, &kari] {
        device.sync().await;
        device.edit("person", gone, Changes::new().set("number", 7_310_987_654_321_i64 + 1)).await;
    }
    ola.edit("person", gone, Changes::new().set("debt", decimal("-9876543210.12"))).await;
    kari.sync().await;
    ola.sync().await;
    kari.sync().await;
    ola.edit("person", gone, marked()).await;
    Story { world, ola, kari, gone, stays }
}

fn assert_nothing(bytes: &[u8], place: &str) {
    assert_eq!(found_in(bytes), [""; 0], "in {place}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_marked_value_of_an_erased_record_is_left_anywhere_between_two_devices_and_their_server() {
    let Story { world, ola, kari, gone, stays } = fill().await;
    assert_eq!(found_in(&server_bytes(&world)), CANARIES);
    for device in [&ola, &kari] {
        assert_eq!(found_in(&store_bytes(device, device.folder())), CANARIES);
        assert!(told(device).await.contains("kanarifugl"));
    }
    assert!(erase(world.database(), &gone.into()).expect("erased").is_swept);
    assert_nothing(&server_bytes(&world), "the server's files");
    let backups = tempfile::tempdir().expect("a folder");
    for (device, name) in [(&ola, "ola"), (&kari, "kari")] {
        device.sync().await;
        assert_nothing(&store_bytes(device, device.folder()), name);
        assert_eq!(free_pages(device), 0);
        assert_nothing(told(device).await.as_bytes(), name);
        assert!(
            device.store.list(Query::of("person").search("kanarifugl")).await.expect("listed").is_empty()
        );
        let backup = backups.path().join(name);
        device.store.back_up(&backup).await.expect("backed up");
        assert_nothing(&store_bytes(device, &backup), "a backup");
        assert!(device.store.is_erased(gone).await.expect("read"));
        let friend = device.row(stays).await.fields["friend"].clone();
        let Value::Reference(friend) = friend else { panic!("a reference") };
        assert_eq!(device.store.get(friend).await.expect("read"), None, "it leads to nothing");
    }
    let notices = ola.store.notices().await.expect("listed");
    assert!(notices.iter().any(|notice| notice.kind == NoticeKind::Erased), "its maker is told");
    assert_nothing(&server_bytes(&world), "the server's files, after everybody asked");
    world.agrees_with(&[&ola, &kari]).await;
    let report = erasures(world.database()).expect("read");
    assert_eq!(report.iter().map(|one| one.outstanding.len()).collect::<Vec<_>>(), [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_marked_value_of_erased_fields_is_left_and_the_record_goes_on() {
    let Story { world, ola, kari, gone, stays } = fill().await;
    let schema = Schema::from_json(SCHEMA).expect("sound");
    let all = ["name", "secret", "born", "debt", "number", "picture", "traits"];
    let fields = all.into_iter().map(str::to_owned).collect();
    assert!(erase_fields(world.database(), &schema, &gone.into(), &fields, false).expect("erased").is_swept);
    assert_nothing(&server_bytes(&world), "the server's files");
    for (device, name) in [(&ola, "ola"), (&kari, "kari")] {
        device.sync().await;
        assert_nothing(&store_bytes(device, device.folder()), name);
        assert_eq!(free_pages(device), 0);
        assert_nothing(told(device).await.as_bytes(), name);
        let row = device.row(gone).await;
        assert_eq!(row.fields.keys().map(ToString::to_string).collect::<Vec<_>>(), ["friend"]);
        assert!(row.marks.is_empty());
    }
    ola.edit("person", gone, Changes::new().set("name", "anew")).await;
    ola.sync().await;
    kari.sync().await;
    assert_eq!(kari.row(gone).await.fields["name"], text("anew"));
    assert_eq!(kari.row(stays).await.fields["name"], text("stays"));
    world.agrees_with(&[&ola, &kari]).await;
}
