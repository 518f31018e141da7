//! A server in a directory of its own, and phones that talk to it.

mod http;
mod line;
mod phone;
#[cfg(unix)]
mod process;

use std::path::PathBuf;
use std::time::Duration;

use haversack_core::Rules;
use haversack_protocol::{PrincipalId, Role, Schema, TenantId};
use haversack_server::{
    LiveSettings, RunningServer, ServerConfig, ServerError, StateProof, issue_token, prove_state, start,
};

pub(crate) use http::{Response, raw, request};
#[cfg(target_os = "linux")]
pub(crate) use http::{answer_to, answer_to_cut, post_head};
pub(crate) use line::{Heard, Line, opening};
pub(crate) use phone::{Phone, Reply, create, edit, integer, text};
#[cfg(unix)]
pub(crate) use process::{BINARY, ServerProcess};

pub(crate) const TENANT: &str = "rotary";

pub(crate) const SCHEMA: &str = r#"{
    "version": 3,
    "collections": {
        "report": { "write": ["coordinator"], "fields": { "body": { "kind": "text" } } },
        "team": { "fields": { "name": { "kind": "text", "required": true } } },
        "person": {
            "server_id_prefix": "P",
            "fields": {
                "name": { "kind": "text", "required": true },
                "team": { "kind": "reference", "target": "team" }
            }
        },
        "activity": {
            "server_id_prefix": "ACT",
            "overrides": ["coordinator", "administrator"],
            "fields": {
                "title": { "kind": "text", "required": true },
                "minutes": { "kind": "integer" },
                "status": { "kind": "text" },
                "language": { "kind": "text" },
                "note": { "kind": "text" },
                "calls": { "kind": "counter" },
                "tags": { "kind": "set" },
                "person": { "kind": "reference", "target": "person" },
                "previous": { "kind": "reference", "target": "activity" }
            }
        }
    }
}"#;

pub(crate) const RULES: &str = r#"{
    "version": 1,
    "rules": [
        { "name": "status-is-stated", "collection": "activity", "message_key": "status.required",
          "check": { "required": { "field": "status" } } },
        { "name": "minutes-in-a-day", "collection": "activity",
          "check": { "range": { "field": "minutes", "min": 1, "max": 720 } } },
        { "name": "known-language", "collection": "activity",
          "check": { "one_of": { "field": "language", "values": ["norsk", "urdu"] } } },
        { "name": "one-step", "collection": "activity",
          "check": { "states": { "field": "status", "from": { "open": ["done"], "done": [] } } } },
        { "name": "note-is-theirs", "collection": "activity",
          "check": { "write": { "field": "note", "roles": ["coordinator"] } } },
        { "name": "marks-are-theirs", "collection": "activity",
          "check": { "override": { "roles": ["coordinator"] } } }
    ]
}"#;

pub(crate) fn schema() -> Schema {
    Schema::from_json(SCHEMA).expect("a sound schema")
}

/// A server, its files, and what starts it again.
pub(crate) struct TestServer {
    directory: tempfile::TempDir,
    running: Option<RunningServer>,
    live: LiveSettings,
}

/// Time after which a story has failed; far above what any of them takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the condition holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("it never came true that {what}"));
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(LiveSettings::default()).await
    }

    pub(crate) async fn start_with(live: LiveSettings) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut server = Self { directory, running: None, live };
        server.token("operator", Role::Administrator);
        server.run().await;
        server
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn run(&mut self) {
        self.try_run().await.expect("started");
    }

    async fn try_run(&mut self) -> Result<(), ServerError> {
        let schema = schema();
        let config = ServerConfig {
            listen: "127.0.0.1:0".parse().expect("an address"),
            database: self.path("server.db"),
            tenant: TenantId::new(TENANT).expect("plain"),
            rules: Rules::from_json(RULES, &schema).expect("sound rules"),
            schema,
            tokens: self.path("tokens.jsonl"),
            live: self.live,
            metrics: Some("127.0.0.1:0".parse().expect("an address")),
        };
        self.running = Some(start(config).await?);
        Ok(())
    }

    pub(crate) async fn restart(&mut self) {
        let running = self.running.take().expect("running");
        running.shutdown().await.expect("shut down");
        self.run().await;
    }

    /// Stops the server and starts it again, if it can.
    pub(crate) async fn try_restart(&mut self) -> Result<(), ServerError> {
        let running = self.running.take().expect("running");
        running.shutdown().await.expect("shut down");
        self.try_run().await
    }

    /// Stops the server, puts another database in the place of its own, and starts it again.
    pub(crate) async fn replace_database(&mut self, bytes: &[u8]) {
        let running = self.running.take().expect("running");
        running.shutdown().await.expect("shut down");
        // Another file under the same name, as a restore does it; the log belonged to the file before.
        for name in ["server.db", "server.db-wal", "server.db-shm"] {
            match std::fs::remove_file(self.path(name)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.expect("removed"),
            }
        }
        std::fs::write(self.path("server.db"), bytes).expect("written");
        self.run().await;
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.running.as_ref().expect("running").address()
    }

    pub(crate) fn running(&self) -> &RunningServer {
        self.running.as_ref().expect("running")
    }

    /// Withdraws every token.
    pub(crate) fn withdraw_tokens(&self) {
        std::fs::write(self.path("tokens.jsonl"), "").expect("written");
    }

    /// The metrics as they are told now.
    pub(crate) async fn metrics(&self) -> String {
        let address = self.running().metrics_address().expect("told");
        let head = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let response = raw(address, head, b"").await;
        assert_eq!(response.status, 200);
        String::from_utf8(response.body).expect("text")
    }

    pub(crate) fn token(&self, principal: &str, role: Role) -> String {
        let principal = PrincipalId::new(principal).expect("plain");
        issue_token(&self.path("tokens.jsonl"), &principal, role).expect("issued")
    }

    /// A registered phone of somebody in this role.
    pub(crate) async fn phone(&self, principal: &str, role: Role) -> Phone {
        Phone::register(self.address(), principal, self.token(principal, role)).await
    }

    pub(crate) fn prove(&self) -> StateProof {
        prove_state(&self.path("server.db"), &schema()).expect("provable")
    }

    /// Everything the server knows agrees with itself and with what these phones have read.
    pub(crate) async fn agrees_with(&self, phones: &mut [&mut Phone]) -> StateProof {
        let proof = self.prove();
        assert_eq!(proof.from_documents, proof.from_rows, "rows are what documents say");
        assert_eq!(proof.temporary_ids, 0, "no temporary id is visible");
        for phone in phones {
            phone.read_all(self.address()).await;
            assert_eq!(phone.digest(), proof.from_documents, "a phone agrees with the server");
        }
        proof
    }
}
