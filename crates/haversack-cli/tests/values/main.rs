//! One table of values at the edges, every kind of field: each comes back exact wherever it can be read, or is refused at
//! the edit, typed.

#![cfg(unix)]

mod beneath;
mod command;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use haversack::{
    Changes, EditRefusal, ErrorKind, Query, RecordId, Reference, Schema, SchemaRefusal, StoredRecord, Value,
    value_to_json,
};
use haversack_testing::{Device, Rules, TestServer};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use command::Command;
use table::{Edge, LIKE_OURS, NO_NAMES, SCHEMA, kept, refused, said};

/// Longer than any listing of the table.
const ALL: u32 = 10_000;
/// What edits write beside the values.
const BESIDE: [&str; 2] = ["typed and refused", "kept"];

/// A record that holds a value of the table, by its number.
struct Held {
    record: RecordId,
    edge: Edge,
}

async fn server() -> TestServer {
    let schema = Schema::from_json(SCHEMA).expect("a sound schema");
    TestServer::start(schema, Rules::default()).await.expect("started")
}

/// Changes that bring a value into a field, one step at a time.
fn steps(edge: &Edge) -> Vec<Changes> {
    match edge.value {
        Value::Counter(sum) if sum.unsigned_abs() > 1 << 31 => {
            vec![
                Changes::new().increment(edge.field, sum / 2),
                Changes::new().increment(edge.field, sum - sum / 2),
            ]
        }
        _ => vec![Changes::new().put(edge.field, edge.value.clone())],
    }
}

/// Creates a record for every value of the table, and two for references by a temporary id and by a server id.
async fn create_all(author: &Device) -> Vec<Held> {
    let name = Changes::new().set("name", "Kari");
    let friend = author.store.collection("friend").create(name).await.expect("stored");
    let by_temporary_id = Value::Reference(Reference::Record(friend));
    let mut edges = kept();
    edges.push(Edge::of("friend", by_temporary_id));
    let edge_records = author.store.collection("edge");
    let mut held = vec![];
    for edge in edges {
        let number = Changes::new().set("number", i64::try_from(held.len()).expect("few"));
        let record = edge_records.create(number).await.expect("stored");
        for changes in steps(&edge) {
            let done = edge_records.edit(record, changes).await;
            done.unwrap_or_else(|error| panic!("{edge:?} is refused: {error}"));
        }
        held.push(Held { record, edge });
    }
    held
}

/// Asserts that every value is where it was put, exact, in each view a device offers.
async fn shows_all(device: &Device, held: &[Held], when: &str) {
    let listed = device.store.list(Query::of("edge").page(ALL, 0)).await.expect("listed");
    let listed: BTreeMap<RecordId, StoredRecord> =
        listed.into_iter().map(|found| (found.record, found)).collect();
    for Held { record, edge } in held {
        let got = device.store.get(*record).await.expect("read").expect("here");
        for (view, found) in [("get", &got), ("list", &listed[record])] {
            let shown = found.row.fields.get(edge.field);
            assert!(shown == Some(&edge.value), "{when}, {view}: {shown:?} is not {edge:?}");
        }
        is_typed(device, *record, edge, when).await;
    }
    for (field, records) in indexed(held) {
        for (record, value) in &records {
            let equal = Query::of("edge").equal(field, (*value).clone()).page(ALL, 0);
            let found = device.store.list(equal).await.expect("indexed");
            let found: BTreeSet<_> = found.into_iter().map(|found| found.record).collect();
            assert!(found.contains(record), "{when}: {field} {value:?} is not found by its value");
            // Decimals are compared as doubles.
            if field != "decimal" {
                let same =
                    records.iter().filter(|(_, other)| is_found_by(other, value)).map(|(record, _)| *record);
                assert_eq!(found, same.collect(), "{when}: what is found by {field} {value:?}");
            }
        }
    }
}

/// Says whether a query for `sought` finds a value: floats are compared as numbers.
fn is_found_by(value: &Value, sought: &Value) -> bool {
    match (value, sought) {
        (Value::Float(one), Value::Float(other)) => one == other,
        (one, other) => one == other,
    }
}

