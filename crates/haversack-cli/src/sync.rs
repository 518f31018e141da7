//! `haversack sync`.

use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use haversack::{PrincipalId, ServerAddress, StaticToken, SyncReport, TenantId, Token};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::keys;
use crate::present::Tone;
use crate::session::Session;

/// How to sync.
#[derive(Debug, clap::Args)]
#[command(after_help = "Ends with code 3 when the server refused an edit, 6 when
the network failed (nothing is lost, try again), 7 when work
is still here.

Example:
  haversack sync --server https://sync.example.org \\
      --tenant north --principal kari --token-fd 4 4<token")]
pub(crate) struct SyncArguments {
    /// Seconds after which to stop waiting.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    deadline: u64,
    #[command(flatten)]
    server: ServerArguments,
}

/// Which server, and who speaks to it. The token never stands on the command line.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArguments {
    /// Address: https://, or http:// on this machine.
    #[arg(long, value_name = "URL", requires_all = ["tenant", "principal", "token_fd"])]
    server: Option<String>,
    /// Organisation.
    #[arg(long, value_name = "NAME", requires = "server")]
    tenant: Option<TenantId>,
    /// Person the token speaks for.
    #[arg(long, value_name = "NAME", requires = "server")]
    principal: Option<PrincipalId>,
    /// Read the token from this file descriptor.
    #[arg(long, value_name = "N", requires = "server")]
    token_fd: Option<u32>,
}

/// Connects to the server named, if any; says whether there is one.
///
/// # Errors
/// [`Failure::Token`], or an address that is not allowed.
pub(crate) async fn connect(session: &Session, arguments: &ServerArguments) -> Result<bool, Failure> {
    let ServerArguments { server, tenant, principal, token_fd } = arguments;
    let (Some(server), Some(tenant), Some(principal), Some(token_fd)) = (server, tenant, principal, token_fd)
    else {
        return Ok(false);
    };
    let address = ServerAddress::new(server, tenant.clone())?;
    let secret = keys::token(*token_fd)?;
    let token = Token::new(secret.as_str(), principal.clone());
    session.store.connect(address, Arc::new(StaticToken::new(token))).await?;
    Ok(true)
}

/// Sends and fetches until nothing is left to do.
pub(crate) async fn run(session: &Session, arguments: SyncArguments) -> Result<Exit, Failure> {
    let before = session.store.status().await?;
    if !connect(session, &arguments.server).await? {
        return Err(Failure::NoServer);
    }
    let report = sync(session, Duration::from_secs(arguments.deadline)).await?;
    let status = session.store.status().await?;
    let refused = status.rejected.saturating_sub(before.rejected);
    let parked = status.parked.saturating_sub(before.parked);
    let screen = session.screen;
    if screen.is_json {
        screen.json(&json!({
            "settled": report.settled,
            "round_trips": report.round_trips,
            "unsettled": report.unsettled,
            "rejected": status.rejected,
            "rejected_now": refused,
            "parked": status.parked,
            "parked_now": parked,
            "records": status.records,
            "conflicts": status.conflicts,
            "notices": status.notices,
        }))?;
    } else {
        screen.pairs(&[
            ("settled".to_owned(), report.settled.to_string()),
            ("waiting".to_owned(), report.unsettled.to_string()),
            ("records".to_owned(), status.records.to_string()),
            ("conflicts".to_owned(), status.conflicts.to_string()),
            ("round trips".to_owned(), report.round_trips.to_string()),
        ])?;
        if status.rejected > 0 {
            let text = format!("{} refused; your input is kept, see `haversack outbox`", status.rejected);
            screen.line(Some(Tone::Warning), &text)?;
        }
        if status.parked > 0 {
            let text =
                format!("{} parked after failing again and again; see `haversack outbox`", status.parked);
            screen.line(Some(Tone::Warning), &text)?;
        }
        if status.notices > 0 {
            screen.line(
                Some(Tone::Warning),
                &format!("notices: {}; see `haversack notices`", status.notices),
            )?;
        }
    }
    Ok(exit(refused + parked, report.unsettled))
}

/// How a round trip that reached its end, ends the command.
fn exit(refused: u64, unsettled: u64) -> Exit {
    match (refused, unsettled) {
        (0, 0) => Exit::Done,
        (0, _) => Exit::Account,
        _ => Exit::Refused,
    }
}

/// One round trip, with a line of progress where a person watches.
async fn sync(session: &Session, deadline: Duration) -> Result<SyncReport, Failure> {
    let is_live = !session.screen.is_json && io::stderr().is_terminal();
    let mut phases = session.store.watch_status();
    let mut syncing = pin!(session.store.sync_once(deadline));
    let report = loop {
        tokio::select! {
            report = &mut syncing => break report,
            Some(_) = phases.changed(), if is_live => {
                let status = session.store.status().await?;
                let waiting = status.pending + status.sending;
                progress(&format!("syncing: {waiting} waiting, {} records here", status.records));
            }
        }
    };
    if is_live {
        progress("");
    }
    Ok(report?)
}

/// Replaces the line of progress; where nobody can see it, nothing is lost.
fn progress(text: &str) {
    let mut out = io::stderr().lock();
    let _ = write!(out, "\r\u{1b}[K{text}");
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_learns_whether_everything_arrived() {
        assert_eq!(exit(0, 0), Exit::Done);
        assert_eq!(exit(0, 2), Exit::Account);
        assert_eq!(exit(1, 0), Exit::Refused);
        assert_eq!(exit(1, 2), Exit::Refused);
    }
}
