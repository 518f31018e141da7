//! `haversack why`.

use haversack::{ConflictCandidate, HistoryEntry, Origin, Standing, StoredRecord, Write};
use serde_json::{Value as Json, json};

use super::assignment::kind_of;
use super::shown::{Shown, name_of, role_word};
use super::timeline::{author, place, will_be_shadowed};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::present::{Tone, clip};
use crate::session::Session;

/// Candidates, writes and waiting edits shown of each; `conflicts` and `history` show all.
const EACH_SHOWN_MAX: usize = 4;
/// Longest value shown; `get` shows the whole.
const VALUE_CHARS_MAX: usize = 80;

/// Which field.
#[derive(Debug, clap::Args)]
#[command(after_help = "The value shown and the reason, every concurrent value,
the override mark, and what waits on this device.

Example:
  haversack why ACT-000017 minutes")]
pub(crate) struct WhyArguments {
    /// Record id or server id.
    record: String,
    /// Field.
    field: String,
    /// Show fields the schema calls personal data.
    #[arg(long)]
    show_sensitive: bool,
}

/// All that is known of why a field shows what it shows.
struct Known<'a> {
    shown: Shown<'a>,
    found: StoredRecord,
    field: String,
    candidates: Vec<ConflictCandidate>,
    history: Vec<HistoryEntry>,
    set_aside: usize,
}

/// Shows why a field shows what it shows.
pub(crate) async fn run(session: &Session, arguments: WhyArguments) -> Result<Exit, Failure> {
    let WhyArguments { record, field, show_sensitive } = arguments;
    let found = session.find(&record).await?;
    kind_of((&found.collection, session.collection(&found.collection)?), &field)?;
    let conflicts = session.store.conflicts(found.record).await?;
    let candidates = conflicts.into_iter().find(|conflict| conflict.field == field);
    let set_aside = session.store.outbox().set_aside().await?;
    let touches = |entry: &&haversack::OutboxEntry| {
        let parts = entry.change_set.parts.iter().filter(|part| part.record == found.record);
        parts.flat_map(|part| &part.intents).any(|intent| intent.field() == Some(field.as_str()))
    };
    let known = Known {
        set_aside: set_aside.iter().filter(touches).count(),
        history: session.store.history(found.record, &field).await?,
        candidates: candidates.map(|conflict| conflict.candidates).unwrap_or_default(),
        shown: Shown { session, with_sensitive: show_sensitive },
        found,
        field,
    };
    if session.screen.is_json {
        session.screen.json(&known.to_json())?;
    } else {
        known.tell()?;
    }
    Ok(Exit::Done)
}

