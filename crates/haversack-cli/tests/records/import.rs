//! `haversack import`.

use serde_json::Value as Json;

use super::place::{Place, text};

const CSV: &str = "number,name,minutes,calls,tags\n\
    17,Kari Nordmann,45,2,tur;kafé\n\
    18,Ola Nordmann,9999,,\n\
    19,,30,,\n\
    20,Åse Øye,,,\n";

fn count(place: &Place) -> usize {
    place.json("kari", &["list", "contact", "--with-deleted"]).as_array().expect("a list").len()
}

/// Exit code and summary.
fn import(place: &Place, words: &[&str]) -> (Option<i32>, Json) {
    let output = place.run("kari", &[&["import"], words, &["--json"]].concat());
    let summary =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    (output.status.code(), summary)
}

fn counts(summary: &Json) -> [u64; 3] {
    ["created", "already_there", "refused"].map(|name| summary[name].as_u64().expect("a count"))
}

#[test]
fn bad_lines_are_named_by_number_and_field_and_the_rest_is_imported_once_however_often() {
    let place = Place::new();
    place.write("contacts.csv", CSV);
    let words = ["contact", "contacts.csv", "--key", "number"];
    let (exit, tried) = import(&place, &[&words[..], &["--dry-run"]].concat());
    assert_eq!((exit, counts(&tried)), (Some(9), [2, 0, 2]));
    assert_eq!(count(&place), 0, "a dry run stores nothing");

    let (exit, summary) = import(&place, &words);
    assert_eq!((exit, counts(&summary)), (Some(9), [2, 0, 2]));
    let named = |at: usize| {
        (
            &summary["refusals"][at]["line"],
            &summary["refusals"][at]["field"],
            &summary["refusals"][at]["code"],
        )
    };
    assert_eq!(named(0), (&3.into(), &"minutes".into(), &"value".into()));
    assert_eq!(named(1), (&4.into(), &"name".into(), &"required".into()));
    assert!(!summary.to_string().contains("9999"), "never the value");
    let listed = place.json("kari", &["list", "contact", "--where", "minutes=45"]);
    let fields = &listed[0]["fields"];
    assert_eq!((&fields["calls"], &fields["tags"]), (&2.into(), &serde_json::json!(["kafé", "tur"])));

    place.write("contacts.csv", &CSV.replace("9999", "50"));
    let (exit, summary) = import(&place, &words);
    assert_eq!((exit, counts(&summary)), (Some(9), [1, 2, 1]), "the corrected line alone is new");
    assert_eq!(count(&place), 3);
    let output = place.run("kari", &[&["import"], &words[..]].concat());
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(text(&output.stdout), "0 created, 3 there already, 1 refused\n");
    assert!(text(&output.stderr).starts_with("line 4: "), "{}", text(&output.stderr));
}

#[test]
fn a_line_without_a_key_is_known_by_all_it_says_and_equal_lines_by_their_number() {
    let place = Place::new();
    let lines =
        "{\"name\":\"Kari\",\"minutes\":45}\n{\"minutes\":45,\"name\":\"Kari\"}\n{\"name\":\"Ola\"}\n";
    place.write("new.jsonl", lines);
    assert_eq!(import(&place, &["contact", "new.jsonl"]).0, Some(0));
    assert_eq!(count(&place), 3);
    place.write("new.jsonl", &["{\"name\":\"Siv\"}\n", lines].concat());
    assert_eq!(counts(&import(&place, &["contact", "new.jsonl"]).1), [1, 3, 0], "lines may move");
    place.write("renamed.jsonl", lines);
    assert_eq!(counts(&import(&place, &["contact", "renamed.jsonl", "--name", "new.jsonl"]).1), [0, 3, 0]);
    assert_eq!(counts(&import(&place, &["contact", "renamed.jsonl"]).1), [3, 0, 0], "another import");
}

#[test]
fn what_was_deleted_or_refused_is_not_made_a_second_time() {
    let place = Place::new();
    let serving = place.serve();
    place.write("new.csv", "name,minutes\nKari,45\nOla,900\n");
    assert_eq!(import(&place, &["contact", "new.csv"]).0, Some(0));
    place.sync(&serving, &["kari"]);
    assert_eq!(count(&place), 1, "a rule refused one of them, and it alone");
    place.says("kari", &["delete", "CON-000001"]);
    assert_eq!(counts(&import(&place, &["contact", "new.csv"]).1), [0, 2, 0]);
}

#[test]
fn two_lines_of_one_key_are_no_one_record_and_a_line_without_its_key_is_none() {
    let place = Place::new();
    place.write("new.csv", "number,name\n1,Kari\n1,Ola\n,Siv\n");
    let (exit, summary) = import(&place, &["contact", "new.csv", "--key", "number"]);
    assert_eq!((exit, counts(&summary)), (Some(9), [1, 0, 2]));
    let codes: Vec<_> = (0..2).map(|at| summary["refusals"][at]["code"].clone()).collect();
    assert_eq!(codes, ["same-key", "no-key"]);
}

#[test]
fn a_column_nobody_knows_refuses_the_file_and_a_file_of_nothing_good_is_refused_wholly() {
    let place = Place::new();
    place.write("new.csv", "name,hobby\nKari,fiske\n");
    let output = place.run("kari", &["import", "contact", "new.csv", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("unknown-field"));
    place.write("bad.jsonl", "{\"hobby\":\"fiske\"}\nnothing\n");
    let (exit, summary) = import(&place, &["contact", "bad.jsonl"]);
    assert_eq!((exit, counts(&summary)), (Some(3), [0, 0, 2]));
    assert!(!summary.to_string().contains("fiske"));
}

#[test]
fn many_lines_are_imported_in_batches_one_verdict_each() {
    let place = Place::new();
    let lines: String = (0..300).map(|n| format!("{{\"name\":\"Person {n}\"}}\n")).collect();
    place.write("many.jsonl", &lines.replace("\"Person 150\"", "7"));
    let (exit, summary) = import(&place, &["contact", "many.jsonl"]);
    assert_eq!((exit, counts(&summary)), (Some(9), [299, 0, 1]));
    assert_eq!(summary["refusals"][0]["line"], 151);
    assert_eq!(place.json("kari", &["inspect"])["pending"], 299);
}
