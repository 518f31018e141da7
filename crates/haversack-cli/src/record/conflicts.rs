//! `haversack conflicts`.

use haversack::{ConflictCandidate, FieldConflict, StoredRecord};
use serde_json::{Value as Json, json};

use super::shown::{Shown, name_of};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::present::Tone;
use crate::session::Session;

/// Which record.
#[derive(Debug, clap::Args)]
#[command(after_help = "Choosing another value is an ordinary edit.

Examples:
  haversack conflicts ACT-000017
  haversack edit ACT-000017 minutes=50")]
pub(crate) struct ConflictsArguments {
    /// Record id or server id.
    record: String,
    /// Show fields the schema calls personal data.
    #[arg(long)]
    show_sensitive: bool,
}

/// Shows every concurrent value with its author and why it is or is not shown.
pub(crate) async fn run(session: &Session, arguments: ConflictsArguments) -> Result<Exit, Failure> {
    let found = session.find(&arguments.record).await?;
    let conflicts = session.store.conflicts(found.record).await?;
    let shown = Shown { session, with_sensitive: arguments.show_sensitive };
    if session.screen.is_json {
        let all: Vec<_> = conflicts.iter().map(|conflict| to_json(&shown, &found, conflict)).collect();
        session.screen.json(&Json::Array(all))?;
        return Ok(Exit::Done);
    }
    if conflicts.is_empty() {
        session.screen.line(None, &format!("{} has no conflicts", name_of(&found)))?;
    }
    for conflict in &conflicts {
        show(&shown, &found, conflict)?;
    }
    Ok(Exit::Done)
}

fn show(shown: &Shown<'_>, found: &StoredRecord, conflict: &FieldConflict) -> Result<(), Failure> {
    let screen = shown.session.screen;
    screen.line(Some(Tone::Strong), &conflict.field)?;
    for candidate in &conflict.candidates {
        let who = candidate.principal.as_ref().map_or("unknown", |principal| principal.as_str());
        let mut rows = vec![
            ("value".to_owned(), shown.text_or_empty(found, &conflict.field, candidate.value.as_ref())),
            ("shown".to_owned(), if candidate.is_shown { "yes" } else { "no" }.to_owned()),
            ("why".to_owned(), candidate.reason.to_string()),
            ("by".to_owned(), who.to_owned()),
        ];
        rows.extend(candidate.device.map(|device| ("device".to_owned(), device.to_string())));
        rows.extend(candidate.at.map(|at| ("at".to_owned(), at.to_string())));
        screen.pairs(&rows)?;
        screen.line(None, "")?;
    }
    Ok(())
}

/// A field's conflict for programs.
pub(crate) fn to_json(shown: &Shown<'_>, found: &StoredRecord, conflict: &FieldConflict) -> Json {
    let candidates = conflict.candidates.iter().map(|one| shown.candidate_json(found, &conflict.field, one));
    json!({
        "field": conflict.field,
        "sensitive_hidden": shown.hides(&found.collection, &conflict.field),
        "candidates": candidates.collect::<Vec<_>>(),
    })
}

impl Shown<'_> {
    /// One of the concurrent values of a field for programs.
    pub(crate) fn candidate_json(
        &self,
        found: &StoredRecord,
        field: &str,
        candidate: &ConflictCandidate,
    ) -> Json {
        json!({
            "value": self.json_of(found, field, candidate.value.as_ref()),
            "principal": candidate.principal,
            "device": candidate.device,
            "at": candidate.at.map(|at| at.to_string()),
            "is_shown": candidate.is_shown,
            "reason": candidate.reason.to_string(),
        })
    }
}
