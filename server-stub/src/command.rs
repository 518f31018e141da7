//! The server's commands, for its own binary and for others that carry it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use haversack_core::Reference;
use haversack_core::Rules;
use haversack_protocol::{PrincipalId, Role, Schema, TenantId, UnixMillis};

use crate::erasure::named;
use crate::http::now;
use crate::{
    Erased, LiveSettings, ServerConfig, ServerError, compact, erase, erase_fields, erasures, history,
    issue_token, prove_state, restrict, restrictions, start,
};

/// What the server can be told to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve one tenant until SIGTERM or ctrl-c.
    Serve(ServeArgs),
    /// Issue a token for a person and print it, once.
    Token(TokenArgs),
    /// Digest the state of a database, beside a running server too.
    Prove(ProveArgs),
    /// Erase a record for good, here and on every device that reads on.
    Erase(EraseArgs),
    /// List what was erased, and the devices that have yet to follow.
    Erasures(ErasuresArgs),
    /// Begin records anew whose history has grown long.
    Compact(CompactArgs),
    /// Tell every write of a record, those of compacted epochs included.
    History(HistoryArgs),
    /// Take no edit of a record any more, or lift that.
    Restrict(RestrictArgs),
    /// List the records of which no edit is taken.
    Restrictions(RestrictionsArgs),
}

/// Arguments of `serve`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Prints one line of JSON, {\"listening\":\"ADDRESS:PORT\"}, once it answers; with --metrics also \"metrics\".
Pushes acknowledged are on disk. Devices hold WebSockets at /v1/t/NAME/live; let the proxy pass them on.
Put a proxy that speaks TLS in front of it: it speaks plain HTTP and belongs on a loopback address.

Example:
  haversack-server token --tokens tokens.jsonl --principal kari --role coordinator
  haversack-server serve --database server.db --schema schema.json --rules rules.json \\
      --tokens tokens.jsonl --tenant rotary --listen 127.0.0.1:7300")]
pub struct ServeArgs {
    /// Database file; created when absent, bound to its tenant for ever.
    #[arg(long, value_name = "FILE")]
    pub database: PathBuf,
    /// Schema file (JSON), the same one the devices have.
    #[arg(long, value_name = "FILE")]
    pub schema: PathBuf,
    /// Rules file (JSON).
    #[arg(long, value_name = "FILE")]
    pub rules: PathBuf,
    /// Tokens file; `token` adds to it, also while the server runs.
    #[arg(long, value_name = "FILE")]
    pub tokens: PathBuf,
    /// Name of the organisation served.
    #[arg(long, value_name = "NAME")]
    pub tenant: TenantId,
    /// Address to listen on; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Address for /metrics (Prometheus), /healthz and /readyz alone; off when absent, loopback only.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<SocketAddr>,
    /// Let --metrics take an address that other machines reach.
    #[arg(long, requires = "metrics")]
    pub metrics_exposed: bool,
}

/// Arguments of `token`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The file keeps only the token's SHA-256, one JSON line each. Delete a line to withdraw its token.")]
pub struct TokenArgs {
    /// Tokens file; created when absent, readable by its owner only.
    #[arg(long, value_name = "FILE")]
    pub tokens: PathBuf,
    /// Whom the token speaks for.
    #[arg(long, value_name = "NAME")]
    pub principal: PrincipalId,
    /// What that person may do.
    #[arg(long, value_enum)]
    pub role: RoleArg,
}

/// A role as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// Registers activities.
    Mentor,
    /// Corrects and reports; writes and releases override marks.
    Coordinator,
    /// Manages users, devices and policy.
    Administrator,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Mentor => Self::Mentor,
            RoleArg::Coordinator => Self::Coordinator,
            RoleArg::Administrator => Self::Administrator,
        }
    }
}

