//! What an app may say and what it may not: refused on the spot and typed, or kept exactly, here and elsewhere.

use haversack::{
    Changes, EditRefusal, Error, ErrorKind, RecordId, ServerId, StoreError, UnixMillis, Value, ValueRefusal,
};
use haversack_protocol::limits::{SET_ELEMENT_BYTES_MAX, TEXT_BYTES_MAX};
use haversack_tests::{Device, World, day, decimal, text};

async fn creates(device: &Device, changes: Changes) -> RecordId {
    let titled = changes.set("title", "walk");
    device.create("activity", titled).await
}

/// The refusal of an activity with these fields; nothing of it is stored.
async fn refusal(device: &Device, collection: &str, changes: Changes) -> EditRefusal {
    let before = device.store.status().await.expect("counted");
    let refused = device.store.collection(collection).create(changes).await.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(!refused.is_retryable() && !refused.is_data_at_risk());
    assert_eq!(device.store.status().await.expect("counted"), before, "nothing was stored");
    match refused {
        Error::Store(StoreError::Edit(refusal)) => refusal,
        other => panic!("refused as an edit: {other}"),
    }
}

async fn value_refusal(device: &Device, field: &str, value: Value) -> ValueRefusal {
    let changes = Changes::new().set("title", "walk").set(field, value);
    match refusal(device, "activity", changes).await {
        EditRefusal::Value { field: named, source, .. } => {
            assert_eq!(named, field);
            source
        }
        other => panic!("refused for its value: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_the_schema_does_not_have_are_refused_by_name() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let refused = refusal(&device, "nowhere", Changes::new().set("title", "walk")).await;
    assert_eq!(refused, EditRefusal::UnknownCollection("nowhere".into()));
    for odd in ["", "Title", "title ", "f:title", "title\0", "å"] {
        let refused = refusal(&device, "activity", Changes::new().set("title", "walk").set(odd, "x")).await;
        assert!(matches!(refused, EditRefusal::UnknownField { .. }), "{odd:?}: {refused}");
    }
    let refused = refusal(&device, "activity", Changes::new()).await;
    assert!(matches!(refused, EditRefusal::Required { .. }), "{refused}");
    let twice = Changes::new().set("title", "walk").set("title", "run");
    let refused = refusal(&device, "activity", twice).await;
    assert!(matches!(refused, EditRefusal::WrittenTwice { .. }), "{refused}");
    let record = creates(&device, Changes::new()).await;
    let nothing =
        device.store.collection("activity").edit(record, Changes::new()).await.expect_err("no edit");
    assert_eq!(nothing.edit_refusal(), Some(&EditRefusal::Parts));
    let as_person = device.store.collection("person").edit(record, Changes::new().set("name", "Kari")).await;
    assert!(as_person.expect_err("it is an activity").edit_refusal().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_do_not_fit_their_field_are_refused_with_the_reason_and_without_the_value() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let long = "å".repeat(TEXT_BYTES_MAX / 2) + "x";
    let refused = value_refusal(&device, "note", text(&long)).await;
    assert_eq!(refused, ValueRefusal::TooLong { max: TEXT_BYTES_MAX });
    let refused = value_refusal(&device, "short", text("åååå+")).await;
    assert_eq!(refused, ValueRefusal::TooLong { max: 8 }, "bytes are counted");
    assert_eq!(
        value_refusal(&device, "raw", Value::Bytes(vec![0; TEXT_BYTES_MAX + 1])).await,
        refused_bytes()
    );
    assert_eq!(value_refusal(&device, "note", text("a\0b")).await, ValueRefusal::Nul);
    assert_eq!(value_refusal(&device, "status", text("Open")).await, ValueRefusal::OneOf);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(value_refusal(&device, "share", Value::Float(bad)).await, ValueRefusal::NotFinite);
    }
    for bad in
        ["2023-02-29", "2024-13-01", "2024-00-10", "24-1-1", "2024-1-1", "2024-01-01T00:00", "", "٢٠٢٤-٠١-٠١"]
    {
        assert_eq!(value_refusal(&device, "day", day(bad)).await, ValueRefusal::Form, "{bad:?}");
    }
    for bad in ["", ".5", "1.", "+1", "01", "1e5", "1,5", "NaN", "--1", "-", "١", &"9".repeat(65)] {
        assert_eq!(value_refusal(&device, "km", decimal(bad)).await, ValueRefusal::Form, "{bad:?}");
    }
    for at in [i64::MIN, i64::MAX] {
        assert_eq!(value_refusal(&device, "at", Value::Instant(UnixMillis(at))).await, ValueRefusal::Form);
    }
    let kinds = [
        ("minutes", text("5")),
        ("note", Value::Integer(5)),
        ("ok", Value::Integer(1)),
        ("share", Value::Integer(1)),
    ];
    for (field, value) in kinds {
        let refused = value_refusal(&device, field, value).await;
        assert!(matches!(refused, ValueRefusal::Kind { .. }), "{field}: {refused}");
    }
    let element = "x".repeat(SET_ELEMENT_BYTES_MAX + 1);
    let refused =
        refusal(&device, "activity", Changes::new().set("title", "walk").add("tags", &element)).await;
    assert!(!refused.to_string().contains(&element), "no value in a message");
    for by in [i64::MIN, i64::MAX, (1 << 31) + 1, -(1 << 31) - 1] {
        let stepped = Changes::new().set("title", "walk").increment("calls", by);
        let refused = refusal(&device, "activity", stepped).await;
        assert!(matches!(refused, EditRefusal::Value { source: ValueRefusal::Step, .. }), "{by}: {refused}");
    }
}

fn refused_bytes() -> ValueRefusal {
    ValueRefusal::TooLong { max: TEXT_BYTES_MAX }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_nothing_are_refused_or_simply_not_there() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let nobody = RecordId::from_bytes([0xee; 16]);
    let edited = device.store.collection("activity").edit(nobody, Changes::new().set("note", "x")).await;
    let refused = edited.expect_err("there is none");
    assert_eq!(refused.edit_refusal(), Some(&EditRefusal::UnknownRecord(nobody)));
    let refused =
        refusal(&device, "activity", Changes::new().set("title", "walk").set("person", nobody)).await;
    assert!(matches!(refused, EditRefusal::UnknownReference { .. }), "{refused}");
    assert_eq!(device.store.get(nobody).await.expect("read"), None);
    let unknown = ServerId::new("P-000404").expect("plain");
    assert_eq!(device.store.get(unknown).await.expect("read"), None);
    assert!(device.store.conflicts(nobody).await.is_err());
    assert!(!device.store.acknowledge_notice(-1).await.expect("answered"));
    for bad in ["", "0", "0190-", "not an id", "\u{202e}"] {
        assert!(bad.parse::<RecordId>().is_err(), "{bad:?}");
    }
    for bad in ["", "a b", "a\0", "\u{e9}", "a/b"] {
        assert!(ServerId::new(bad).is_err(), "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_is_kept_exactly_here_and_on_another_device() {
    let world = World::start().await;
    let (device, reader) = (world.mentor("ola").await, world.mentor("kari").await);
    let mut texts: Vec<String> = [
        "",
        " ",
        "\u{e9}",
        "e\u{301}",
        "\u{212b}",
        "\u{c5}",
        "A\u{30a}",
        "שלום עליכם",
        "\u{202e}abc\u{202c}",
        "السلام عليكم",
        "👩‍👩‍👧‍👦",
        "🇳🇴",
        "👍🏽",
        "\u{feff}mark",
        "a\u{200b}b",
        "\u{1}\u{7f}\u{85}",
        "line\r\nline\u{2028}end",
        "'; DROP TABLE record; --",
        "{\"a\":\"\\u0000\"}",
        "\u{10ffff}\u{fffd}\u{fffe}",
        "ﬁ ß İ ı",
        "t:x",
        "s:P-1",
    ]
    .map(str::to_owned)
    .into();
    texts.push("å".repeat(TEXT_BYTES_MAX / 2));
    texts.push("x".repeat(TEXT_BYTES_MAX));
    let mut records = vec![];
    for one in &texts {
        let changes = Changes::new().set("note", one.as_str());
        let is_element = !one.is_empty() && one.len() <= SET_ELEMENT_BYTES_MAX;
        records.push(creates(&device, if is_element { changes.add("tags", one) } else { changes }).await);
    }
    let device = device.reopen().await;
    for one in [&device, &reader] {
        one.connect(world.address()).await;
        one.sync().await;
    }
    assert!(device.outbox().await.is_empty(), "the server accepts every one of them");
    for (record, one) in records.iter().zip(&texts) {
        for here in [&device, &reader] {
            let row = here.row(*record).await;
            assert_eq!(row.fields["note"], text(one));
            let elements = row.fields.get("tags").cloned();
            assert!(elements.is_none_or(|tags| tags == Value::Set([one.clone()].into())), "{one:?}");
        }
    }
    world.agrees_with(&[&device, &reader]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_date_and_byte_is_kept_exactly_here_and_on_another_device() {
    let world = World::start().await;
    let (device, reader) = (world.mentor("ola").await, world.mentor("kari").await);
    let mut said: Vec<(&str, Value)> =
        vec![("raw", Value::Bytes((0..=255).collect())), ("raw", Value::Bytes(vec![]))];
    let integers = [i64::MIN, i64::MIN + 1, -1, 0, 1, (1 << 53) + 1, i64::MAX];
    said.extend(integers.map(|number| ("size", Value::Integer(number))));
    let floats = [f64::MIN, f64::MAX, f64::MIN_POSITIVE, 5e-324, -0.0, 0.1 + 0.2, 1e23];
    said.extend(floats.map(|number| ("share", Value::Float(number))));
    let decimals =
        ["0", "-0", "0.00", "1.50", "-123456789012345678901234567890.000", "0.1000000000000000055"];
    said.extend(decimals.map(|number| ("km", decimal(number))));
    said.extend(["2024-02-29", "1970-01-01", "0001-01-01", "9999-12-31"].map(|date| ("day", day(date))));
    let instants = [-1, 0, 1, 253_402_300_799_999, -62_135_596_800_000];
    said.extend(instants.map(|at| ("at", Value::Instant(UnixMillis(at)))));
    let mut records = vec![];
    for (field, value) in &said {
        records.push(creates(&device, Changes::new().set(field, value.clone())).await);
    }
    let stepped = creates(&device, Changes::new().increment("calls", 1 << 31)).await;
    let down = Changes::new().increment("calls", -(1 << 31));
    device.edit("activity", stepped, down).await;
    for one in [&device, &reader] {
        one.connect(world.address()).await;
        one.sync().await;
    }
    assert!(device.outbox().await.is_empty(), "the server accepts every one of them");
    for (record, (field, value)) in records.iter().zip(&said) {
        for here in [&device, &reader] {
            let shown = here.row(*record).await.fields[*field].clone();
            // The debug form tells -0.0 from 0.0, which equality does not.
            assert_eq!(format!("{shown:?}"), format!("{value:?}"));
        }
    }
    assert_eq!(reader.row(stepped).await.fields["calls"], Value::Counter(0));
    world.agrees_with(&[&device, &reader]).await;
}
