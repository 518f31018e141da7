//! A folder with a schema, a key and stores, and a server for two people.

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
        "calls": { "kind": "counter" }, "tags": { "kind": "set" },
        "friend": { "kind": "reference", "target": "contact" } } },
    "visit": { "server_id_prefix": "VIS", "fields": {
        "contact": { "kind": "reference", "target": "contact" }, "note": { "kind": "text", "sensitive": true },
        "day": { "kind": "date" } } } } }"#;

const RULES: &str = r#"{ "version": 1, "rules": [ { "name": "minutes-within-a-day", "collection": "contact",
    "check": { "range": { "field": "minutes", "min": 1, "max": 720 } }, "message_key": "contact.minutes.range" } ] }"#;

/// A folder in which commands run; each person has a store of her own there.
pub(super) struct Place {
    folder: TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = Self { folder };
        place.write("schema.json", SCHEMA);
        place.write("key", &"0123456789abcdef".repeat(4));
        place.write("rules.json", RULES);
        place
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    /// A shell that runs `haversack WORDS` on a person's store.
    pub(super) fn shell(&self, person: &str, words: &[&str]) -> Command {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "exec \"$0\" \"$@\" --key-fd 3 3<key"])
            .arg(env!("CARGO_BIN_EXE_haversack"))
            .args(words)
            .args(["--schema", "schema.json"])
            .current_dir(self.folder.path())
            .env("HAVERSACK_STORE", self.path(person))
            .env("COLUMNS", "60")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        shell
    }

    pub(super) fn run(&self, person: &str, words: &[&str]) -> Output {
        self.shell(person, words).output().expect("a shell")
    }

    /// What a command that must succeed prints.
    pub(super) fn says(&self, person: &str, words: &[&str]) -> String {
        let output = self.run(person, words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub(super) fn json(&self, person: &str, words: &[&str]) -> Json {
        let said = self.says(person, &[words, &["--json"]].concat());
        serde_json::from_str(&said).expect("one JSON value")
    }

    /// Every line of what a command that must succeed prints.
    pub(super) fn lines(&self, person: &str, words: &[&str]) -> Vec<Json> {
        lines(&self.says(person, words))
    }

    /// Creates a record and returns its id.
    pub(super) fn create(&self, person: &str, words: &[&str]) -> String {
        self.says(person, &[&["create"], words].concat()).trim().to_owned()
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

pub(super) fn lines(text: &str) -> Vec<Json> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The reference server of a place; ends with it, however the test ends.
pub(super) struct Serving {
    address: String,
    process: Child,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Place {
    /// Serves kari, a mentor, and ola, a coordinator.
    pub(super) fn serve(&self) -> Serving {
        for (principal, role) in [("kari", "mentor"), ("ola", "coordinator")] {
            let words =
                ["serve", "token", "--tokens", "tokens.jsonl", "--principal", principal, "--role", role];
            let token = Command::new(env!("CARGO_BIN_EXE_haversack"))
                .args(words)
                .current_dir(self.folder.path())
                .output()
                .expect("the command");
            self.write(&format!("{principal}-token"), &text(&token.stdout));
        }
        let mut server = Command::new(env!("CARGO_BIN_EXE_haversack"));
        server.args(["serve", "--tenant", "north", "--database", "server.db", "--schema", "schema.json"]);
        server.args(["--rules", "rules.json", "--tokens", "tokens.jsonl"]);
        server.current_dir(self.folder.path()).stdout(Stdio::piped());
        let mut process = server.spawn().expect("the command");
        let mut line = String::new();
        let mut out = BufReader::new(process.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("a line");
        let told: Json = serde_json::from_str(&line).expect("JSON");
        Serving { address: format!("http://{}", told["listening"].as_str().expect("an address")), process }
    }

    /// Lets each person sync in turn; refusals are no failure.
    pub(super) fn sync(&self, serving: &Serving, people: &[&str]) {
        for person in people {
            let output = Command::new("sh")
                .args(["-c", &format!("exec \"$0\" \"$@\" --token-fd 3 --key-fd 4 3<{person}-token 4<key")])
                .arg(env!("CARGO_BIN_EXE_haversack"))
                .args(["sync", "--json", "--schema", "schema.json", "--store", person, "--tenant", "north"])
                .args(["--principal", person, "--server", &serving.address])
                .current_dir(self.folder.path())
                .output()
                .expect("a shell");
            assert!(matches!(output.status.code(), Some(0 | 3)), "{}", text(&output.stderr));
        }
    }
}
