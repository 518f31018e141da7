//! The demo as a person or script runs it: the shipped field day, records of one's own, an end in the middle.

#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// No field day: two collections, no integer, no counter, no rule, one free text field.
const BIRDS: &str = r#"{ "version": 1, "collections": {
    "bird": { "fields": {
        "species": { "kind": "text", "required": true, "one_of": ["erne", "havørn", "lomvi"] },
        "weight": { "kind": "float", "min": 0, "max": 20 },
        "ring": { "kind": "bytes", "max_bytes": 64 } } },
    "sighting": { "fields": {
        "bird": { "kind": "reference", "target": "bird", "required": true },
        "place": { "kind": "text", "max_bytes": 80 },
        "distance": { "kind": "float", "min": 0 } } } } }"#;

/// Lines 2, 4, 5 and 6 cannot be used.
const SEEN: &str = r#"{"key":"bird-1","collection":"bird","fields":{"species":"erne","weight":4.25,"ring":"cmluZy1OMTIz"}}
{"key":"bird-2","collection":"bird","fields":{"species":"lomvi","weight":99.5}}
{"key":"see-1","collection":"sighting","fields":{"bird":"bird-1","place":"Røstlandet, nordsiden","distance":120.5}}
{"key":"see-2","collection":"sighting","fields":{"bird":"bird-2","place":"Værøy"}}
nonsense
{"key":"see-3","collection":"sighting","fields":{"bird":"bird-1","place":"Måstad","colour":"grey"}}
{"key":"bird-3","device":"b","collection":"bird","fields":{"species":"havørn","weight":5.5}}
{"key":"see-4","device":"b","collection":"sighting","fields":{"bird":"bird-3","place":"Lovund ved kirka"}}
"#;

/// Longest wait for a process to be gone; a hang is a failure.
const GONE: Duration = Duration::from_secs(60);

