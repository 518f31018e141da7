//! The built command, as a shell runs it: what it prints, what it refuses, how it ends.

#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

const SCHEMA: &str = r#"{ "version": 1, "collections": {
    "contact": { "server_id_prefix": "CON", "fields": {
        "name": { "kind": "text", "required": true },
        "phone": { "kind": "text", "sensitive": true },
        "minutes": { "kind": "integer", "min": 1, "max": 1440, "indexed": true },
        "calls": { "kind": "counter" }, "tags": { "kind": "set" } } } } }"#;

const RULES: &str = r#"{ "version": 1, "rules": [ { "name": "minutes-within-a-day", "collection": "contact",
    "check": { "range": { "field": "minutes", "min": 1, "max": 720 } }, "message_key": "contact.minutes.range" } ] }"#;

/// A folder with a schema, a key and, once opened, a store.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("schema.json"), SCHEMA).expect("written");
        fs::write(folder.path().join("key"), "0123456789abcdef".repeat(4) + "\n").expect("written");
        fs::write(folder.path().join("other-key"), [7u8; 32]).expect("written");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A shell that runs `haversack WORDS`, with the key file on descriptor 3.
    fn shell(&self, key: &str, words: &[&str]) -> Command {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("exec \"$0\" \"$@\" --key-fd 3 3<{key}")])
            .arg(env!("CARGO_BIN_EXE_haversack"))
            .args(words)
            .current_dir(self.folder.path())
            .env("HAVERSACK_STORE", self.path("store"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        shell
    }

    fn run(&self, words: &[&str]) -> Output {
        self.shell("key", words).output().expect("a shell")
    }

    /// What a command that must succeed prints.
    fn says(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn json(&self, words: &[&str]) -> Json {
        let said = self.says(&[words, &["--json"]].concat());
        assert_eq!(said.lines().count(), 1, "one value on one line: {said}");
        serde_json::from_str(&said).expect("JSON")
    }

    /// Makes a contact and returns its record id.
    fn contact(&self) -> String {
        let words = ["create", "contact", "name=Kåre Ødegård", "phone=01210287", "minutes=45", "tags=tur"];
        self.says(&[words.as_slice(), &["--schema", "schema.json"]].concat()).trim().to_owned()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Exit code and error object of a command that failed in JSON.
fn refusal(output: &Output) -> (Option<i32>, Json) {
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    let error: Json = serde_json::from_slice(&output.stderr).expect("one JSON value on standard error");
    (output.status.code(), error["error"].clone())
}

#[test]
fn what_was_created_is_listed_edited_and_shown_by_later_commands() {
    let place = Place::new();
    let record = place.contact();
    place.says(&["edit", &record, "minutes=50", "-tags=tur", "+tags=kafé", "calls+=2"]);

    let got = place.json(&["get", &record]);
    assert_eq!(got["fields"]["name"], "Kåre Ødegård");
    assert_eq!(got["fields"]["minutes"], 50);
    assert_eq!(got["fields"]["calls"], 2);
    assert_eq!(got["fields"]["tags"], serde_json::json!(["kafé"]));
    assert_eq!(got["state"], "local only");

    let listed = |clause: &str| place.json(&["list", "contact", "--where", clause, "--sort", "-minutes"]);
    assert_eq!(listed("minutes>=50")[0]["record"], record.as_str());
    assert_eq!(listed("minutes<50"), serde_json::json!([]));

    place.says(&["delete", &record]);
    assert_eq!(place.json(&["list", "contact"]), serde_json::json!([]));
    place.says(&["restore", &record]);
    assert_eq!(place.json(&["list", "contact"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn personal_values_are_shown_only_when_asked_for() {
    let place = Place::new();
    let record = place.contact();
    let change_set = place.json(&["outbox"])[0]["change_set"].as_str().expect("an id").to_owned();
    for words in [
        vec!["get", &record],
        vec!["get", &record, "--json"],
        vec!["list", "contact"],
        vec!["list", "contact", "--json"],
        vec!["outbox", "show", &change_set],
        vec!["outbox", "show", &change_set, "--json"],
    ] {
        let said = place.says(&words);
        assert!(!said.contains("01210287"), "{words:?}: {said}");
        if words[1] != "list" && words[0] != "list" {
            let asked = place.says(&[words.as_slice(), &["--show-sensitive"]].concat());
            assert!(asked.contains("01210287"), "{words:?}: {asked}");
        }
    }
    assert!(place.says(&["get", &record]).contains("(sensitive; --show-sensitive)"));
}

#[test]
fn the_outbox_holds_every_edit_and_lets_only_refused_ones_go() {
    let place = Place::new();
    let record = place.contact();
    place.says(&["edit", &record, "minutes=50"]);
    let entries = place.json(&["outbox", "list"]);
    assert_eq!(entries.as_array().map(Vec::len), Some(2));
    assert_eq!(entries[0]["parts"][0]["creates"], true);
    assert_eq!(entries[1]["state"], "pending");
    assert_eq!(entries[1]["attempts"], 0);

    let change_set = entries[1]["change_set"].as_str().expect("an id");
    let (exit, error) = refusal(&place.run(&["outbox", "discard", change_set, "--json"]));
    assert_eq!((exit, &error["code"]), (Some(3), &"not-set-aside".into()));
    assert_eq!(place.json(&["outbox"]).as_array().map(Vec::len), Some(2), "nothing was dropped");
}

#[test]
fn an_inspected_store_tells_what_it_is_and_no_value() {
    let place = Place::new();
    place.contact();
    let report = place.json(&["inspect"]);
    assert_eq!(report["records"], 1);
    assert_eq!(report["pending"], 1);
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["principal"], Json::Null);
    assert_eq!(report["findings"], serde_json::json!([]));
    assert!(report["files"]["store.db"].as_u64().expect("a size") > 0);
    let said = place.says(&["inspect"]);
    assert!(!said.contains("Kåre") && !said.contains("01210287"), "{said}");
}

#[test]
fn the_wrong_key_opens_nothing_and_the_right_one_still_does() {
    let place = Place::new();
    let record = place.contact();
    let output = place.shell("other-key", &["get", &record, "--json"]).output().expect("a shell");
    let (exit, error) = refusal(&output);
    assert_eq!((exit, &error["code"]), (Some(4), &"wrong-key".into()));
    assert_eq!(error["data_at_risk"], true);
    place.says(&["get", &record]);
}

#[test]
fn what_is_no_key_is_told_from_a_wrong_one() {
    let place = Place::new();
    fs::write(place.path("short-key"), "abc").expect("written");
    let words = ["list", "contact", "--schema", "schema.json", "--json"];
    let (exit, error) = refusal(&place.shell("short-key", &words).output().expect("a shell"));
    assert_eq!((exit, &error["code"]), (Some(4), &"key-unusable".into()));
    assert!(!place.path("store").exists(), "nothing was created");
}

#[test]
fn a_machine_without_a_key_store_is_told_both_ways() {
    let place = Place::new();
    let output = Command::new(env!("CARGO_BIN_EXE_haversack"))
        .args(["list", "contact", "--schema", "schema.json", "--store", "store"])
        .current_dir(place.folder.path())
        .env_remove("DBUS_SESSION_BUS_ADDRESS")
        .env("XDG_RUNTIME_DIR", "")
        .output()
        .expect("the command");
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("Secret Service") && told.contains("file descriptor"), "{told}");
}

#[test]
fn a_refused_edit_names_the_field_and_never_the_value() {
    let place = Place::new();
    let record = place.contact();
    for (assignment, code, named) in [
        ("hobby=fiske", "unknown-field", "hobby"),
        ("minutes=lenge", "value", "contact.minutes"),
        ("minutes=1441", "value", "contact.minutes"),
        ("name=", "required", "contact.name"),
    ] {
        let (exit, error) = refusal(&place.run(&["edit", &record, assignment, "--json"]));
        assert_eq!((exit, &error["code"]), (Some(3), &code.into()), "{assignment}");
        let message = error["message"].as_str().expect("a sentence");
        assert!(message.contains(named), "{message}");
        assert!(["fiske", "lenge", "1441"].iter().all(|value| !message.contains(value)), "{message}");
    }
    assert_eq!(place.json(&["outbox"]).as_array().map(Vec::len), Some(1), "nothing was stored");
}

/// Ends a child however the test ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_store_open_elsewhere_is_told_as_such_and_a_watch_shows_it_at_once() {
    let place = Place::new();
    let record = place.contact();
    let mut watch = place.shell("key", &["watch", "contact", "--json"]);
    let mut watching = Ended(watch.stdout(Stdio::piped()).spawn().expect("a shell"));
    let mut lines = BufReader::new(watching.0.stdout.take().expect("piped")).lines();
    let first: Json = serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON");
    assert_eq!(first[0]["record"], record.as_str());

    let (exit, error) = refusal(&place.run(&["get", &record, "--json"]));
    assert_eq!((exit, &error["code"]), (Some(8), &"already-open".into()));
    assert_eq!(error["retryable"], true);

    let pid = watching.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    assert_eq!(watching.0.wait().expect("it ends").code(), Some(0), "Ctrl-C is how a watch ends");
}

/// The reference server of a place.
struct Serving {
    address: String,
    _server: Ended,
}

const SERVER_FILES: [&str; 8] = [
    "--database",
    "server.db",
    "--schema",
    "schema.json",
    "--rules",
    "rules.json",
    "--tokens",
    "tokens.jsonl",
];

impl Place {
    fn serve(&self) -> Serving {
        fs::write(self.path("rules.json"), RULES).expect("written");
        for (principal, role) in [("kari", "mentor"), ("ola", "coordinator")] {
            let token = self.says(&[
                "serve",
                "token",
                "--tokens",
                "tokens.jsonl",
                "--principal",
                principal,
                "--role",
                role,
            ]);
            fs::write(self.path(principal), token).expect("written");
        }
        let words = [["serve", "--tenant", "north"].as_slice(), &SERVER_FILES].concat();
        let mut server = Command::new(env!("CARGO_BIN_EXE_haversack"));
        server.args(words).current_dir(self.folder.path()).stdout(Stdio::piped());
        let mut server = Ended(server.spawn().expect("the command"));
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let told: Json = serde_json::from_str(&line).expect("JSON");
        Serving {
            address: format!("http://{}", told["listening"].as_str().expect("an address")),
            _server: server,
        }
    }

    /// Exit code and report of one person's `sync` of her own store.
    fn sync(&self, serving: &Serving, person: &str) -> (Option<i32>, Json) {
        let output = Command::new("sh")
            .args(["-c", &format!("exec \"$0\" \"$@\" --token-fd 3 --key-fd 4 3<{person} 4<key")])
            .arg(env!("CARGO_BIN_EXE_haversack"))
            .args([
                "sync",
                "--json",
                "--schema",
                "schema.json",
                "--store",
                &format!("{person}-store"),
                "--tenant",
                "north",
            ])
            .args(["--principal", person, "--server", &serving.address])
            .current_dir(self.folder.path())
            .output()
            .expect("a shell");
        let report =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        (output.status.code(), report)
    }
}

#[test]
fn two_people_meet_at_a_server_and_a_refused_edit_stays_with_its_author() {
    let place = Place::new();
    let serving = place.serve();
    let karis = |words: &[&str]| place.json(&[words, &["--store", "kari-store"]].concat());
    let olas = |words: &[&str]| place.json(&[words, &["--store", "ola-store"]].concat());
    let with_schema = ["--schema", "schema.json"];
    karis(&[["create", "contact", "name=Kåre Ødegård", "minutes=45"].as_slice(), &with_schema].concat());
    assert_eq!(place.sync(&serving, "kari").0, Some(0));
    assert_eq!(place.sync(&serving, "ola").0, Some(0));
    assert_eq!(olas(&["get", "CON-000001"])["fields"]["name"], "Kåre Ødegård");

    karis(&["edit", "CON-000001", "minutes=900"]);
    let (exit, report) = place.sync(&serving, "kari");
    assert_eq!((exit, &report["rejected_now"]), (Some(3), &1.into()));
    assert_eq!(karis(&["get", "CON-000001"])["fields"]["minutes"], 45, "rolled back");
    let entry = &karis(&["outbox"])[0];
    assert_eq!(entry["rejection"]["rule"], "minutes-within-a-day");
    assert_eq!(karis(&["notices"])[0]["kind"], "rejected");
    karis(&["outbox", "discard", entry["change_set"].as_str().expect("an id")]);
    assert_eq!(karis(&["outbox"]), serde_json::json!([]));

    olas(&["override", "CON-000001", "minutes", "60", "--reason", "dobbeltført"]);
    assert_eq!(place.sync(&serving, "ola").0, Some(0));
    assert_eq!(place.sync(&serving, "kari").0, Some(0));
    let got = karis(&["get", "CON-000001"]);
    assert_eq!((&got["fields"]["minutes"], &got["state"]), (&60.into(), &"synced".into()));
    assert_eq!(got["overridden"]["minutes"]["underlying"], 45);
    assert_eq!(got["overridden"]["minutes"]["reason"], "dobbeltført");
}

#[test]
fn a_server_nobody_answers_at_loses_nothing() {
    let place = Place::new();
    place.contact();
    fs::write(place.path("token"), "secret-token\n").expect("written");
    let mut words = vec!["sync", "--server", "http://127.0.0.1:1", "--tenant", "north"];
    words.extend(["--principal", "kari", "--token-fd", "3", "--json"]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "exec \"$0\" \"$@\" --key-fd 4 3<token 4<key"])
        .arg(env!("CARGO_BIN_EXE_haversack"))
        .args(words)
        .current_dir(place.folder.path())
        .env("HAVERSACK_STORE", place.path("store"));
    let (exit, error) = refusal(&shell.output().expect("a shell"));
    assert_eq!((exit, &error["code"]), (Some(6), &"unreachable".into()));
    assert_eq!(error["retryable"], true);
    assert!(!error.to_string().contains("secret-token"));
    assert_eq!(place.json(&["outbox"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn marks_need_to_know_who_makes_them() {
    let place = Place::new();
    let record = place.contact();
    let words = ["override", &record, "minutes", "60", "--reason", "dobbeltført", "--json"];
    let (exit, error) = refusal(&place.run(&words));
    assert_eq!((exit, &error["code"]), (Some(7), &"not-bound".into()));
}

#[test]
fn usage_errors_are_told_apart_and_in_json_when_asked() {
    let place = Place::new();
    for words in [
        vec!["edit", "ACT-000001", "--json"],
        vec!["fly", "--json"],
        vec!["list", "contact", "--json"],
        vec!["sync", "--server", "https://sync.example.org", "--json"],
    ] {
        let (exit, error) = refusal(&place.run(&words));
        assert_eq!(exit, Some(2), "{words:?}: {error}");
    }
    assert!(!place.path("store").exists(), "nothing was created");
}

#[test]
fn the_schema_is_needed_once() {
    let place = Place::new();
    let output = place.run(&["create", "contact", "name=Kari", "--json"]);
    let (exit, error) = refusal(&output);
    assert_eq!((exit, &error["code"]), (Some(2), &"no-schema".into()));
    place.contact();
    place.says(&["create", "contact", "name=Kari"]);
}

#[test]
fn values_steer_no_terminal_and_lines_fit_sixty_columns() {
    let place = Place::new();
    let record = place.contact();
    place.says(&["edit", &record, &format!("name={}\u{1b}[2J", "Gikk tur på Vålerenga. ".repeat(9))]);
    for words in [vec!["get", record.as_str()], vec!["list", "contact"], vec!["outbox"], vec!["inspect"]] {
        let said = place.says(&words);
        assert!(!said.contains('\u{1b}'), "{said}");
        let ids_and_longer = said.lines().filter(|line| line.chars().count() > 60).collect::<Vec<_>>();
        assert!(ids_and_longer.is_empty(), "{ids_and_longer:?}");
    }
}

#[test]
fn a_reader_that_leaves_early_ends_the_command_quietly() {
    let place = Place::new();
    place.contact();
    let mut shell = place.shell("key", &["create", "contact", "name=@-"]);
    let piped = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("a shell");
    // It prints only after it read its input to the end, and by then nobody reads.
    drop(child.stdout.take());
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    assert_eq!(place.json(&["list", "contact"]).as_array().map(Vec::len), Some(2), "it was stored");
}

#[test]
fn the_help_mentions_every_command_without_needing_a_store() {
    let output = Command::new(env!("CARGO_BIN_EXE_haversack")).arg("--help").output().expect("the command");
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for command in [
        "demo",
        "serve",
        "create",
        "edit",
        "delete",
        "restore",
        "get",
        "list",
        "watch",
        "override",
        "release",
        "conflicts",
        "notices",
        "outbox",
        "sync",
        "inspect",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}");
    }
    assert!(!help.contains("__phone"));
    for word in ["First steps", "--key-fd", "Secret Service", "Exit codes", "8  the store is open elsewhere"]
    {
        assert!(help.contains(word), "{word}");
    }
}