/// Arguments of `prove`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Prints JSON. The two digests are equal when every stored row is what its document says; devices that have read
everything give the same digest.")]
pub struct ProveArgs {
    /// Database file; only read.
    #[arg(long, value_name = "FILE")]
    pub database: PathBuf,
    /// Schema file (JSON).
    #[arg(long, value_name = "FILE")]
    pub schema: PathBuf,
}

/// Arguments of `erase`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Works beside a running server. Nothing brings it back: copies of the database made before are cleaned when they
are served, by the ledger DATABASE.erasures; keep that apart from backups. Prints JSON; \"is_swept\": false means
that somebody read the file at that moment: run the same command again.

Example:
  haversack-server erase --database server.db --record P-000012 --confirm")]
pub struct EraseArgs {
    /// Database file.
    #[arg(long, value_name = "FILE")]
    pub database: PathBuf,
    /// The record: its record id or its server id.
    #[arg(long, value_name = "ID", value_parser = record_named)]
    pub record: Reference,
    /// Erase only what this field holds and held, and the record's history with it; may be given several times.
    #[arg(long, value_name = "NAME", requires = "schema")]
    pub field: Vec<String>,
    /// Erase the record's history, and nothing it shows.
    #[arg(long, requires = "schema", conflicts_with = "field")]
    pub history: bool,
    /// Schema file (JSON), for --field and --history.
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Go on although another field is in conflict: only the value it shows is kept.
    #[arg(long)]
    pub keep_shown_only: bool,
    /// Say that it is meant.
    #[arg(long, required = true)]
    pub confirm: bool,
}

fn record_named(text: &str) -> Result<Reference, String> {
    named(text).ok_or_else(|| "neither a record id nor a server id".to_owned())
}

/// Arguments of `erasures`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Prints one line of JSON per erasure. A device is outstanding until it says that no byte is left on it.

Example:
  haversack-server erasures --database server.db")]
pub struct ErasuresArgs {
    /// Database file; only read.
    #[arg(long, value_name = "FILE")]
    pub database: PathBuf,
}

/// Arguments of `compact`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Works beside a running server; let it run every night. Records of 100 changes or 64 actors begin anew, unless somebody
edited them of late or they are in conflict. What they held before is kept in the archive. Prints JSON.

Example:
  haversack-server compact --database server.db --schema schema.json")]
pub struct CompactArgs {
    /// Database file.
    #[arg(long, value_name = "FILE")]
    pub database: PathBuf,
    /// Schema file (JSON).
    #[arg(long, value_name = "FILE")]
    pub schema: PathBuf,
    /// Hours nobody may have edited a record.
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    pub quiet_hours: u32,
}

/// Arguments of `history`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Prints one line of JSON per write, epoch by epoch. What was erased is in none of them.

Example:
  haversack-server history --database server.db --schema schema.json --record P-000012")]
pub struct HistoryArgs {
    /// Database file; only read.
    #[arg(long, value_name = "FILE")]
    pub database: PathBuf,
    /// Schema file (JSON).
    #[arg(long, value_name = "FILE")]
    pub schema: PathBuf,
    /// The record: its record id or its server id.
    #[arg(long, value_name = "ID", value_parser = record_named)]
    pub record: Reference,
    /// Print values of sensitive fields, too.
    #[arg(long)]
    pub show_sensitive: bool,
}

/// Arguments of `restrict`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Works beside a running server. The record is read as before; edits of it are refused, on devices with their next
exchange. Prints JSON.

Example:
  haversack-server restrict --database server.db --record P-000012
  haversack-server restrict --database server.db --record P-000012 --lift")]
pub struct RestrictArgs {
    /// Database file.
    #[arg(long, value_name = "FILE")]
    pub database: PathBuf,
    /// The record: its record id or its server id.
    #[arg(long, value_name = "ID", value_parser = record_named)]
    pub record: Reference,
    /// Take edits of it again.
    #[arg(long)]
    pub lift: bool,
}

/// Arguments of `restrictions`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Prints one line of JSON per record.

Example:
  haversack-server restrictions --database server.db")]
