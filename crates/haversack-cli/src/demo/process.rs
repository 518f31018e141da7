//! The processes of the demo: starting, talking to, killing. Whatever happens, none outlives the demo.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use haversack::{PrincipalId, RecordId, Role};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command as Process};

use crate::serve::{self, ServeArguments};

use super::phone::{Answer, Command, Registration};

/// Longest wait for one answer of a phone; a hang is a failure, not a long demo.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Why the demo cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error("{0}: {1}")]
    File(String, #[source] std::io::Error),
    #[error("a process of the demo cannot be started: {0}")]
    Start(#[source] std::io::Error),
    #[error("{0} stopped answering")]
    Silent(&'static str),
    #[error("{0}: {1}")]
    Phone(&'static str, String),
    #[error("the server did not start")]
    Server,
    #[error("the schema cannot be used: {0}")]
    Schema(String),
    #[error("the rules cannot be used: {0}")]
    Rules(String),
    #[error("the server's database cannot be read: {0}")]
    Proof(String),
    #[error("no record of the file can be used")]
    NoRecords,
    #[error("{0} is not empty")]
    NotEmpty(String),
}

/// A phone and its process.
pub(super) struct Phone {
    pub(super) name: &'static str,
    pub(super) role: Role,
    pub(super) folder: PathBuf,
    pub(super) token: String,
    key: [u8; 32],
    running: Option<Running>,
}

struct Running {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// Runs the server of a demo: until its input ends, which the end of the demo does, however it comes.
pub(crate) async fn run_server(arguments: ServeArguments) -> ExitCode {
    let (mut input, mut nowhere) = (tokio::io::stdin(), tokio::io::sink());
    tokio::select! {
        status = serve::run(arguments, true) => status,
        _ = tokio::io::copy(&mut input, &mut nowhere) => ExitCode::SUCCESS,
    }
}

fn this_program() -> Result<Process, DemoError> {
    let mut process = Process::new(std::env::current_exe().map_err(DemoError::Start)?);
    process.kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    Ok(process)
}

impl Phone {
    pub(super) fn new(name: &'static str, role: Role, folder: PathBuf, key: [u8; 32]) -> Self {
        Self { name, role, folder, token: String::new(), key, running: None }
    }

    pub(super) fn principal(&self) -> PrincipalId {
        PrincipalId::new(self.name).expect("phone names are plain")
    }

    pub(super) fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Starts the process and opens the store.
    pub(super) async fn start(&mut self, schema: &str) -> Result<(), DemoError> {
        let mut child = this_program()?.arg("__phone").spawn().map_err(DemoError::Start)?;
        let input = child.stdin.take().ok_or(DemoError::Silent(self.name))?;
        let output = child.stdout.take().ok_or(DemoError::Silent(self.name))?;
        self.running = Some(Running { child, input, output: BufReader::new(output).lines() });
        let open = Command::Open { folder: self.folder.clone(), key: self.key, schema: schema.to_owned() };
        self.ask(open).await.map(|_: Json| ())
    }

    async fn send(&mut self, command: &Command) -> Result<(), DemoError> {
        let running = self.running.as_mut().ok_or(DemoError::Silent(self.name))?;
        let mut line = serde_json::to_string(command).expect("commands are plain JSON");
        line.push('\n');
        running.input.write_all(line.as_bytes()).await.map_err(|_| DemoError::Silent(self.name))
    }

    async fn answer(&mut self) -> Result<Answer, DemoError> {
        let running = self.running.as_mut().ok_or(DemoError::Silent(self.name))?;
        let line = tokio::time::timeout(ANSWER_TIMEOUT, running.output.next_line()).await;
        let line = line.ok().and_then(Result::ok).flatten().ok_or(DemoError::Silent(self.name))?;
        serde_json::from_str(&line).map_err(|_| DemoError::Silent(self.name))
    }

    /// Sends a command and reads its answer.
    pub(super) async fn ask<T: DeserializeOwned>(&mut self, command: Command) -> Result<T, DemoError> {
        self.send(&command).await?;
        match self.answer().await? {
            Answer::Done(json) => serde_json::from_value(json).map_err(|_| DemoError::Silent(self.name)),
            Answer::Failed { message, .. } => Err(DemoError::Phone(self.name, message)),
            Answer::Saved(_) => Err(DemoError::Silent(self.name)),
        }
    }

    /// Registers records and says each one that is durable; ends early, with the process killed, when `kill_after`
    /// of them are. Returns those that were said.
    pub(super) async fn register(
        &mut self,
        registrations: Vec<Registration>,
        kill_after: Option<usize>,
        mut said: impl FnMut(usize),
    ) -> Result<Vec<RecordId>, DemoError> {
        self.send(&Command::Register(registrations)).await?;
        let mut saved = Vec::new();
        loop {
            match self.answer().await {
                Ok(Answer::Saved(record)) => {
                    saved.push(record);
                    said(saved.len());
                    if Some(saved.len()) == kill_after {
                        self.start_kill();
                    }
                }
                Ok(Answer::Done(_)) => {
                    // It was done before the kill reached it, and still holds its store until it has ended.
                    if kill_after.is_some_and(|after| saved.len() >= after) {
                        self.kill().await;
                    }
                    return Ok(saved);
                }
                Ok(Answer::Failed { message, .. }) => return Err(DemoError::Phone(self.name, message)),
                // What it said before it died still counts, and was read to the last line.
                Err(_) if kill_after.is_some_and(|after| saved.len() >= after) => {
                    self.kill().await;
                    return Ok(saved);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn start_kill(&mut self) {
        if let Some(running) = &mut self.running {
            // Already dead is as good.
            let _ = running.child.start_kill();
        }
    }

    /// Kills the process and waits for its end.
    pub(super) async fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            // Already dead is as good.
            let _ = running.child.kill().await;
        }
    }

    /// Closes the store and lets the process end.
    pub(super) async fn close(&mut self) -> Result<(), DemoError> {
        self.ask::<Json>(Command::Close).await?;
        if let Some(mut running) = self.running.take() {
            drop(running.input);
            running.child.wait().await.map_err(DemoError::Start)?;
        }
        Ok(())
    }

    /// Counts and sync state.
    pub(super) async fn status(&mut self) -> Result<PhoneStatus, DemoError> {
        self.ask(Command::Status).await
    }
}

/// How a phone stands.
#[derive(Clone, Debug, serde::Deserialize)]
pub(super) struct PhoneStatus {
    pub(super) records: u64,
    pub(super) unsettled: u64,
    pub(super) rejected: u64,
    pub(super) conflicts: u64,
    pub(super) phase: String,
    pub(super) device: Option<String>,
}

/// What a phone shows of a record.
#[derive(Clone, Debug, serde::Deserialize)]
pub(super) struct Shown {
    pub(super) shown: BTreeMap<String, Json>,
    pub(super) beneath: BTreeMap<String, Json>,
    pub(super) overridden: Vec<String>,
    pub(super) conflicts: Vec<String>,
    pub(super) server_id: Option<String>,
}

/// The server and its process.
pub(super) struct Server {
    arguments: Vec<String>,
    pub(super) database: PathBuf,
    pub(super) address: Option<SocketAddr>,
    running: Option<Child>,
}

impl Server {
    pub(super) fn new(folder: &Path, tenant: &str) -> Self {
        let file = |name: &str| folder.join(name).display().to_string();
        let arguments = [
            "__server",
            "--tenant",
            tenant,
            "--database",
            &file("server.db"),
            "--schema",
            &file("schema.json"),
            "--rules",
            &file("rules.json"),
            "--tokens",
            &file("tokens.jsonl"),
        ];
        Self {
            arguments: arguments.map(str::to_owned).to_vec(),
            database: folder.join("server.db"),
            address: None,
            running: None,
        }
    }

    /// Starts the process; after the first time on the same port.
    pub(super) async fn start(&mut self) -> Result<(), DemoError> {
        let listen = self.address.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string());
        let mut child = this_program()?
            .args(&self.arguments)
            .args(["--listen", &listen])
            .spawn()
            .map_err(DemoError::Start)?;
        let output = child.stdout.take().ok_or(DemoError::Server)?;
        self.running = Some(child);
        let mut lines = BufReader::new(output).lines();
        let line = tokio::time::timeout(ANSWER_TIMEOUT, lines.next_line()).await;
        let line = line.ok().and_then(Result::ok).flatten().ok_or(DemoError::Server)?;
        let said: Json = serde_json::from_str(&line).map_err(|_| DemoError::Server)?;
        self.address = said["listening"].as_str().and_then(|text| text.parse().ok());
        self.address.map(drop).ok_or(DemoError::Server)
    }

    pub(super) fn url(&self) -> String {
        self.address.map_or_else(String::new, |address| format!("http://{address}"))
    }

    /// Kills the process and waits for its end.
    pub(super) async fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            // Already dead is as good.
            let _ = child.kill().await;
        }
    }
}
