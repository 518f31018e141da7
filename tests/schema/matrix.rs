//! The matrix: what becomes of a record where its reader has another schema than its writer, and of an edit where the
//! server has another than its author. One table of cases for each, a sentence a case.

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, Automerge, ROOT, ReadDoc, ScalarValue};
use haversack::{ChangeSet, ChangeSetId, DeviceId, EntryState, Intent, Part, RecordId, UnixMillis};
use haversack::{Changes, Code, RecordState, Reference, Value};
use haversack_core::outbox::{BaseHeads, Entry, Freezer, Lane};
use haversack_core::{Document, passed_over, project};
use haversack_tests::{Device, text};
use serde_json::{Value as Json, json};

use super::town::{Town, changed, first, schema, title, titled, visit};

/// Something a newer schema has and an older reader does not.
struct Unread {
    sentence: &'static str,
    /// Where the schemas differ.
    path: &'static str,
    older: Json,
    newer: Json,
    /// Field and value the writer puts; a counter is stepped and a set added to.
    field: &'static str,
    value: Value,
    /// The reader shows it all the same.
    is_shown: bool,
}

fn unread(field: &'static str, older: Json, newer: Json, value: Value, sentence: &'static str) -> Unread {
    let path = match field {
        "mood" => "/visit/fields/mood",
        "minutes" => "/visit/fields/minutes",
        _ => "/visit/fields/status",
    };
    Unread { sentence, path, older, newer, field, value, is_shown: false }
}

fn kind(name: &str) -> Json {
    json!({ "kind": name })
}

fn kept_cases() -> Vec<Unread> {
    let (none, text_kind) = (Json::Null, kind("text"));
    let enumeration = |texts: &[&str]| json!({ "kind": "text", "one_of": texts });
    let set = Value::Set(["wet".to_owned()].into());
    vec![
        unread(
            "mood",
            none.clone(),
            kind("text"),
            text("glad å 🌲"),
            "a text field the reader does not know",
        ),
        unread("mood", none.clone(), kind("bytes"), Value::Bytes(vec![0, 255, 7]), "bytes it does not know"),
        unread(
            "mood",
            none.clone(),
            kind("decimal"),
            Value::Decimal("1.50".into()),
            "a decimal it does not know",
        ),
        unread("mood", none.clone(), kind("float"), Value::Float(-0.0), "a float it does not know"),
        unread("mood", none.clone(), kind("counter"), Value::Counter(3), "a counter it does not know"),
        unread("mood", none, kind("set"), set, "a set it does not know"),
        unread("mood", kind("integer"), text_kind.clone(), text("7"), "a field it knows as another kind"),
        unread(
            "mood",
            text_kind.clone(),
            kind("bytes"),
            Value::Bytes(vec![65]),
            "a text it knows, now of bytes",
        ),
        unread("mood", kind("set"), kind("counter"), Value::Counter(2), "a set it knows, now a counter"),
        Unread {
            is_shown: true,
            ..unread(
                "status",
                enumeration(&["open", "done"]),
                enumeration(&["open", "done", "paused"]),
                text("paused"),
                "a text the reader's enumeration does not have",
            )
        },
        Unread {
            is_shown: true,
            ..unread(
                "minutes",
                json!({ "kind": "integer", "max": 60 }),
                json!({ "kind": "integer", "max": 600 }),
                Value::Integer(90),
                "a number beyond the reader's range",
            )
        },
        Unread {
            is_shown: true,
            ..unread(
                "mood",
                json!({ "kind": "text", "max_bytes": 3 }),
                text_kind,
                text("long enough"),
                "a text longer than the reader allows",
            )
        },
    ]
}

fn puts(case: &Unread) -> Changes {
    match &case.value {
        Value::Counter(by) => Changes::new().increment(case.field, *by),
        Value::Set(elements) => elements.iter().fold(Changes::new(), |put, one| put.add(case.field, one)),
        value => Changes::new().put(case.field, value.clone()),
    }
}

