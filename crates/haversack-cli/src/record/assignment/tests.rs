//! Assignments as people type them.

use haversack::Schema;

use super::*;
use crate::exit::Exit;

fn schema() -> Schema {
    let text = r#"{ "version": 1, "collections": { "visit": { "fields": {
        "note": { "kind": "text", "sensitive": true }, "minutes": { "kind": "integer" },
        "hours": { "kind": "float" }, "met": { "kind": "boolean" }, "at": { "kind": "instant" },
        "day": { "kind": "date" }, "paid": { "kind": "decimal" }, "mark": { "kind": "bytes" },
        "after": { "kind": "reference", "target": "visit" }, "calls": { "kind": "counter" },
        "tags": { "kind": "set" } } } } }"#;
    Schema::from_json(text).expect("a schema")
}

fn read_as(assignments: &[&str], is_new: bool) -> Result<Changes, Failure> {
    let schema = schema();
    let assignments: Vec<_> = assignments.iter().map(ToString::to_string).collect();
    changes(("visit", &schema.collections["visit"]), &assignments, is_new)
}

#[test]
fn every_kind_is_read_from_its_text() {
    let record: haversack::RecordId = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
    let read = read_as(
        &[
            "note=Gikk tur = fin dag",
            "minutes=-45",
            "hours=1.5",
            "met=true",
            "at=1970-01-01T01:00:00+01:00",
            "day=2026-09-14",
            "paid=12.50",
            "mark=AQI=",
            "after=0198c0de-0000-7000-8000-000000000001",
        ],
        true,
    );
    let expected = Changes::new()
        .set("note", "Gikk tur = fin dag")
        .set("minutes", -45_i64)
        .set("hours", 1.5)
        .set("met", true)
        .set("at", haversack::UnixMillis(0))
        .set("day", Value::Date("2026-09-14".into()))
        .set("paid", Value::Decimal("12.50".into()))
        .set("mark", vec![1_u8, 2])
        .set("after", record);
    assert_eq!(read.unwrap(), expected);
}

#[test]
fn sets_counters_and_clearing_have_their_own_signs() {
    let read = read_as(&["+tags=tur", "tags-=kafé", "calls+=2", "note="], false).unwrap();
    let expected =
        Changes::new().add("tags", "tur").remove("tags", "kafé").increment("calls", 2).clear("note");
    assert_eq!(read, expected);
    assert_eq!(read_as(&["calls-=2"], false).unwrap(), Changes::new().increment("calls", -2));
}

#[test]
fn a_new_record_fills_sets_and_counters_and_an_edit_steps_them() {
    let filled = Changes::new().add("tags", "tur").increment("calls", 3);
    assert_eq!(read_as(&["tags=tur", "calls=3"], true).unwrap(), filled);
    assert!(matches!(read_as(&["tags=tur"], false), Err(Failure::NotPut(field)) if field == "tags"));
    let refused = read_as(&["+minutes=1"], false).unwrap_err();
    assert!(refused.to_string().starts_with("visit.minutes:"), "{refused}");
}

#[test]
fn a_refusal_names_the_field_and_never_the_value() {
    for (assignment, field) in [
        ("minutes=mange", "visit.minutes"),
        ("hours=inf", "visit.hours"),
        ("met=ja", "visit.met"),
        ("at=hemmelig", "visit.at"),
        ("mark=hemmelig!", "visit.mark"),
        ("after=hem melig", "visit.after"),
    ] {
        let refused = read_as(&[assignment], true).unwrap_err();
        let (_, value) = assignment.split_once('=').unwrap();
        assert!(refused.to_string().starts_with(field), "{refused}");
        assert!(!refused.to_string().contains(value), "{refused}");
        assert_eq!(refused.exit(), Exit::Refused);
    }
    let unknown = read_as(&["nothing=hemmelig"], true).unwrap_err();
    assert_eq!(unknown.to_string(), r#"collection "visit" has no field "nothing""#);
}

#[test]
fn other_forms_are_usage_errors() {
    for bad in ["note", "=x", "+=x", "++tags=x", "No te=x", "-=x", "--note=x"] {
        assert_eq!(read_as(&[bad], true).unwrap_err().exit(), Exit::Usage, "{bad}");
    }
}

#[test]
fn values_may_come_from_files_and_two_signs_are_one_of_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("note.txt");
    let from_file = |field: &str| format!("{field}=@{}", path.display());
    std::fs::write(&path, "12\n").unwrap();
    let read = read_as(&[&from_file("note"), &from_file("minutes"), &from_file("mark")], true).unwrap();
    let expected = Changes::new().set("note", "12\n").set("minutes", 12_i64).set("mark", b"12\n".to_vec());
    assert_eq!(read, expected);
    assert_eq!(read_as(&["note=@@kari"], true).unwrap(), Changes::new().set("note", "@kari"));

    std::fs::write(&path, vec![b'x'; TEXT_BYTES_MAX + 1]).unwrap();
    assert!(read_as(&[&from_file("note")], true).unwrap_err().to_string().contains("longer than"));
    assert!(matches!(read_as(&["note=@/nowhere/at/all"], true), Err(Failure::File { .. })));
}

#[test]
fn removals_are_told_from_options_after_create_and_edit_only() {
    let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
    let line = "haversack edit ACT-1 -tags=tur --json -h minutes=-4";
    assert_eq!(with_removals(words(line)), words("haversack edit ACT-1 tags-=tur --json -h minutes=-4"));
    let other = "haversack list visit --sort -at=x";
    assert_eq!(with_removals(words(other)), words(other));
}