/// Records and values by indexed field.
fn indexed(held: &[Held]) -> BTreeMap<&'static str, Vec<(RecordId, &Value)>> {
    let fields = ["text", "integer", "float", "boolean", "instant", "date", "decimal", "calls", "friend"];
    let of = |field| {
        let held = held.iter().filter(move |held| held.edge.field == field);
        held.map(|held| (held.record, &held.edge.value)).collect()
    };
    fields.into_iter().map(|field| (field, of(field))).collect()
}

/// A record as a type of an app.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Typed {
    text: Option<String>,
    short: Option<String>,
    integer: Option<i64>,
    few: Option<i64>,
    float: Option<f64>,
    boolean: Option<bool>,
    instant: Option<i64>,
    date: Option<String>,
    decimal: Option<String>,
    raw: Option<Vec<u8>>,
    #[serde(default)]
    tags: BTreeSet<String>,
    calls: Option<i64>,
    friend: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, Json>,
}

impl Typed {
    /// The value of a field, as the schema's kind.
    fn value(&self, edge: &Edge) -> Option<Value> {
        Some(match edge.value {
            Value::Text(_) if edge.field == "text" => Value::Text(self.text.clone()?),
            Value::Text(_) if edge.field == "short" => Value::Text(self.short.clone()?),
            Value::Text(_) => Value::Text(self.others.get(edge.field)?.as_str()?.to_owned()),
            Value::Integer(_) if edge.field == "few" => Value::Integer(self.few?),
            Value::Integer(_) => Value::Integer(self.integer?),
            Value::Float(_) => Value::Float(self.float?),
            Value::Boolean(_) => Value::Boolean(self.boolean?),
            Value::Instant(_) => Value::Instant(haversack::UnixMillis(self.instant?)),
            Value::Date(_) => Value::Date(self.date.clone()?),
            Value::Decimal(_) => Value::Decimal(self.decimal.clone()?),
            Value::Bytes(_) => Value::Bytes(self.raw.clone()?),
            Value::Reference(_) => Value::Reference(Reference::parse(self.friend.as_deref()?)?),
            Value::Counter(_) => Value::Counter(self.calls?),
            Value::Set(_) => Value::Set(self.tags.clone()),
        })
    }
}

async fn is_typed(device: &Device, record: RecordId, edge: &Edge, when: &str) {
    let found = device.store.collection("edge").get_as::<Typed>(record).await.expect("fits").expect("here");
    let value = found.value.value(edge);
    assert!(value.as_ref() == Some(&edge.value), "{when}, typed: {value:?} is not {edge:?}");
}

/// Writes each record anew from its type, and takes the copies away again.
async fn survives_its_type(device: &Device, held: &[Held]) {
    let edges = device.store.collection("edge");
    for Held { record, edge } in held {
        let is_one_step = !matches!(edge.value, Value::Counter(sum) if sum.unsigned_abs() > 1 << 31);
        let typed = edges.get_as::<Typed>(*record).await.expect("fits").expect("here").value;
        let copy = edges.create_from(&typed).await;
        assert_eq!(copy.is_ok(), is_one_step, "{edge:?}: {copy:?}");
        let Ok(copy) = copy else { continue };
        let shown = edges.get(copy).await.expect("read").expect("here");
        assert!(shown.row.fields.get(edge.field) == Some(&edge.value), "{edge:?} by its type");
        edges.delete(copy).await.expect("stored");
    }
    device.deliver().await.expect("delivered");
}

