//! `haversack export`: every record, or one subject's, as JSON lines. Never silently incomplete: what is kept back is
//! named in the lines, counted in the last one, and told to the person at the terminal.

mod target;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use haversack::{RecordId, StoredRecord};
use serde_json::{Value as Json, json};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::outbox::whole_json;
use crate::progress::Progress;
use crate::record::conflicts;
use crate::record::shown::Shown;
use crate::session::Session;
use target::Target;

/// Version of the lines.
const FORMAT: u32 = 1;
/// Records read at a time; what an export holds in memory.
const RECORDS_AT_A_TIME: u32 = 128;

/// What to export, and where to.
#[derive(Debug, clap::Args)]
#[command(after_help = "One JSON object a line: first `export`, then each `record`,
each refused or parked `outbox` entry, last `end` with
counts; a file without `end` is not whole. --subject takes
the record and all that refers to it, directly or through
others, and of anybody else's records the ids only.

Examples:
  haversack export --output all.jsonl
  haversack export --subject CON-000001 --history \\
      --show-sensitive > kari.jsonl")]
pub(crate) struct ExportArguments {
    /// Only this record and what refers to it.
    #[arg(long, value_name = "RECORD")]
    subject: Option<String>,
    /// Include every write; always so with --subject.
    #[arg(long)]
    history: bool,
    /// Write to this file, whole or not at all.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Include fields the schema calls personal data.
    #[arg(long)]
    show_sensitive: bool,
}

/// An export under way.
struct Export<'a> {
    shown: Shown<'a>,
    with_history: bool,
    target: Target,
    counts: Counts,
    progress: Progress,
}

/// What was written, and what was not.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    records: u64,
    outbox: u64,
    sensitive_hidden: u64,
    without_schema: u64,
    fields_without_schema: u64,
    quarantined: u64,
    let_go: u64,
}

impl Counts {
    fn is_complete(self) -> bool {
        let of_records = self.without_schema + self.fields_without_schema;
        self.sensitive_hidden + of_records + self.quarantined + self.let_go == 0
    }
}

/// Exports records.
pub(crate) async fn run(session: &Session, arguments: ExportArguments) -> Result<Exit, Failure> {
    let subject = match &arguments.subject {
        Some(name) => Some(session.find(name).await?),
        None => None,
    };
    let whose = match &subject {
        Some(found) => {
            let record = found.record;
            Some(session.store.with_store(move |store| store.subject(record)).await?)
        }
        None => None,
    };
    let unread = unread(session, whose.as_ref()).await?;
    let mut export = Export {
        shown: Shown { session, with_sensitive: arguments.show_sensitive },
        with_history: arguments.history || subject.is_some(),
        target: Target::open(arguments.output.as_deref())?,
        counts: unread,
        progress: Progress::of("records", session.screen),
    };
    export.begin(subject.as_ref())?;
    match &whose {
        Some(records) => export.some(records).await?,
        None => export.all().await?,
    }
    export.outbox(whose.as_ref()).await?;
    let counts = export.end()?;
    tell(session, &arguments, counts)?;
    Ok(Exit::Done)
}

/// Counts what this library cannot read and no export holds. Whether a record of a collection the schema does not have
/// refers to a subject cannot be told, so it counts.
async fn unread(session: &Session, whose: Option<&BTreeSet<RecordId>>) -> Result<Counts, Failure> {
    let read = |store: &haversack::Store| {
        Ok((store.records_without_row()?, store.quarantined()?, store.records_let_go()?))
    };
    let (without_schema, quarantined, let_go) = session.store.with_store(read).await?;
    let concerns = |record: &RecordId| whose.is_none_or(|whose| whose.contains(record));
    let quarantined = quarantined.iter().filter(|(record, _)| concerns(record)).map(|(_, count)| count).sum();
    Ok(Counts { without_schema, quarantined, let_go, ..Counts::default() })
}

