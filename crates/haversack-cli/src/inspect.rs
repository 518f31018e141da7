//! `haversack inspect`.

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::present::Tone;
use crate::session::Session;

/// Beginning of the names of a store's files.
const STORE_FILE_PREFIX: &str = "store.";
/// The readable file beside the database that says which store it is.
const SIDECAR_FILE: &str = "store.json";

/// Nothing to choose.
#[derive(Debug, clap::Args)]
#[command(after_help = "Checks every page of the file, and every record against its
edits; ends with code 5 when something is wrong. Changes
nothing, shows no values.

Examples:
  haversack inspect
  haversack inspect --json > store-report.json")]
pub(crate) struct InspectArguments {}

/// Checks the store and shows what it is.
pub(crate) async fn run(session: &Session, _: InspectArguments) -> Result<Exit, Failure> {
    let report = report(session).await?;
    let findings = report["findings"].as_array().map_or(0, Vec::len);
    if session.screen.is_json {
        session.screen.json(&report)?;
    } else {
        show(session, &report)?;
    }
    Ok(if findings == 0 { Exit::Done } else { Exit::Storage })
}

async fn report(session: &Session) -> Result<Json, Failure> {
    let store = &session.store;
    let store_id = store.with_store(|store| Ok(store.store_id())).await?;
    let identity = store.with_store(|store| store.identity()).await?;
    let status = store.status().await?;
    let findings = store.check().await?;
    Ok(json!({
        "store": store_id,
        "format": format(&session.folder),
        "schema_version": session.schema.version,
        "server": identity.server,
        "principal": identity.principal,
        "role": identity.role,
        "device": identity.device,
        "records": status.records,
        "pending": status.pending,
        "sending": status.sending,
        "rejected": status.rejected,
        "parked": status.parked,
        "conflicts": status.conflicts,
        "notices": status.notices,
        "files": files(&session.folder)?,
        "findings": findings,
    }))
}

fn show(session: &Session, report: &Json) -> Result<(), Failure> {
    let screen = session.screen;
    let text = |value: &Json| match value {
        Json::Null => "none yet".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let is_plain = |name: &str| !["files", "findings"].contains(&name);
    let facts = report.as_object().into_iter().flatten().filter(|(name, _)| is_plain(name));
    screen.pairs(&facts.map(|(name, value)| (name.replace('_', " "), text(value))).collect::<Vec<_>>())?;
    screen.line(Some(Tone::Strong), "Files")?;
    let sizes = report["files"].as_object().into_iter().flatten();
    screen.pairs(&sizes.map(|(name, bytes)| (name.clone(), format!("{bytes} bytes"))).collect::<Vec<_>>())?;
    screen.line(Some(Tone::Strong), "Check")?;
    let findings: Vec<_> = report["findings"].as_array().into_iter().flatten().collect();
    if findings.is_empty() {
        screen.line(None, "  all is well")?;
    }
    for finding in findings {
        screen.line(Some(Tone::Warning), &format!("  {}", text(finding)))?;
    }
    Ok(())
}

/// Format of the store's files, as its sidecar says it.
fn format(folder: &Path) -> Option<i64> {
    let text = fs::read_to_string(folder.join(SIDECAR_FILE)).ok()?;
    serde_json::from_str::<Json>(&text).ok()?["format"].as_i64()
}

fn files(folder: &Path) -> Result<Json, Failure> {
    let unreadable = |source| Failure::File { what: "the store's folder".to_owned(), source };
    let mut sizes = serde_json::Map::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(STORE_FILE_PREFIX) {
            let bytes = entry.metadata().map_err(unreadable)?.len();
            sizes.insert(name, json!(bytes));
        }
    }
    Ok(Json::Object(sizes))
}