/// Edits a field beside every value: first such that each is refused and rolled back, then by another phone for good.
async fn edit_beside(author: &Device, other: &Device, held: &[Held]) {
    let [refused, kept] = BESIDE;
    author.go_offline().expect("open");
    for Held { record, .. } in held {
        author.gate().refuse_next_by_rule("beside", "beside.closed");
        let changes = Changes::new().set("beside", refused);
        author.store.collection("edge").edit(*record, changes).await.expect("stored");
    }
    shows_all(author, held, "beside a pending edit").await;
    author.go_online().await.expect("open");
    author.deliver().await.expect("delivered");
    let entries = author.refused().await.expect("listed");
    assert_eq!(entries.len(), held.len(), "all were refused");
    shows_all(author, held, "after the rollback").await;
    for refused in entries {
        author.store.outbox().discard(refused.entry.change_set.id).await.expect("refused");
    }
    for Held { record, .. } in held {
        let changes = Changes::new().set("beside", kept);
        other.store.collection("edge").edit(*record, changes).await.expect("stored");
    }
    other.deliver().await.expect("delivered");
    author.deliver().await.expect("delivered");
    shows_all(author, held, "after somebody's edit beside").await;
}

/// What a record's fields are in the exported lines, by record.
fn exported(lines: &[Json]) -> BTreeMap<RecordId, Json> {
    let records = lines.iter().filter(|line| line["kind"] == "record" && line["collection"] == "edge");
    let live = records.filter(|line| line["is_deleted"] == false);
    live.map(|line| {
        (line["record"].as_str().and_then(|id| id.parse().ok()).expect("an id"), line["fields"].clone())
    })
    .collect()
}

/// Asserts that the command says every value exactly; returns what it exports of each record.
fn commands_show_all(command: &Command, held: &[Held]) -> Vec<Json> {
    let exported = exported(&command.lines(&["export"]));
    assert_eq!(exported.len(), held.len());
    for Held { record, edge } in held {
        let expected = value_to_json(&edge.value).to_string();
        assert_eq!(exported[record][edge.field].to_string(), expected, "exported: {edge:?}");
        let got = command.json(&["get", &record.to_string()]);
        assert_eq!(got["fields"][edge.field].to_string(), expected, "get --json: {edge:?}");
    }
    held.iter().map(|held| exported[&held.record].clone()).collect()
}

/// Imports lines and returns the record of each by its number, and the refusals.
fn import(command: &Command, lines: &str) -> Json {
    command.write("lines.jsonl", lines);
    let path = command.path("lines.jsonl");
    command.told(&["import", "edge", path.to_str().expect("plain"), "--key", "number", "--json"])
}

