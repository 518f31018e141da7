//! The server as a process of its own, watched from outside: whether it lives, and the most memory it ever took.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

#[cfg(target_os = "linux")]
use haversack_protocol::{PrincipalId, Role};
#[cfg(target_os = "linux")]
use haversack_server::{StateProof, issue_token, prove_state};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

#[cfg(target_os = "linux")]
use super::{Phone, raw, schema};
use super::{RULES, SCHEMA, TENANT};

/// What any attack may cost above what the server took before it.
#[cfg(target_os = "linux")]
const ATTACK_KIB_MAX: u64 = 64 << 10;

/// The built binary.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_haversack-server");

/// A running `haversack-server` in a folder of its own.
pub(crate) struct ServerProcess {
    child: Child,
    out: BufReader<ChildStdout>,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl ServerProcess {
    /// Serves nobody yet but an operator.
    #[cfg(target_os = "linux")]
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let operator = PrincipalId::new("operator").expect("plain");
        issue_token(&directory.path().join("tokens.jsonl"), &operator, Role::Administrator).expect("issued");
        Self::start_in(directory).await
    }

    /// Serves those whose tokens lie in the folder already.
    pub(crate) async fn start_in(directory: tempfile::TempDir) -> Self {
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("schema.json"), SCHEMA).expect("written");
        std::fs::write(path("rules.json"), RULES).expect("written");
        let mut child = Command::new(BINARY)
            .args(["serve", "--tenant", TENANT, "--database"])
            .arg(path("server.db"))
            .arg("--schema")
            .arg(path("schema.json"))
            .arg("--rules")
            .arg(path("rules.json"))
            .arg("--tokens")
            .arg(path("tokens.jsonl"))
            .env("RUST_LOG", "off")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        out.read_line(&mut line).await.expect("a line");
        let listening: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let address = listening["listening"].as_str().and_then(|text| text.parse().ok()).expect("an address");
        Self { child, out, address, directory }
    }

    /// Tells it to stop and waits for its end; what else it printed meanwhile.
    pub(crate) async fn stop(&mut self) -> (ExitStatus, String) {
        let id = self.child.id().expect("it still runs").to_string();
        Command::new("kill").args(["-TERM", &id]).status().await.expect("told");
        let ended = self.child.wait().await.expect("ended");
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).await.expect("read");
        (ended, rest)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A registered phone of a mentor.
    #[cfg(target_os = "linux")]
    pub(crate) async fn phone(&self, principal: &str) -> Phone {
        let named = PrincipalId::new(principal).expect("plain");
        let token = issue_token(&self.path("tokens.jsonl"), &named, Role::Mentor).expect("issued");
        Phone::register(self.address, principal, token).await
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn prove(&self) -> StateProof {
        prove_state(&self.path("server.db"), &schema()).expect("provable")
    }

    #[cfg(target_os = "linux")]
    fn proc(&self, file: &str) -> PathBuf {
        let id = self.child.id().expect("it still runs");
        PathBuf::from(format!("/proc/{id}/{file}"))
    }

    #[cfg(target_os = "linux")]
    fn kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).expect("it still runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("stated");
        line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().expect("a number")
    }

    /// Begins to watch what the server takes from now on.
    #[cfg(target_os = "linux")]
    pub(crate) fn watch(&self) -> Watched<'_> {
        // Resets the mark of the most memory taken.
        std::fs::write(self.proc("clear_refs"), "5").expect("ours to reset");
        Watched { server: self, before_kib: self.kib("VmRSS") }
    }
}

/// A server under attack.
#[cfg(target_os = "linux")]
pub(crate) struct Watched<'a> {
    server: &'a ServerProcess,
    before_kib: u64,
}

#[cfg(target_os = "linux")]
impl Watched<'_> {
    /// The attack is over: the server lives, took no more memory than it may, and serves its honest users.
    pub(crate) async fn survived(self, what: &str, phone: &mut Phone) {
        let peak = self.server.kib("VmHWM");
        let above = peak.saturating_sub(self.before_kib);
        assert!(above <= ATTACK_KIB_MAX, "{what}: {above} KiB above the {} KiB before", self.before_kib);
        let health = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        assert_eq!(raw(self.server.address, health, b"").await.status, 200, "{what}");
        phone.read_all(self.server.address).await;
    }
}
