//! `haversack history` and `haversack why`.

use serde_json::Value as Json;

use super::place::{Place, Serving, text};

/// A contact both people edited offline, with an override mark and an edit of kari's that waits.
fn disputed() -> (Place, Serving) {
    let place = Place::new();
    let serving = place.serve();
    place.create("kari", &["contact", "name=Kåre Ødegård", "phone=01210287", "minutes=45"]);
    place.sync(&serving, &["kari", "ola"]);
    place.says("kari", &["edit", "CON-000001", "minutes=50"]);
    place.says("ola", &["edit", "CON-000001", "minutes=55"]);
    place.sync(&serving, &["kari", "ola", "kari"]);
    (place, serving)
}

fn summary(writes: &Json) -> Vec<String> {
    let word = |write: &Json, name: &str| write[name].as_str().unwrap_or_default().to_owned();
    let writes = writes.as_array().expect("a list").iter();
    writes
        .map(|write| format!("{} {} {}", word(write, "write"), write["value"], word(write, "standing")))
        .collect()
}

#[test]
fn a_history_tells_every_write_with_author_time_place_and_fate() {
    let (place, serving) = disputed();
    place.says("ola", &["override", "CON-000001", "minutes", "60", "--reason", "dobbeltført"]);
    place.sync(&serving, &["ola", "kari"]);
    place.says("kari", &["edit", "CON-000001", "minutes=65"]);
    let told = place.json("kari", &["history", "CON-000001", "minutes"]);
    let writes = &told["writes"];
    assert_eq!(summary(writes)[0], "set 45 replaced");
    assert_eq!(summary(writes)[3..], ["override 60 shown", "set 65 shadowed"]);
    assert_eq!(writes[3]["reason"], "dobbeltført");
    assert_eq!(writes[3]["principal"], "ola");
    assert!(writes[4]["position"].is_null() && writes[4]["waiting"]["is_sending"] == false);
    for write in &writes.as_array().expect("a list")[..4] {
        assert!(
            write["position"].is_u64() && write["skew_ms"].is_i64() && write["at"].is_string(),
            "{write}"
        );
    }
    let said = place.says("kari", &["history", "CON-000001"]);
    for words in ["replaced by a later write", "waits on this device", "dobbeltført", "log position"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 60), "{said}");
}

#[test]
fn values_of_sensitive_fields_stay_out_of_histories_until_asked_for() {
    let (place, _serving) = disputed();
    place.says("kari", &["edit", "CON-000001", "phone=01210288"]);
    for words in [["history", "CON-000001", "phone"], ["why", "CON-000001", "phone"]] {
        for json in [&[][..], &["--json"]] {
            let said = place.says("kari", &[&words, json].concat());
            assert!(!said.contains("0121028"), "{words:?}: {said}");
            let asked = place.says("kari", &[&words, json, &["--show-sensitive"]].concat());
            assert!(asked.contains("01210288"), "{words:?}: {asked}");
        }
    }
}

#[test]
fn why_tells_of_a_conflict_of_a_mark_and_of_what_waits_on_one_screen() {
    let (place, serving) = disputed();
    let why = |person: &str| place.json(person, &["why", "CON-000001", "minutes"]);
    let told = why("kari");
    assert_eq!(told, why("ola"), "both see the same");
    let candidates = told["candidates"].as_array().expect("a list");
    assert_eq!(candidates.len(), 2);
    assert_eq!(told["value"], candidates[0]["value"]);
    assert_eq!(told["because"], candidates[0]["reason"]);
    assert_eq!(candidates.iter().filter(|one| one["is_shown"] == true).count(), 1);

    // Whichever of the two lost writes once more on what she had seen, while the other goes ahead.
    place.says("kari", &["edit", "CON-000001", "minutes=70"]);
    for _ in 0..3 {
        place.says("ola", &["edit", "CON-000001", "minutes=80"]);
    }
    place.says("ola", &["override", "CON-000001", "minutes", "60", "--reason", "dobbeltført"]);
    assert_eq!(why("kari")["waiting"][0]["waiting"]["will_be_shadowed"], false);
    place.sync(&serving, &["ola"]);
    let said = place.says("kari", &["why", "CON-000001", "minutes"]);
    assert!(said.contains("made after all that had arrived") && said.contains("70"), "{said}");
    place.sync(&serving, &["kari"]);
    let told = why("kari");
    assert_eq!((&told["value"], &told["overridden"]["by"]), (&60.into(), &"ola".into()));
    assert_eq!(told["overridden"]["underlying"], 80);
    let said = place.says("kari", &["why", "CON-000001", "minutes"]);
    for words in ["override mark stands above", "ola (coordinator)", "dobbeltført", "beneath"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let lines: Vec<_> = said.lines().collect();
    assert!(lines.len() <= 24 && lines.iter().all(|line| line.chars().count() <= 60), "{said}");
}

#[test]
fn a_field_the_collection_does_not_have_has_no_history_and_no_why() {
    let place = Place::new();
    let record = place.create("kari", &["contact", "name=Kari"]);
    for verb in ["history", "why"] {
        let output = place.run("kari", &[verb, &record, "hobby", "--json"]);
        assert_eq!(output.status.code(), Some(3), "{verb}");
        assert!(text(&output.stderr).contains("unknown-field"), "{}", text(&output.stderr));
    }
    let told = place.json("kari", &["why", &record, "minutes"]);
    assert_eq!((&told["value"], &told["because"]), (&Json::Null, &"nobody ever wrote it".into()));
}