/// Everything a person can do to a record, next to what this device does not know.
async fn live_with(device: &Device, record: RecordId) {
    let visits = device.store.collection("visit");
    device.edit("visit", record, titled("run").set("note", "beside it")).await;
    device.sync().await;
    device.store.override_field(record, "note", Some(text("set right")), "heard it").await.expect("stored");
    device.sync().await;
    visits.delete(record).await.expect("stored");
    visits.restore(record).await.expect("stored");
    device.store.release_override(record, "note").await.expect("stored");
    device.sync().await;
    device.edit("visit", record, titled("nonsense")).await;
    device.edit("visit", record, Changes::new().set("note", "after the refused one")).await;
    device.sync().await;
    let outbox = device.outbox().await;
    assert_eq!(outbox.len(), 1, "one is refused and rolled back");
    device.store.outbox().discard(outbox[0].change_set.id).await.expect("discarded");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_does_not_know_is_kept_through_everything_it_does_to_the_record() {
    for case in kept_cases() {
        let sentence = case.sentence;
        let (older, newer) = (
            changed(&first(), case.path, case.older.clone()),
            changed(&changed(&first(), case.path, json!(null)), case.path, case.newer.clone()),
        );
        let town = Town::under(&newer).await;
        let (writer, mut reader) = (town.mentor("ola", &newer).await, town.coordinator("siv", &older).await);
        let record = writer.create("visit", titled("walk")).await;
        writer.edit("visit", record, puts(&case)).await;
        writer.sync().await;
        reader.sync().await;
        let row = reader.row(record).await;
        let shown = row.fields.get(case.field).filter(|value| **value == case.value);
        assert_eq!(shown.is_some(), case.is_shown, "{sentence}: {row:?}");
        let unread = reader.store.with_store(move |store| store.fields_without_schema(record)).await;
        let expected = if case.is_shown { vec![] } else { vec![case.field.to_owned()] };
        assert_eq!(unread.expect("read").into_iter().collect::<Vec<_>>(), expected, "{sentence}");
        live_with(&reader, record).await;
        let reader_again = reader.reopen().await;
        reader = reader_again;
        reader.connect(town.gate.address()).await;
        reader.sync().await;
        writer.sync().await;
        let row = writer.row(record).await;
        assert_eq!(row.fields.get(case.field), Some(&case.value), "{sentence}");
        assert_eq!(row.fields.get("note"), Some(&text("after the refused one")), "{sentence}");
        assert_eq!(title(&writer, record).await, Some(text("run")), "{sentence}");
        // Once its app is updated the reader has it, too, without asking the server.
        reader.store.set_online(false).expect("open");
        town.update(&mut reader, &newer).await;
        assert_eq!(reader.row(record).await.fields.get(case.field), Some(&case.value), "{sentence}");
        town.world.agrees_with(&[&writer, &reader]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_collection_the_reader_does_not_know_are_counted_and_there_after_its_update() {
    let newer = changed(
        &first(),
        "/trip",
        json!({ "fields": {
        "to": { "kind": "text" }, "visit": { "kind": "reference", "target": "visit" } } }),
    );
    let town = Town::under(&newer).await;
    let (writer, mut reader) = (town.mentor("ola", &newer).await, town.mentor("kari", &first()).await);
    let walk = visit(&writer).await;
    let trip = writer.create("trip", Changes::new().set("to", "Bodø").set("visit", walk)).await;
    writer.sync().await;
    reader.sync().await;
    assert_eq!(reader.store.get(trip).await.expect("read"), None);
    let unread = reader.store.with_store(|store| store.records_without_row()).await.expect("counted");
    assert_eq!(unread, 1);
    reader.edit("visit", walk, titled("run")).await;
    reader.sync().await;
    writer.edit("trip", trip, Changes::new().set("to", "Vadsø")).await;
    writer.sync().await;
    reader.sync().await;
    town.update(&mut reader, &newer).await;
    reader.sync().await;
    let row = reader.row(trip).await;
    assert_eq!(row.fields["to"], text("Vadsø"));
    let server_id = reader.record(walk).await.server_id.expect("assigned");
    assert_eq!(row.fields["visit"], Value::Reference(Reference::Server(server_id)));
    town.world.agrees_with(&[&writer, &reader]).await;
}

/// Something a device has whose app is newer than its server.
fn ahead_cases() -> Vec<(&'static str, Json, &'static str, Changes)> {
    let newer = |path: &str, to: Json| changed(&first(), path, to);
    let with = |changes: Changes| changes.set("title", "walk");
    vec![
        (
            "a field the server does not know",
            newer("/visit/fields/weather", kind("text")),
            "visit",
            with(Changes::new().set("weather", "wet")),
        ),
        (
            "a counter the server does not know",
            newer("/visit/fields/calls", kind("counter")),
            "visit",
            with(Changes::new().increment("calls", 2)),
        ),
        (
            "a collection the server does not know",
            newer("/trip", json!({ "fields": { "to": { "kind": "text" } } })),
            "trip",
            Changes::new().set("to", "Bodø"),
        ),
        (
            "an enumerated text the server does not know",
            newer("/visit/fields/status", json!({ "kind": "text", "one_of": ["open", "done", "paused"] })),
            "visit",
            with(Changes::new().set("status", "paused")),
        ),
        (
            "a field that is not required any more",
            newer("/visit/fields/title", json!({ "kind": "text", "indexed": true })),
            "visit",
            Changes::new().set("note", "untitled"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_is_ahead_with_waits_unharmed_for_its_server() {
    for (sentence, newer, collection, changes) in ahead_cases() {
        let mut town = Town::under(&first()).await;
        let mut ola = town.mentor("ola", &first()).await;
        let kari = town.mentor("kari", &first()).await;
        let before = visit(&ola).await;
        ola.store.set_online(false).expect("open");
        ola.edit("visit", before, titled("run")).await;
        town.update(&mut ola, &newer).await;
        ola.store.set_online(false).expect("open");
        let record = ola.create(collection, changes).await;
        let of_kari = visit(&kari).await;
        ola.store.set_online(true).expect("open");
        ola.sync().await;
        assert_eq!(ola.record(before).await.state, RecordState::Synced, "{sentence}: older work arrives");
        assert_eq!(title(&ola, of_kari).await, Some(text("walk")), "{sentence}: reading goes on");
        let outbox = ola.outbox().await;
        let [entry] = &outbox[..] else { panic!("{sentence}: {outbox:?}") };
        assert_eq!(entry.last_error.as_deref(), Some(Code::Upgrade.as_str()), "{sentence}");
        let found = ola.record(record).await;
        assert!(
            matches!(found.state, RecordState::LocalOnly | RecordState::Sending),
            "{sentence}: {found:?}"
        );
        town.turn_to(&newer).await;
        ola.sync().await;
        assert_eq!(ola.record(record).await.state, RecordState::Synced, "{sentence}");
        assert_eq!(ola.record(record).await.row.fields, found.row.fields, "{sentence}");
        town.world.agrees_with(&[&ola]).await;
    }
}

/// A record of a library to come: a key of a kind nobody knows yet, and a value no kind of today has.
fn of_a_library_to_come() -> (Automerge, [(&'static str, ScalarValue); 2]) {
    let unknown =
        [("t:body", ScalarValue::Bytes(vec![0, 255, 7])), ("f:mood", ScalarValue::Uint(u64::from(u32::MAX)))];
    let mut document = Automerge::new();
    document.set_actor(ActorId::from(&[5_u8; 12][..]));
    let mut tx = document.transaction();
    tx.put(ROOT, "_v", 9_i64).expect("put");
    tx.put(ROOT, "f:title", "walk").expect("put");
    for (key, value) in &unknown {
        tx.put(ROOT, *key, value.clone()).expect("put");
    }
    tx.commit_with(CommitOptions::default().with_time(0));
    (document, unknown)
}

#[test]
fn a_key_of_a_kind_nobody_knows_yet_is_kept_byte_for_byte_through_edits() {
    let (newer, unknown) = of_a_library_to_come();
    let schema = schema(&first());
    let record = RecordId::from_bytes([1; 16]);
    let mut document = Document::load(&newer.save_nocompress()).expect("loads");
    let titled = |value: &str| Intent::Set { field: "title".into(), value: text(value) };
    for (n, intents) in [vec![titled("run")], vec![Intent::Delete], vec![Intent::Restore, titled("swim")]]
        .into_iter()
        .enumerate()
    {
        let generation = u32::try_from(n).expect("small");
        let part = Part { record, collection: "visit".into(), creates: false, intents };
        let change_set = ChangeSet {
            id: ChangeSetId::from_bytes([n as u8; 16]),
            at: UnixMillis(1),
            schema_version: 1,
            after: vec![],
            parts: vec![part],
        };
        let base = vec![BaseHeads { record, epoch: 0, heads: document.heads() }];
        let state = EntryState::Pending;
        let (attempts, last_error, next_try) = (0, None, None);
        let entry = Entry {
            order: 1,
            priority: 0,
            change_set,
            base,
            frozen: vec![],
            state,
            attempts,
            last_error,
            next_try,
        };
        let mut freezer = Freezer::new(DeviceId::from_bytes([8; 8]), &schema);
        let lane = Lane { document: Some(document.clone()), generation, ..Lane::default() };
        freezer.open(record, lane).expect("opens");
        let frozen = freezer.freeze(&entry).expect("freezes");
        document.apply(&frozen[0].change).expect("applies");
        document = Document::load(&document.save_checked().expect("saves")).expect("loads");
    }
    let visit = schema.collection("visit").expect("known");
    let row = project(&document, visit);
    assert_eq!((row.effective("title"), row.fields.get("mood")), (Some(&text("swim")), None));
    assert_eq!(passed_over(&document, visit), ["mood", "t:body"].map(str::to_owned).into());
    let kept = Automerge::load(&document.save()).expect("loads");
    for (key, value) in unknown {
        let found = kept.get(ROOT, key).expect("read").expect("kept").0;
        assert_eq!(found.as_scalar(), Some(&value), "{key}");
    }
}
