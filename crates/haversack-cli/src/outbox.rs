//! `haversack outbox`.

use haversack::{
    ChangeSetId, EntryState, Intent, OutboxEntry, Part, RecordId, StoreError, Value, value_to_json,
};
use serde_json::{Value as Json, json};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::present::Tone;
use crate::record::shown::text_of;
use crate::session::Session;

/// What to do about a refusal by schema or reference; message keys of an organisation's rules are the app's to translate.
fn reason(message_key: &str) -> &str {
    match message_key {
        "schema.unknown_collection" => "this collection is gone; write it down elsewhere, then discard this",
        "schema.unknown_field" => "this field is gone; enter the rest anew without it, then discard this",
        "schema.required" => "this field has to be filled in; enter the edit anew with it",
        "schema.range" => "the number is outside the range that is allowed now; correct it",
        "schema.one_of" => "the text is not one of those allowed now; choose another",
        "schema.max_bytes" => "it is longer than allowed now; shorten it",
        "schema.kind" => "the field holds another kind of value now; enter it anew",
        "reference.collection" => {
            "this field refers to records of another collection now; choose one of those"
        }
        "reference.unknown" => "the record it refers to does not exist at the server; choose another",
        key => key,
    }
}

/// Stands for a value of a sensitive field.
const HIDDEN: &str = "(sensitive; --show-sensitive)";

/// What to do with the outbox.
#[derive(Debug, clap::Args)]
#[command(after_help = "Holds edits without a verdict, refused ones, and parked ones that
were taken back after repeated failure, all with what you typed.
Nothing leaves it but by a verdict or `discard`.

Examples:
  haversack outbox
  haversack outbox show CHANGE-SET
  haversack outbox retry CHANGE-SET
  haversack outbox discard CHANGE-SET")]