pub struct RestrictionsArgs {
    /// Database file; only read.
    #[arg(long, value_name = "FILE")]
    pub database: PathBuf,
}

/// Does what the command says.
///
/// # Errors
/// [`ServerError`] with one sentence for the operator.
pub async fn run(command: Command) -> Result<(), ServerError> {
    match command {
        Command::Serve(args) => serve(args).await,
        Command::Token(args) => say(&issue_token(&args.tokens, &args.principal, args.role.into())?),
        Command::Prove(args) => prove(&args),
        Command::Erase(args) => say_json(&erased(&args)?),
        Command::Compact(args) => compacted(&args),
        Command::History(args) => told(&args),
        Command::Restrict(args) => say_json(&restrict(&args.database, &args.record, !args.lift)?),
        Command::Restrictions(args) => restrictions(&args.database)?.iter().try_for_each(say_json),
        Command::Erasures(args) => erasures(&args.database)?.iter().try_for_each(say_json),
    }
}

/// Serves until told to stop.
///
/// # Errors
/// [`ServerError`] when it cannot start, or its writer failed.
pub async fn serve(args: ServeArgs) -> Result<(), ServerError> {
    if let Some(address) = args.metrics.filter(|address| !address.ip().is_loopback() && !args.metrics_exposed)
    {
        return Err(ServerError::MetricsExposed(address));
    }
    let schema = Schema::from_json(&read(&args.schema)?)?;
    let rules = Rules::from_json(&read(&args.rules)?, &schema)?;
    let server = start(ServerConfig {
        listen: args.listen,
        database: args.database,
        tenant: args.tenant,
        schema,
        rules,
        tokens: args.tokens,
        live: LiveSettings::default(),
        metrics: args.metrics,
    })
    .await?;
    let mut line = serde_json::json!({ "listening": server.address() });
    if let Some(address) = server.metrics_address() {
        line["metrics"] = serde_json::json!(address);
    }
    say(&line.to_string())?;
    told_to_stop().await.map_err(ServerError::System)?;
    server.shutdown().await
}

fn erased(args: &EraseArgs) -> Result<Erased, ServerError> {
    match &args.schema {
        Some(schema) if args.history || !args.field.is_empty() => {
            let schema = Schema::from_json(&read(schema)?)?;
            let fields = args.field.iter().cloned().collect();
            erase_fields(&args.database, &schema, &args.record, &fields, args.keep_shown_only)
        }
        _ => erase(&args.database, &args.record),
    }
}

fn compacted(args: &CompactArgs) -> Result<(), ServerError> {
    const HOUR_MS: i64 = 3_600_000;
    let schema = Schema::from_json(&read(&args.schema)?)?;
    let quiet_since = UnixMillis(now().0 - i64::from(args.quiet_hours) * HOUR_MS);
    say_json(&compact(&args.database, &schema, quiet_since)?)
}

fn told(args: &HistoryArgs) -> Result<(), ServerError> {
    let schema = Schema::from_json(&read(&args.schema)?)?;
    history(&args.database, &schema, &args.record, args.show_sensitive)?.iter().try_for_each(say_json)
}

fn prove(args: &ProveArgs) -> Result<(), ServerError> {
    let schema = Schema::from_json(&read(&args.schema)?)?;
    let proof = prove_state(&args.database, &schema)?;
    say(&serde_json::to_string(&proof).expect("a proof is plain JSON"))
}

fn read(path: &Path) -> Result<String, ServerError> {
    std::fs::read_to_string(path).map_err(ServerError::file(path))
}

/// Prints a report.
fn say_json<T: serde::Serialize>(report: &T) -> Result<(), ServerError> {
    say(&serde_json::to_string(report).expect("a report is plain JSON"))
}

/// Prints one line at once, also into a pipe.
fn say(line: &str) -> Result<(), ServerError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(ServerError::file(Path::new("standard output")))
}

#[cfg(unix)]
async fn told_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn told_to_stop() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
