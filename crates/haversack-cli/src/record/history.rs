//! `haversack history`.

use std::collections::BTreeMap;

use haversack::HistoryEntry;
use serde_json::{Value as Json, json};

use super::shown::{Shown, name_of};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::present::Tone;
use crate::session::Session;

/// Heading of what concerns the whole record.
const WHOLE_RECORD: &str = "(record)";

/// Which record, and which field of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Every write that was ever accepted, in causal order, with
what became of it: shown, replaced by a later write, beaten
by a concurrent one, or shadowed by an override mark. What
waits on this device comes last.

Examples:
  haversack history ACT-000017 minutes
  haversack history ACT-000017 --json")]
pub(crate) struct HistoryArguments {
    /// Record id or server id.
    record: String,
    /// Field; every field when absent.
    field: Option<String>,
    /// Show fields the schema calls personal data.
    #[arg(long)]
    show_sensitive: bool,
}

/// Shows every write of a field, or of a record.
pub(crate) async fn run(session: &Session, arguments: HistoryArguments) -> Result<Exit, Failure> {
    let found = session.find(&arguments.record).await?;
    let history = match &arguments.field {
        Some(field) => session.store.history(found.record, field).await?,
        None => session.store.record_history(found.record).await?,
    };
    let (shown, screen) = (Shown { session, with_sensitive: arguments.show_sensitive }, session.screen);
    if screen.is_json {
        let writes: Vec<_> = history.iter().map(|entry| shown.write_json(&found, entry)).collect();
        screen.json(&json!({
            "record": found.record,
            "server_id": found.server_id,
            "collection": found.collection,
            "field": arguments.field,
            "writes": Json::Array(writes),
        }))?;
        return Ok(Exit::Done);
    }
    if history.is_empty() {
        screen.line(None, &format!("nobody wrote there; {} is empty", name_of(&found)))?;
    }
    for (heading, writes) in grouped(&history, arguments.field.as_deref()) {
        screen.line(Some(Tone::Strong), heading)?;
        for entry in writes {
            screen.pairs(&shown.write_rows(&found, entry))?;
            screen.line(None, "")?;
        }
    }
    Ok(Exit::Done)
}

/// One timeline when a field was asked for, else one per field.
fn grouped<'h>(
    history: &'h [HistoryEntry],
    field: Option<&'h str>,
) -> BTreeMap<&'h str, Vec<&'h HistoryEntry>> {
    let mut groups: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for entry in history {
        let heading = field.or(entry.write.field()).unwrap_or(WHOLE_RECORD);
        groups.entry(heading).or_default().push(entry);
    }
    groups
}
