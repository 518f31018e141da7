//! `haversack export`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use haversack::{HostKey, Schema, Store, StoreKey, UnixMillis};
use serde_json::Value as Json;

use super::place::{Place, lines, text};

/// Whether a number stands in it as a value; ids and times of chance may hold its digits.
fn holds(told: &Json, number: i64) -> bool {
    match told {
        Json::Array(items) => items.iter().any(|item| holds(item, number)),
        Json::Object(fields) => fields.values().any(|value| holds(value, number)),
        value => value.as_i64() == Some(number),
    }
}

fn of_kind<'l>(lines: &'l [Json], kind: &str) -> Vec<&'l Json> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

#[test]
fn an_export_holds_every_record_and_says_what_is_kept_back() {
    let place = Place::new();
    let kari = place.create("kari", &["contact", "name=Kari", "phone=01210287", "minutes=45"]);
    let gone = place.create("kari", &["contact", "name=Ola"]);
    place.says("kari", &["delete", &gone]);
    let output = place.run("kari", &["export"]);
    let told = lines(&text(&output.stdout));
    assert_eq!(told[0]["kind"], "export");
    let records = of_kind(&told, "record");
    assert_eq!((records[0]["record"].as_str(), records.len()), (Some(kari.as_str()), 2));
    assert_eq!(records[0]["fields"]["minutes"], 45);
    assert_eq!(records[0]["sensitive_hidden"], serde_json::json!(["phone"]));
    assert_eq!(records[1]["is_deleted"], true);
    let end = told.last().expect("a line");
    assert_eq!((&end["records"], &end["sensitive_hidden"]), (&2.into(), &1.into()));
    assert_eq!(end["is_complete"], false);
    assert!(!text(&output.stdout).contains("01210287"));
    assert!(text(&output.stderr).contains("--show-sensitive"), "{}", text(&output.stderr));

    let told = place.lines("kari", &["export", "--show-sensitive", "--history"]);
    let record = of_kind(&told, "record")[0];
    assert_eq!(record["fields"]["phone"], "01210287");
    let fields: BTreeSet<_> =
        record["history"].as_array().expect("told").iter().map(|one| one["field"].as_str()).collect();
    assert_eq!(fields, ["minutes", "name", "phone"].map(Some).into());
    assert_eq!(told.last().expect("a line")["is_complete"], true);
}

#[test]
fn an_export_names_fields_the_schema_does_not_have_and_is_not_complete() {
    let place = Place::new();
    let serving = place.serve();
    place.create("kari", &["contact", "name=Kari", "minutes=45"]);
    place.sync(&serving, &["kari"]);
    place.create("kari", &["contact", "name=Ola", "minutes=46"]);
    let whole = place.lines("kari", &["export"]);
    assert_eq!(whole.last().expect("a line")["is_complete"], true);
    let schema = fs::read_to_string(place.path("schema.json")).expect("there");
    let smaller = schema.replace("\"minutes\":", "\"hours\":").replace("\"version\": 1", "\"version\": 2");
    place.write("schema.json", &smaller);
    let output = place.run("kari", &["export"]);
    let told = lines(&text(&output.stdout));
    for record in of_kind(&told, "record") {
        assert_eq!(record["fields_without_schema"], serde_json::json!(["minutes"]));
        assert_eq!(record["fields"]["minutes"], Json::Null);
    }
    let end = told.last().expect("a line");
    assert_eq!((&end["fields_without_schema"], &end["is_complete"]), (&2.into(), &false.into()));
    assert!(text(&output.stderr).contains("2 fields of records"), "{}", text(&output.stderr));
}

