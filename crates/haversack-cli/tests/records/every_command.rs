//! What holds of every command: JSON when asked for, and a reader that left is no failure.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value as Json;

use super::place::{Place, text};

/// Commands that run until they are ended; their own tests tell how.
const ENDLESS: [&str; 3] = ["demo", "serve", "watch"];

/// Commands that want a second key or a passphrase; their own tests tell how.
const OF_KEYS: [&str; 2] = ["rekey", "recovery"];

/// Every other command with words for it, in the order they are run, and how it ends. RECORD stands for a record's id.
const TABLE: [(&[&str], i32); 20] = [
    (&["edit", "RECORD", "minutes=50"], 0),
    (&["create", "contact", "name=Ola"], 0),
    (&["delete", "RECORD"], 0),
    (&["restore", "RECORD"], 0),
    (&["get", "RECORD"], 0),
    (&["list", "contact"], 0),
    (&["override", "RECORD", "minutes", "60", "--reason", "because"], 7),
    (&["release", "RECORD", "minutes"], 3),
    (&["conflicts", "RECORD"], 0),
    (&["history", "RECORD", "minutes"], 0),
    (&["why", "RECORD", "minutes"], 0),
    (&["notices"], 0),
    (&["outbox"], 0),
    (&["export"], 0),
    (&["import", "contact", "new.jsonl"], 0),
    (&["inspect"], 0),
    (&["doctor"], 0),
    (&["salvage", "--to", "salvaged"], 0),
    (&["backup", "make", "copy"], 0),
    (
        &[
            "sync",
            "--server",
            "http://127.0.0.1:1",
            "--tenant",
            "north",
            "--principal",
            "kari",
            "--token-fd",
            "4",
        ],
        6,
    ),
];

fn place() -> (Place, String) {
    let place = Place::new();
    place.write("new.jsonl", "{\"name\":\"Siv\"}\n");
    place.write("token", "secret");
    let record = place.create("kari", &["contact", "name=Kari"]);
    (place, record)
}

/// The command of a line of the table; the shell opens the token for those that want one.
fn command(place: &Place, words: &[&str], record: &str) -> Command {
    let words: Vec<_> = words.iter().map(|word| if *word == "RECORD" { record } else { word }).collect();
    let inner = place.shell("kari", &words);
    let mut outer = Command::new("sh");
    outer.args(["-c", "exec \"$0\" \"$@\" 4<token"]).arg(inner.get_program()).args(inner.get_args());
    outer.current_dir(place.path(".")).env("HAVERSACK_STORE", place.path("kari")).env_remove("RUST_LOG");
    outer
}

#[test]
fn the_table_holds_every_command() {
    let help = Command::new(env!("CARGO_BIN_EXE_haversack")).arg("-h").output().expect("the command");
    let help = text(&help.stdout);
    let listed = help.lines().take_while(|line| !line.starts_with("Options"));
    let listed = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let named: BTreeSet<_> = TABLE.iter().map(|(words, _)| words[0]).chain(ENDLESS).chain(OF_KEYS).collect();
    assert_eq!(listed.collect::<BTreeSet<_>>(), named);
}

#[test]
fn every_command_answers_in_json_when_asked_also_when_it_fails() {
    let (place, record) = place();
    for (words, exit) in TABLE {
        let output = command(&place, &[words, &["--json"]].concat(), &record).output().expect("a shell");
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(exit), "{words:?}: {error}");
        let (told, silent) = if exit == 0 { (out, error) } else { (error, out) };
        assert!(silent.is_empty() && !told.is_empty(), "{words:?}: {silent}");
        for line in told.lines() {
            let json = serde_json::from_str::<Json>(line);
            assert!(
                json.is_ok_and(|json| exit == 0 || json["error"]["code"].is_string()),
                "{words:?}: {line}"
            );
        }
    }
}

#[test]
fn a_reader_that_left_is_no_failure_of_any_command() {
    for json in [&[][..], &["--json"]] {
        let (place, record) = place();
        for (words, exit) in TABLE {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            let mut command = command(&place, &[words, json].concat(), &record);
            let output = command.stdout(writer).output().expect("a shell");
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(exit), "{words:?}: {error}");
            assert!(exit != 0 || error.is_empty(), "{words:?}: {error}");
        }
        let kept = place.json("kari", &["list", "contact"]);
        assert_eq!(kept.as_array().map(Vec::len), Some(3), "what was to be stored was");
    }
}