pub(crate) struct OutboxArguments {
    #[command(subcommand)]
    command: Option<OutboxCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum OutboxCommand {
    /// Show every entry: attempts, last error, next try, what it waits for.
    #[command(after_help = "Example:\n  haversack outbox list --json")]
    List,
    /// Show one entry with the edit it holds.
    #[command(after_help = "Example:\n  haversack outbox show 0198c0de-0000-7000-8000-000000000001")]
    Show {
        /// Id of the change set.
        change_set: ChangeSetId,
        /// Show fields the schema calls personal data.
        #[arg(long)]
        show_sensitive: bool,
    },
    /// Send a refused or parked edit again, as it was.
    #[command(after_help = "Example:\n  haversack outbox retry 0198c0de-0000-7000-8000-000000000001")]
    Retry {
        /// Id of the change set.
        change_set: ChangeSetId,
    },
    /// Drop a refused or parked edit and what was typed, for good.
    #[command(after_help = "Example:\n  haversack outbox discard 0198c0de-0000-7000-8000-000000000001")]
    Discard {
        /// Id of the change set.
        change_set: ChangeSetId,
    },
}

/// Shows, retries or discards entries.
pub(crate) async fn run(session: &Session, arguments: OutboxArguments) -> Result<Exit, Failure> {
    let (outbox, screen) = (session.store.outbox(), session.screen);
    match arguments.command.unwrap_or(OutboxCommand::List) {
        OutboxCommand::List => list(session, &outbox.list().await?)?,
        OutboxCommand::Show { change_set, show_sensitive } => {
            let entry = outbox.show(change_set).await?.ok_or(StoreError::UnknownChangeSet(change_set))?;
            show(session, &entry, show_sensitive)?;
        }
        OutboxCommand::Retry { change_set } => {
            let again = outbox.retry(change_set).await?;
            if screen.is_json {
                screen.json(&json!({ "retried": change_set, "change_set": again }))?;
            } else {
                screen.line(None, &format!("{change_set} goes again as {again}"))?;
            }
        }
        OutboxCommand::Discard { change_set } => {
            outbox.discard(change_set).await?;
            if screen.is_json {
                screen.json(&json!({ "discarded": change_set }))?;
            } else {
                screen.line(None, &format!("{change_set} discarded"))?;
            }
        }
    }
    Ok(Exit::Done)
}

fn list(session: &Session, entries: &[OutboxEntry]) -> Result<(), Failure> {
    let screen = session.screen;
    if screen.is_json {
        return Ok(screen.json(&Json::Array(entries.iter().map(to_json).collect()))?);
    }
    for entry in entries {
        show_entry(session, entry)?;
    }
    let ending = if entries.len() == 1 { "y" } else { "ies" };
    Ok(screen.line(Some(Tone::Faint), &format!("{} entr{ending}", entries.len()))?)
}

fn show(session: &Session, entry: &OutboxEntry, with_sensitive: bool) -> Result<(), Failure> {
    let screen = session.screen;
    if screen.is_json {
        return Ok(screen.json(&whole_json(session, entry, with_sensitive, |_| true))?);
    }
    show_entry(session, entry)?;
    for part in &entry.change_set.parts {
        screen.line(None, &what_part(part))?;
        let row = |intent| {
            let json = intent_json(session, part, intent, with_sensitive);
            let word = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
            (
                word("field"),
                format!("{} {}", word("operation"), intent_text(session, part, intent, with_sensitive)),
            )
        };
        screen.pairs(&part.intents.iter().map(row).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// An entry for programs, with what its parts do where `is_told` says so of their record.
pub(crate) fn whole_json(
    session: &Session,
    entry: &OutboxEntry,
    with_sensitive: bool,
    is_told: impl Fn(RecordId) -> bool,
) -> Json {
    let mut json = to_json(entry);
    let parts = entry.change_set.parts.iter().zip(json["parts"].as_array_mut().into_iter().flatten());
    for (part, json) in parts.filter(|(part, _)| is_told(part.record)) {
        let intents = part.intents.iter().map(|intent| intent_json(session, part, intent, with_sensitive));
        json["intents"] = Json::Array(intents.collect());
    }
    json
}

fn show_entry(session: &Session, entry: &OutboxEntry) -> Result<(), Failure> {
    let screen = session.screen;
    let rejection = entry.state.set_aside();
    let tone = if rejection.is_some() { Tone::Warning } else { Tone::Strong };
    screen.line(Some(tone), &format!("{}  {}", entry.change_set.id, state_word(&entry.state)))?;
    let mut rows = vec![];
    let mut put = |name: &str, text: String| rows.push((name.to_owned(), text));
    for part in entry.change_set.parts.iter().take(PARTS_SHOWN_MAX) {
        put("edit", what_part(part));
    }
    if let Some(more) = entry.change_set.parts.len().checked_sub(PARTS_SHOWN_MAX).filter(|more| *more > 0) {
        put("", format!("and {more} more"));
    }
    if let Some(rejection) = rejection {
        let word = if matches!(entry.state, EntryState::Parked(_)) { "parked" } else { "refused" };
        put(word, format!("{}: {}", rejection.code, rejection.code.meaning()));
        rejection.field.iter().for_each(|field| put("field", field.clone()));
        rejection.rule.iter().for_each(|rule| put("rule", rule.clone()));
        rejection.message_key.iter().for_each(|key| put("why", reason(key).to_owned()));
        rejection.root_cause.iter().for_each(|cause| put("because of", cause.to_string()));
    }
    put("made", entry.change_set.at.to_string());
    put("attempts", entry.attempts.to_string());
    entry.last_error.iter().for_each(|error| put("last error", error.clone()));
    entry.next_try.iter().for_each(|at| put("next try", at.to_string()));
    entry.waits_for.iter().for_each(|id| put("waits for", id.to_string()));
    Ok(screen.pairs(&rows)?)
}

/// Records of one change set named in a list; `show` names them all.
const PARTS_SHOWN_MAX: usize = 3;

fn what_part(part: &Part) -> String {
    let verb = if part.creates {
        "create"
    } else if part.intents.contains(&Intent::Delete) {
        "delete"
    } else if part.intents.contains(&Intent::Restore) {
        "restore"
    } else {
        "edit"
    };
    format!("{verb} {} {}", part.collection, part.record)
}

fn state_word(state: &EntryState) -> &'static str {
    match state {
        EntryState::Pending => "pending",
        EntryState::Frozen => "sending",
        EntryState::Rejected(_) => "rejected",
        EntryState::Parked(_) => "parked",
        _ => "unknown",
    }
}

fn to_json(entry: &OutboxEntry) -> Json {
    let part = |part: &Part| json!({ "record": part.record, "collection": part.collection, "creates": part.creates });
    json!({
        "order": entry.order,
        "change_set": entry.change_set.id,
        "at": entry.change_set.at.to_string(),
        "state": state_word(&entry.state),
        "rejection": entry.state.set_aside(),
        "attempts": entry.attempts,
        "last_error": entry.last_error,
        "next_try": entry.next_try.map(|at| at.to_string()),
        "waits_for": entry.waits_for,
        "parts": entry.change_set.parts.iter().map(part).collect::<Vec<_>>(),
    })
}

/// Word and value of an intent; elements of sets and steps of counters count as values.
fn operation(intent: &Intent) -> (&'static str, Option<Value>) {
    match intent {
        Intent::Set { value, .. } => ("set", Some(value.clone())),
        Intent::Clear { .. } => ("clear", None),
        Intent::Add { element, .. } => ("add", Some(Value::Text(element.clone()))),
        Intent::Remove { element, .. } => ("remove", Some(Value::Text(element.clone()))),
        Intent::Increment { by, .. } => ("increment", Some(Value::Counter(*by))),
        Intent::Delete => ("delete", None),
        Intent::Restore => ("restore", None),
        Intent::Override { mark, .. } => ("override", mark.value.clone()),
        Intent::Release { .. } => ("release", None),
    }
}

fn is_hidden(session: &Session, part: &Part, intent: &Intent, with_sensitive: bool) -> bool {
    let field = intent.field().filter(|_| !with_sensitive);
    field.is_some_and(|field| session.is_sensitive(&part.collection, field))
}

fn intent_text(session: &Session, part: &Part, intent: &Intent, with_sensitive: bool) -> String {
    match operation(intent).1 {
        Some(_) if is_hidden(session, part, intent, with_sensitive) => HIDDEN.to_owned(),
        value => value.as_ref().map(text_of).unwrap_or_default(),
    }
}

fn intent_json(session: &Session, part: &Part, intent: &Intent, with_sensitive: bool) -> Json {
    let (operation, value) = operation(intent);
    let is_hidden = is_hidden(session, part, intent, with_sensitive);
    let value = value.filter(|_| !is_hidden);
    let reason = match intent {
        Intent::Override { mark, .. } if !is_hidden => Some(&mark.reason),
        _ => None,
    };
    json!({
        "field": intent.field(),
        "operation": operation,
        "value": value.as_ref().map(value_to_json),
        "reason": reason,
        "sensitive_hidden": is_hidden,
    })
}
