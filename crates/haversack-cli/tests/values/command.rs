//! The built command on the store of a device that is closed.

use std::fs;
use std::path::PathBuf;
use std::process::{self, Stdio};

use haversack_testing::Device;
use serde_json::Value as Json;

use crate::table::SCHEMA;

/// The command, with schema and key in a folder of its own.
pub(crate) struct Command {
    folder: tempfile::TempDir,
    store: PathBuf,
}

impl Command {
    /// The command on the store of this device.
    pub(crate) fn on(device: &Device) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let command = Self { folder, store: device.folder().to_owned() };
        command.write("schema.json", SCHEMA);
        let key: String = device.key().expose().iter().map(|byte| format!("{byte:02x}")).collect();
        command.write("key", &key);
        command
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn said(&self, words: &[&str]) -> process::Output {
        process::Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" --key-fd 3 3<key"])
            .arg(env!("CARGO_BIN_EXE_haversack"))
            .args(words)
            .args(["--schema", "schema.json"])
            .current_dir(self.folder.path())
            .env("HAVERSACK_STORE", &self.store)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .output()
            .expect("a shell")
    }

    /// The JSON a command prints, whatever it ends with.
    pub(crate) fn told(&self, words: &[&str]) -> Json {
        let output = self.said(words);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// The JSON a command that must succeed prints.
    pub(crate) fn json(&self, words: &[&str]) -> Json {
        self.told(&[words, &["--json"]].concat())
    }

    /// Every line of what a command that must succeed prints.
    pub(crate) fn lines(&self, words: &[&str]) -> Vec<Json> {
        self.line(words).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// What a command that must succeed prints, without its line end.
    pub(crate) fn line(&self, words: &[&str]) -> String {
        let output = self.said(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    }
}