/// A folder for the demo's temporary files, its own files beside it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("temporary")).expect("made");
        fs::write(folder.path().join("birds.json"), BIRDS).expect("written");
        fs::write(folder.path().join("seen.jsonl"), SEEN).expect("written");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn demo(&self, words: &[&str]) -> Command {
        let mut demo = Command::new(env!("CARGO_BIN_EXE_haversack"));
        demo.args(["demo", "--json"])
            .args(words)
            .current_dir(self.0.path())
            .env("TMPDIR", self.path("temporary"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        demo
    }

    fn play(&self, words: &[&str]) -> Output {
        self.demo(words).output().expect("the demo runs")
    }

    /// What the demo left behind.
    fn left(&self) -> Vec<String> {
        names(&self.path("temporary"))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a readable folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn summary(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout).expect("one summary object")
}

fn show(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// Asserts that a show can be read in a narrow window and in a file.
fn is_plain(show: &str) {
    assert!(show.contains("HAVERSACK"), "{show}");
    for line in show.lines() {
        assert!(line.chars().count() <= 60, "wider than 60 columns: {line}");
        assert!(!line.contains(['\x1b', '\r']), "an escape sequence: {line:?}");
    }
}

/// Stages that were skipped, each with its reason.
fn skipped(summary: &Json) -> Vec<(&str, &str)> {
    let stages = summary["stages"].as_array().expect("stages").iter();
    stages.filter_map(|stage| Some((stage["stage"].as_str()?, stage["skipped"].as_str()?))).collect()
}

#[test]
fn the_shipped_field_day_comes_out_with_every_stage_played_and_every_proof() {
    let place = Place::new();
    let output = place.play(&["--seed", "7"]);
    let (summary, show) = (summary(&output), show(&output));
    assert_eq!(output.status.code(), Some(0), "{show}");
    for (key, value) in [("ok", json!(true)), ("records", json!(1200)), ("seed", json!(7))] {
        assert_eq!(summary[key], value, "{key} of {summary}");
    }
    assert_eq!((skipped(&summary), &summary["skipped"]), (vec![], &json!(0)));
    assert_eq!(summary["stages"].as_array().map(Vec::len), Some(7));
    assert_eq!((&summary["bad_lines"], &summary["failed_claims"]), (&json!([]), &json!([])));
    let proofs = summary["proofs"].as_array().expect("proofs");
    assert!(proofs.len() == 6 && proofs.iter().all(|proof| proof["holds"] == true), "{proofs:?}");
    is_plain(&show);
    assert!(place.left().is_empty(), "{:?}", place.left());
}

#[test]
fn records_and_schema_of_ones_own_are_played_and_what_they_cannot_carry_is_named() {
    let place = Place::new();
    let output = place.play(&["--records", "seen.jsonl", "--schema", "birds.json"]);
    let (summary, show) = (summary(&output), show(&output));
    assert_eq!(output.status.code(), Some(0), "{show}");
    assert_eq!((&summary["ok"], &summary["records"]), (&json!(true), &json!(4)));
    let bad = summary["bad_lines"].as_array().expect("bad lines").iter();
    let bad: Vec<_> = bad.map(|bad| (bad["line"].as_u64(), bad["field"].as_str())).collect();
    let expected = [(2, Some("weight")), (4, Some("bird")), (5, None), (6, Some("colour"))];
    assert_eq!(bad, expected.map(|(line, field)| (Some(line), field)));
    for named in ["line 2, field weight", "line 4, field bird", "line 5:", "line 6, field colour"] {
        assert!(show.contains(named), "{named} in {show}");
    }
    let expected = [
        ("A phone killed while it saves", "too few records"),
        ("Refused, kept, corrected, accepted", "no integer field with a range rule to break"),
        ("Two phones edit one record", "no collection with three free text fields"),
    ];
    assert_eq!((skipped(&summary), &summary["skipped"]), (expected.to_vec(), &json!(3)));
    assert!(expected.iter().all(|(_, reason)| show.contains(&format!("skipped: {reason}"))), "{show}");
    is_plain(&show);
}

#[test]
fn a_file_without_one_usable_record_names_its_lines_and_fails() {
    let place = Place::new();
    fs::write(place.path("none.jsonl"), "nonsense\n{\"collection\":\"fish\",\"fields\":{}}\n")
        .expect("written");
    let output = place.play(&["--records", "none.jsonl", "--schema", "birds.json"]);
    assert_eq!((output.status.code(), &summary(&output)["ok"]), (Some(1), &json!(false)));
    assert!(show(&output).contains("line 1:") && show(&output).contains("line 2:"), "{}", show(&output));
}

#[test]
fn kept_stores_stay_and_are_never_played_over() {
    let place = Place::new();
    let words = ["--records", "seen.jsonl", "--schema", "birds.json", "--keep", "kept"];
    assert_eq!(place.play(&words).status.code(), Some(0));
    assert_eq!(names(&place.path("kept")), ["phones", "server"]);
    assert_eq!(names(&place.path("kept/phones")), ["coordinator", "mentor-1", "mentor-2"]);
    let server = names(&place.path("kept/server"));
    assert!(server.contains(&"server.db".to_owned()), "{server:?}");
    for phone in names(&place.path("kept/phones")) {
        assert!(!names(&place.path("kept/phones").join(&phone)).is_empty(), "{phone} kept its store");
    }
    let again = place.play(&words);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(summary(&again)["error"], "kept is not empty");
    assert_eq!(names(&place.path("kept/server")), server);
}

/// A running demo, and what it has shown so far.
struct Playing {
    demo: Child,
    show: BufReader<std::process::ChildStderr>,
}

impl Playing {
    /// Starts the shipped field day and waits until it has shown a text.
    fn until(place: &Place, text: &str) -> Self {
        let mut demo = place.demo(&[]).spawn().expect("the demo runs");
        let mut show = BufReader::new(demo.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(show.read_line(&mut line).expect("text") > 0, "the demo ended before: {text}");
        }
        Self { demo, show }
    }

    /// Its processes: phones and, once it runs, the server.
    fn processes(&self) -> BTreeSet<u32> {
        let parent = format!("PPid:\t{}", self.demo.id());
        let processes = fs::read_dir("/proc").expect("readable").filter_map(|entry| {
            let process = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
            status.lines().any(|line| line == parent).then_some(process)
        });
        processes.collect()
    }

    /// Sends a signal and waits for the end; the exit status.
    fn end(mut self, signal: &str) -> Option<i32> {
        let sent = Command::new("kill").args([signal, &self.demo.id().to_string()]).status();
        assert!(sent.expect("a command `kill`").success());
        self.show.read_to_end(&mut Vec::new()).expect("readable");
        self.demo.wait().expect("an end").code()
    }
}

fn is_gone(process: u32) -> bool {
    // A process that ended and was not fetched has no command line any more.
    fs::read(format!("/proc/{process}/cmdline")).map_or(true, |words| words.is_empty())
}

#[test]
fn an_end_in_the_middle_leaves_no_process_and_no_folder() {
    // While three phones save; while three phones and the server talk.
    for (moment, running) in [("no network yet", None), ("Network back", Some(4))] {
        for (signal, status) in [("-INT", 130), ("-TERM", 143)] {
            let place = Place::new();
            let playing = Playing::until(&place, moment);
            let processes = playing.processes();
            if let Some(running) = running {
                assert_eq!(processes.len(), running, "three phones and a server");
            }
            assert_eq!(playing.end(signal), Some(status), "{signal}, {moment}");
            let left: Vec<_> = processes.into_iter().filter(|process| !is_gone(*process)).collect();
            assert!(left.is_empty(), "{left:?} still run after {signal}, {moment}");
            assert!(place.left().is_empty(), "{:?} after {signal}, {moment}", place.left());
        }
    }
}

#[test]
fn no_process_outlives_a_demo_that_is_killed() {
    let place = Place::new();
    let playing = Playing::until(&place, "Network back");
    let processes = playing.processes();
    assert_eq!(processes.len(), 4, "three phones and a server");
    assert_eq!(playing.end("-KILL"), None);
    let began = Instant::now();
    while !processes.iter().all(|process| is_gone(*process)) {
        assert!(began.elapsed() < GONE, "a process outlives its demo");
        std::thread::yield_now();
    }
}