impl Export<'_> {
    fn begin(&mut self, subject: Option<&StoredRecord>) -> Result<(), Failure> {
        let subject = subject.map(|found| json!({ "record": found.record, "server_id": found.server_id }));
        self.target.line(&json!({
            "kind": "export",
            "format": FORMAT,
            "schema_version": self.shown.session.schema.version,
            "subject": subject,
            "with_history": self.with_history,
            "with_sensitive": self.shown.with_sensitive,
        }))
    }

    async fn all(&mut self) -> Result<(), Failure> {
        let mut last = None;
        loop {
            let store = &self.shown.session.store;
            let page = store.with_store(move |store| store.records_after(last, RECORDS_AT_A_TIME)).await?;
            for found in &page {
                self.record(found).await?;
            }
            let Some(found) = page.last() else { return Ok(()) };
            last = Some(found.record);
        }
    }

    async fn some(&mut self, records: &BTreeSet<RecordId>) -> Result<(), Failure> {
        for record in records {
            // One that was refused before it was ever here has its input in the outbox alone.
            if let Some(found) = self.shown.session.store.get(*record).await? {
                self.record(&found).await?;
            }
        }
        Ok(())
    }

    async fn record(&mut self, found: &StoredRecord) -> Result<(), Failure> {
        let (shown, store) = (&self.shown, &self.shown.session.store);
        let hidden = hidden_fields(shown, found);
        self.counts.sensitive_hidden += hidden.len() as u64;
        let row = &found.row;
        let has_conflicts = !row.conflicts.is_empty() || !row.beaten_marks.is_empty();
        let conflicts = if has_conflicts { store.conflicts(found.record).await? } else { vec![] };
        let mut line = shown.to_json(found);
        line["kind"] = "record".into();
        line["conflicts"] = conflicts.iter().map(|one| conflicts::to_json(shown, found, one)).collect();
        line["sensitive_hidden"] = json!(hidden);
        let record = found.record;
        let unread = store.with_store(move |store| store.fields_without_schema(record)).await?;
        self.counts.fields_without_schema += unread.len() as u64;
        line["fields_without_schema"] = json!(unread);
        if self.with_history {
            let history = store.record_history(found.record).await?;
            line["history"] = history.iter().map(|entry| shown.write_json(found, entry)).collect();
        }
        self.counts.records += 1;
        self.progress.at(self.counts.records);
        self.target.line(&line)
    }

    /// Refused and parked entries: input that no record shows.
    async fn outbox(&mut self, whose: Option<&BTreeSet<RecordId>>) -> Result<(), Failure> {
        let is_told = |record: RecordId| whose.is_none_or(|whose| whose.contains(&record));
        let session = self.shown.session;
        for entry in session.store.outbox().set_aside().await? {
            let concerns = entry.change_set.parts.iter().any(|part| is_told(part.record));
            if !concerns {
                continue;
            }
            let mut line = whole_json(session, &entry, self.shown.with_sensitive, is_told);
            let intents =
                line["parts"].as_array().into_iter().flatten().flat_map(|part| part["intents"].as_array());
            let hidden = intents.flatten().filter(|intent| intent["sensitive_hidden"] == true).count();
            self.counts.sensitive_hidden += hidden as u64;
            self.counts.outbox += 1;
            line["kind"] = "outbox".into();
            self.target.line(&line)?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<Counts, Failure> {
        let counts = self.counts;
        let mut line = counts_json(counts);
        line["kind"] = "end".into();
        self.target.line(&line)?;
        self.target.finish()?;
        Ok(counts)
    }
}

/// Every field of a record something of which is kept back.
fn hidden_fields(shown: &Shown<'_>, found: &StoredRecord) -> BTreeSet<String> {
    let row = &found.row;
    let names =
        row.fields.keys().chain(row.marks.keys()).chain(row.conflicts.keys()).chain(row.beaten_marks.keys());
    names.filter(|field| shown.hides(&found.collection, field)).map(ToString::to_string).collect()
}

fn counts_json(counts: Counts) -> Json {
    json!({
        "records": counts.records,
        "outbox": counts.outbox,
        "sensitive_hidden": counts.sensitive_hidden,
        "records_without_schema": counts.without_schema,
        "fields_without_schema": counts.fields_without_schema,
        "changes_quarantined": counts.quarantined,
        "records_let_go": counts.let_go,
        "is_complete": counts.is_complete(),
    })
}

/// Tells what was exported: beside a file on the standard output, else on the standard error, and what is missing in any
/// case.
fn tell(session: &Session, arguments: &ExportArguments, counts: Counts) -> Result<(), Failure> {
    let screen = session.screen;
    if arguments.output.is_some() {
        if screen.is_json {
            screen.json(&counts_json(counts))?;
        } else {
            let text =
                format!("{} records and {} refused or parked edits exported", counts.records, counts.outbox);
            screen.line(None, &text)?;
        }
    }
    if screen.is_json {
        return Ok(());
    }
    let mut missing = vec![];
    if counts.sensitive_hidden > 0 {
        missing.push(format!("{} sensitive fields are kept back; --show-sensitive", counts.sensitive_hidden));
    }
    if counts.without_schema > 0 {
        let count = counts.without_schema;
        missing.push(format!("{count} records are of collections this schema does not have"));
    }
    if counts.fields_without_schema > 0 {
        let count = counts.fields_without_schema;
        missing.push(format!("{count} fields of records are none this schema has; update the schema"));
    }
    if counts.let_go > 0 {
        let count = counts.let_go;
        missing.push(format!("{count} records are kept by the server alone: their keep_days are over"));
    }
    if counts.quarantined > 0 {
        missing
            .push(format!("{} changes are in quarantine; no version here can read them", counts.quarantined));
    }
    for text in missing {
        // Nobody reading it is fine: the last line of the export says it, too.
        let _ = writeln!(io::stderr(), "not exported: {text}");
    }
    Ok(())
}
