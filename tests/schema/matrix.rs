//! The matrix: what becomes of a record where its reader has another schema than its writer, and of an edit where the
//! server has another than its author. One table of cases for each, a sentence a case.

use haversack::{Changes, Code, Error, RecordState, Reference, TransportError, Value};
use haversack_tests::{Device, text};
use serde_json::{Value as Json, json};

use super::town::{Town, changed, first, title, titled, visit};

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
async fn live_with(device: &Device, record: haversack::RecordId) {
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
        let before = visit(&ola).await;
        town.update(&mut ola, &newer).await;
        ola.sync().await;
        assert_eq!(title(&ola, before).await, Some(text("walk")), "{sentence}: reading goes on");
        let record = ola.create(collection, changes).await;
        let stopped = ola.try_sync().await.expect_err(sentence);
        let code = Code::Upgrade;
        let is_told =
            matches!(&stopped, Error::Transport(TransportError::Refused { code: told, .. }) if *told == code);
        assert!(is_told, "{sentence}: {stopped:?}");
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