/// Records that `device` shows and that are none of these, by number.
async fn new_by_number(device: &Device, known: &BTreeSet<RecordId>) -> BTreeMap<i64, StoredRecord> {
    let listed = device.store.list(Query::of("edge").page(ALL, 0)).await.expect("listed");
    let new = listed.into_iter().filter(|found| !known.contains(&found.record));
    let numbered = new.map(|found| match found.row.fields["number"] {
        Value::Integer(number) => (number, found),
        _ => panic!("a number"),
    });
    numbered.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_of_the_table_comes_back_exact_from_everywhere() {
    let server = server().await;
    let (ola, kari) =
        (server.mentor("ola").await.expect("a device"), server.mentor("kari").await.expect("a device"));
    kari.go_online().await.expect("open");
    kari.deliver().await.expect("delivered");
    let mut held = create_all(&ola).await;
    shows_all(&ola, &held, "as written").await;
    ola.go_online().await.expect("open");
    for device in [&ola, &kari] {
        device.deliver().await.expect("delivered");
        assert!(
            device.store.outbox().list().await.expect("listed").is_empty(),
            "the server accepts every one"
        );
    }
    for Held { edge, .. } in &mut held {
        if let Value::Reference(Reference::Record(friend)) = edge.value {
            let found = ola.store.get(friend).await.expect("read").expect("here");
            edge.value = Value::Reference(Reference::Server(found.server_id.expect("assigned")));
        }
    }
    server.expect_agreement(&[&ola, &kari]).await;
    shows_all(&ola, &held, "once accepted").await;
    shows_all(&kari, &held, "on another phone").await;
    survives_its_type(&ola, &held).await;
    edit_beside(&ola, &kari, &held).await;
    let per = server.mentor("per").await.expect("a device");
    per.go_online().await.expect("open");
    for device in [&per, &kari] {
        device.deliver().await.expect("delivered");
        shows_all(device, &held, "on a phone that read everything").await;
    }
    server.expect_agreement(&[&ola, &kari, &per]).await;

    ola.store.clone().close().await.expect("closed");
    let lines = commands_show_all(&Command::on(&ola), &held);
    per.store.clone().close().await.expect("closed");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let summary = import(&Command::on(&per), &text);
    let per = per.reopen().await.expect("still there");
    let known = held.iter().map(|held| held.record).collect();
    let imported = new_by_number(&per, &known).await;
    let mut refusals = BTreeSet::new();
    for (number, Held { edge, .. }) in held.iter().enumerate() {
        if let Some(found) = imported.get(&i64::try_from(number).expect("few")) {
            let shown = found.row.fields.get(edge.field);
            assert!(shown == Some(&edge.value), "imported: {shown:?} is not {edge:?}");
        } else {
            assert!(matches!(edge.value, Value::Counter(_)), "{edge:?} was not imported");
            refusals.insert(number as u64 + 1);
        }
    }
    let told = summary["refusals"].as_array().expect("listed");
    assert_eq!(told.iter().filter_map(|one| one["line"].as_u64()).collect::<BTreeSet<_>>(), refusals);
    assert_eq!(refusals.len(), 1, "a sum of several steps is no step");
    per.go_online().await.expect("open");
    per.deliver().await.expect("delivered");
    assert!(per.store.outbox().list().await.expect("listed").is_empty(), "the server accepts every one");
    server.expect_agreement(&[&per]).await;
}

/// Says whether a message holds a value that could not be there by chance.
fn says(message: &str, value: &Value) -> bool {
    match value {
        Value::Text(text) | Value::Date(text) | Value::Decimal(text) => {
            text.len() > 3 && message.contains(text)
        }
        Value::Set(elements) => elements.iter().any(|element| element.len() > 3 && message.contains(element)),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_value_is_refused_at_the_edit_by_its_reason_and_nothing_of_it_is_stored() {
    let server = server().await;
    let ola = server.mentor("ola").await.expect("a device");
    let edges = ola.store.collection("edge");
    let record = edges.create(Changes::new().set("beside", "stays")).await.expect("stored");
    let before = (ola.store.status().await.expect("counted"), ola.store.get(record).await.expect("read"));
    for (field, value, why) in refused() {
        let changes = Changes::new().put(field, value.clone());
        for refused in [
            edges.create(changes.clone()).await.map(drop).expect_err(field),
            edges.edit(record, changes.clone()).await.expect_err(field),
        ] {
            assert_eq!(refused.kind(), ErrorKind::Invalid);
            assert!(!refused.is_retryable() && !refused.is_data_at_risk());
            assert!(!says(&refused.to_string(), &value), "no value in a message: {refused}");
            match refused.edit_refusal() {
                Some(EditRefusal::Value { field: named, source, .. }) => {
                    assert_eq!((named.as_str(), source), (field, &why));
                }
                other => panic!("{field}: {other:?}"),
            }
        }
    }
    let after = (ola.store.status().await.expect("counted"), ola.store.get(record).await.expect("read"));
    assert_eq!(after, before, "nothing was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_text_is_a_value_and_no_value_is_none() {
    let server = server().await;
    let ola = server.mentor("ola").await.expect("a device");
    let edges = ola.store.collection("edge");
    let record = edges.create(Changes::new().set("text", "")).await.expect("stored");
    let shown =
        async || edges.get(record).await.expect("read").expect("here").row.fields.get("text").cloned();
    assert_eq!(shown().await, Some(Value::Text(String::new())));
    let typed = edges.get_as::<Typed>(record).await.expect("fits").expect("here").value;
    assert_eq!((typed.text.as_deref(), typed.short), (Some(""), None));
    edges.edit(record, Changes::new().clear("text")).await.expect("stored");
    assert_eq!(shown().await, None);
    ola.go_online().await.expect("open");
    ola.deliver().await.expect("delivered");
    assert_eq!(shown().await, None);
    server.expect_agreement(&[&ola]).await;
}

#[test]
fn names_like_ours_are_names_and_ours_are_none() {
    let schema = |name: &str| {
        let fields = serde_json::json!({ name: { "kind": "text" } });
        let schema = serde_json::json!({ "version": 1, "collections": { "edge": { "fields": fields } } });
        Schema::from_json(&schema.to_string())
    };
    for name in LIKE_OURS {
        schema(name).expect(name);
    }
    for name in NO_NAMES {
        assert!(matches!(schema(name), Err(SchemaRefusal::Name(refused)) if refused == name), "{name:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_json_says_is_kept_exactly_or_refused_by_its_line() {
    let server = server().await;
    let ola = server.mentor("ola").await.expect("a device");
    ola.store.clone().close().await.expect("closed");
    let table = said();
    let numbered = table.iter().enumerate();
    let lines: String =
        numbered.map(|(number, (said, _))| format!("{{\"number\":{number},{said}}}\n")).collect();
    let summary = import(&Command::on(&ola), &lines);
    let codes: BTreeMap<u64, &str> = summary["refusals"]
        .as_array()
        .expect("listed")
        .iter()
        .map(|one| (one["line"].as_u64().expect("a line") - 1, one["code"].as_str().expect("a code")))
        .collect();
    let ola = ola.reopen().await.expect("still there");
    let kept = new_by_number(&ola, &BTreeSet::new()).await;
    for (number, (said, expected)) in table.iter().enumerate() {
        let found = kept.get(&i64::try_from(number).expect("few"));
        let code = codes.get(&(number as u64)).copied();
        match expected {
            Err(expected) => assert_eq!((code, found.is_some()), (Some(*expected), false), "{said}"),
            Ok(expected) => {
                let found = found.unwrap_or_else(|| panic!("{said} is refused: {code:?}"));
                let field = said.split('"').nth(1).expect("a field");
                let shown = found.row.fields.get(field);
                assert!(shown == Some(expected), "{said}: {shown:?}");
            }
        }
    }
}

/// A value in the words of the command line; nothing for what they have no words for: an empty text, empty bytes.
fn words(edge: &Edge) -> Vec<String> {
    let said = |sign: &str, text: &str| {
        let literal = if text.starts_with('@') { "@" } else { "" };
        (!text.is_empty()).then(|| format!("{sign}{}={literal}{text}", edge.field))
    };
    match (&edge.value, value_to_json(&edge.value)) {
        (Value::Set(elements), _) => elements.iter().filter_map(|element| said("+", element)).collect(),
        (_, Json::String(text)) => said("", &text).into_iter().collect(),
        (_, json) => said("", &json.to_string()).into_iter().collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_of_the_table_is_taken_exactly_from_the_command_line() {
    let server = server().await;
    let ola = server.mentor("ola").await.expect("a device");
    ola.store.clone().close().await.expect("closed");
    let command = Command::on(&ola);
    let friend = command.line(&["create", "friend", "name=Kari"]).parse().expect("an id");
    let mut edges = kept();
    edges.push(Edge::of("friend", Value::Reference(Reference::Record(friend))));
    edges.retain(|edge| !words(edge).is_empty() && steps(edge).len() == 1);
    // The first value of each field makes one record, the second of each the next, and so on.
    let mut rows: Vec<BTreeMap<&str, Edge>> = vec![];
    for edge in edges {
        let free = rows.iter_mut().find(|row| !row.contains_key(edge.field));
        match free {
            Some(row) => drop(row.insert(edge.field, edge)),
            None => rows.push([(edge.field, edge)].into()),
        }
    }
    let mut held = vec![];
    for row in rows {
        let said: Vec<_> = row.values().flat_map(words).collect();
        let said = ["create", "edge"].into_iter().chain(said.iter().map(String::as_str));
        let record = command.line(&said.collect::<Vec<_>>()).parse().expect("an id");
        held.extend(row.into_values().map(|edge| Held { record, edge }));
    }
    let ola = ola.reopen().await.expect("still there");
    for Held { record, edge } in held {
        let found = ola.store.get(record).await.expect("read").expect("here");
        let shown = found.row.fields.get(edge.field);
        assert!(shown == Some(&edge.value), "{shown:?} is not {edge:?}");
    }
}