impl Known<'_> {
    /// Writes of this field, deletions of the record left out.
    fn writes(&self) -> impl Iterator<Item = &HistoryEntry> {
        self.history.iter().filter(|entry| entry.write.field().is_some())
    }

    fn waiting(&self) -> impl Iterator<Item = &HistoryEntry> {
        self.writes().filter(|entry| matches!(entry.origin, Origin::Waiting { .. }))
    }

    /// Accepted writes that make up what is shown.
    fn made_of(&self) -> impl Iterator<Item = &HistoryEntry> {
        let is_accepted = |entry: &&HistoryEntry| matches!(entry.origin, Origin::Accepted { .. });
        self.writes().filter(is_accepted).filter(|entry| entry.standing == Standing::Shown)
    }

    fn because(&self) -> &'static str {
        let row = &self.found.row;
        let mut writes = self.writes();
        if row.marks.contains_key(self.field.as_str()) {
            return "an override mark stands above the field's own value until released";
        }
        if row.shadowed.contains(&self.field) {
            return "your edit is kept on show until the server answers; a value that arrived meanwhile beats it then";
        }
        if self.waiting().any(|entry| matches!(entry.write, Write::Register { .. })) {
            return "your own edit, made after all that had arrived; it waits on this device";
        }
        if let Some(candidate) = self.candidates.iter().find(|candidate| candidate.is_shown) {
            return candidate.reason;
        }
        match writes.next().map(|entry| &entry.write) {
            None => "nobody ever wrote it",
            Some(Write::Step { .. }) => "every step counts, whoever made it",
            Some(Write::Member { .. }) => {
                "each element stands for itself; an addition beats a concurrent removal"
            }
            Some(_) => "the last write, and its author knew every other",
        }
    }

    fn tell(&self) -> Result<(), Failure> {
        let (shown, found, field) = (&self.shown, &self.found, &self.field);
        let (screen, row) = (shown.session.screen, &found.row);
        screen.line(Some(Tone::Strong), &format!("{field} of {} {}", found.collection, name_of(found)))?;
        let value = |value| clip(&shown.text_or_empty(found, field, value), VALUE_CHARS_MAX);
        let mut rows = vec![
            ("shows".to_owned(), value(row.effective(field))),
            ("because".to_owned(), self.because().to_owned()),
        ];
        if let Some(mark) = row.marks.get(field.as_str()) {
            let hidden = shown.hides(&found.collection, field);
            let reason = if hidden { "(sensitive)" } else { &mark.reason };
            rows.push((
                "mark".to_owned(),
                format!("{} ({}), {}: {reason}", mark.by, role_word(mark.role), mark.at),
            ));
            rows.push(("beneath".to_owned(), value(row.fields.get(field.as_str()))));
        }
        if row.is_deleted {
            rows.push(("deleted".to_owned(), "the record is deleted; `haversack restore`".to_owned()));
        }
        if self.set_aside > 0 {
            let text = format!("{} edit(s) of it; `haversack outbox`", self.set_aside);
            rows.push(("set aside".to_owned(), text));
        }
        screen.pairs(&rows)?;
        self.tell_candidates()?;
        let made_of = if self.candidates.is_empty() { self.made_of().collect() } else { vec![] };
        self.tell_writes("Written by", &made_of)?;
        self.tell_writes("Waiting on this device", &self.waiting().collect::<Vec<_>>())
    }

    fn tell_candidates(&self) -> Result<(), Failure> {
        if self.candidates.is_empty() {
            return Ok(());
        }
        let screen = self.shown.session.screen;
        screen.line(Some(Tone::Strong), "Concurrent values")?;
        for candidate in self.candidates.iter().take(EACH_SHOWN_MAX) {
            let who = candidate.principal.as_ref().map_or("unknown", |principal| principal.as_str());
            let at = candidate.at.map(|at| format!(", {at}")).unwrap_or_default();
            let text = self.shown.text_or_empty(&self.found, &self.field, candidate.value.as_ref());
            let mark = if candidate.is_shown { "shown" } else { "not" };
            let rows = [
                (mark.to_owned(), clip(&text, VALUE_CHARS_MAX)),
                (String::new(), format!("{who}{at}: {}", candidate.reason)),
            ];
            screen.pairs(&rows)?;
        }
        self.tell_rest(self.candidates.len(), "conflicts")
    }

    fn tell_writes(&self, heading: &str, writes: &[&HistoryEntry]) -> Result<(), Failure> {
        if writes.is_empty() {
            return Ok(());
        }
        let screen = self.shown.session.screen;
        screen.line(Some(Tone::Strong), heading)?;
        for entry in writes.iter().rev().take(EACH_SHOWN_MAX) {
            let written = clip(&self.shown.write_text(&self.found, &entry.write), VALUE_CHARS_MAX);
            let at = entry.at.map(|at| format!("{at}, ")).unwrap_or_default();
            let rows = [
                (author(entry).split(',').next().unwrap_or_default().to_owned(), written),
                (String::new(), format!("{at}{}", place(&self.found, entry))),
            ];
            screen.pairs(&rows)?;
        }
        self.tell_rest(writes.len(), "history")
    }

    fn tell_rest(&self, count: usize, command: &str) -> Result<(), Failure> {
        let Some(more) = count.checked_sub(EACH_SHOWN_MAX).filter(|more| *more > 0) else { return Ok(()) };
        let text = format!("  and {more} more: haversack {command} {}", name_of(&self.found));
        Ok(self.shown.session.screen.line(Some(Tone::Faint), &text)?)
    }

    fn to_json(&self) -> Json {
        let (shown, found, field) = (&self.shown, &self.found, &self.field);
        let row = &found.row;
        let writes = |all: &mut dyn Iterator<Item = &HistoryEntry>| -> Vec<Json> {
            all.map(|entry| shown.write_json(found, entry)).collect()
        };
        let candidates = self.candidates.iter().map(|one| shown.candidate_json(found, field, one));
        json!({
            "record": found.record,
            "server_id": found.server_id,
            "collection": found.collection,
            "field": field,
            "sensitive_hidden": shown.hides(&found.collection, field),
            "value": shown.json_of(found, field, row.effective(field)),
            "because": self.because(),
            "overridden": row.marks.get(field.as_str()).map(|mark| shown.mark_json(found, field, mark)),
            "candidates": candidates.collect::<Vec<_>>(),
            "written_by": writes(&mut self.made_of()),
            "waiting": writes(&mut self.waiting()),
            "will_be_shadowed": self.history.iter().any(|entry| will_be_shadowed(found, entry)),
            "set_aside": self.set_aside,
            "is_deleted": row.is_deleted,
        })
    }
}