#[test]
fn an_export_counts_the_records_that_were_let_go_and_is_not_complete() {
    let place = Place::new();
    let schema = fs::read_to_string(place.path("schema.json")).expect("there");
    let schema = schema.replace(
        "\"contact\": { \"server_id_prefix\"",
        "\"contact\": { \"keep_days\": 30, \"server_id_prefix\"",
    );
    place.write("schema.json", &schema);
    let serving = place.serve();
    place.create("kari", &["contact", "name=Kari"]);
    place.create("kari", &["visit", "day=2026-09-14"]);
    place.sync(&serving, &["kari"]);
    place.create("kari", &["contact", "name=Ola"]);
    let key = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef].repeat(4);
    let key = HostKey::new(StoreKey::from_bytes(key.try_into().expect("32 bytes")));
    let schema = Arc::new(Schema::from_json(&schema).expect("sound"));
    let store = Store::open(&place.path("kari"), schema, &key).expect("opened");
    store.let_go_aged(UnixMillis(i64::MAX)).expect("let go");
    store.close().expect("closed");

    let output = place.run("kari", &["export"]);
    let told = lines(&text(&output.stdout));
    assert_eq!(of_kind(&told, "record").len(), 2, "the visit, and the contact that waits");
    let end = told.last().expect("a line");
    assert_eq!((&end["records_let_go"], &end["is_complete"]), (&1.into(), &false.into()));
    assert!(
        text(&output.stderr).contains("1 records are kept by the server alone"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_subject_s_export_holds_all_that_refers_to_it_with_refused_edits_and_nobody_else() {
    let place = Place::new();
    let serving = place.serve();
    place.create("kari", &["contact", "name=Kari Subjekt", "phone=01210287"]);
    place.create("kari", &["contact", "name=Per Annen", "phone=01210299"]);
    place.sync(&serving, &["kari"]);
    place.says("kari", &["edit", "CON-000001", "friend=CON-000002"]);
    place.create("kari", &["contact", "name=Lise Venn", "friend=CON-000001"]);
    place.create("kari", &["visit", "contact=CON-000001", "note=besøk hos subjektet"]);
    place.create("kari", &["visit", "contact=CON-000002", "note=besøk hos den andre"]);
    place.sync(&serving, &["kari"]);
    // Refused by a rule: one edit of the subject's, one of the other one's.
    place.says("kari", &["edit", "CON-000001", "minutes=901", "phone=01210288"]);
    place.says("kari", &["edit", "CON-000002", "minutes=902"]);
    // Two that never came to be: a friend of the subject's whom a rule refused, and a visit that fell with her.
    let friend = place.create("kari", &["contact", "name=Eva Avvist", "minutes=903", "friend=CON-000001"]);
    place.create("kari", &["visit", &format!("contact={friend}"), "note=besøk som falt"]);
    place.sync(&serving, &["kari"]);

    let output = place.run("kari", &["export", "--subject", "CON-000001", "--show-sensitive"]);
    let said = text(&output.stdout);
    let told = lines(&said);
    let names: Vec<_> = of_kind(&told, "record").iter().map(|line| line["server_id"].clone()).collect();
    let visits =
        names.iter().filter(|name| name.as_str().is_some_and(|name| name.starts_with("VIS"))).count();
    assert_eq!((names.len(), visits), (3, 1), "{names:?}");
    assert!(of_kind(&told, "record").iter().all(|line| line["history"].is_array()));
    let refused = of_kind(&told, "outbox");
    assert_eq!(refused.len(), 3);
    assert_eq!(refused[0]["rejection"]["rule"], "minutes-within-a-day");
    assert!(
        ["01210288", "Eva Avvist", "besøk som falt"].iter().all(|input| said.contains(input)),
        "the refused input is the subject's"
    );
    for other in ["Per Annen", "01210299", "den andre"] {
        assert!(!said.contains(other), "{other} is somebody else's");
    }
    let numbers = [901, 902, 903].map(|number| told.iter().any(|line| holds(line, number)));
    assert_eq!(numbers, [true, false, true], "902 is somebody else's");
    assert!(said.contains("CON-000002"), "who is referred to appears by id");
    assert_eq!(told.last().expect("a line")["is_complete"], true);
    let kept_back = place.says("kari", &["export", "--subject", "CON-000001"]);
    assert!(!kept_back.contains("0121028") && !kept_back.contains("besøk"), "{kept_back}");
}

#[test]
fn an_export_file_is_whole_or_not_there_and_its_owner_s_alone() {
    let place = Place::new();
    place.create("kari", &["contact", "name=Kari"]);
    let told = place.json("kari", &["export", "--output", "all.jsonl"]);
    assert_eq!(told["records"], 1);
    let whole = fs::read_to_string(place.path("all.jsonl")).expect("there");
    assert_eq!(lines(&whole).last().expect("a line")["kind"], "end");
    let mode = fs::metadata(place.path("all.jsonl")).expect("there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "nobody else reads it");

    fs::create_dir(place.path("taken")).expect("created");
    let refused = place.run("kari", &["export", "--output", "taken", "--json"]);
    assert_eq!(refused.status.code(), Some(1));
    let left: Vec<_> = fs::read_dir(place.path("."))
        .expect("listed")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".haversack")), "{left:?}");
}
