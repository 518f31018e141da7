//! `haversack import`: one create per line, in batches; resumable, for a line's record id is a function of the line.

mod identity;
mod source;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use haversack::{
    Changes, CollectionSchema, EditRefusal, FieldKind, RecordId, Reference, Value, ValueRefusal,
    value_from_json,
};
use serde_json::{Map, Value as Json, json};

use crate::exit::Exit;
use crate::failure::{Failure, edit_code};
use crate::present::harmless;
use crate::progress::Progress;
use crate::record::assignment::{kind_of, parse_value};
use crate::session::Session;
use identity::{By, Namer};
use source::{Format, Line, Source};

/// Lines stored in one transaction.
const LINES_AT_A_TIME: usize = 128;
/// Refused lines the summary for programs lists; it counts all.
const REFUSALS_LISTED_MAX: usize = 1_000;
/// Stands between elements of a set in a CSV cell.
const ELEMENTS_APART: char = ';';

/// What to import, and as what.
#[derive(Debug, clap::Args)]
#[command(after_help = "JSON lines: one object a line, fields by name, values as
`get --json` shows them. CSV: a header row names fields;
elements of a set stand apart by `;`. An empty cell or null
is no value.

Import the same file again as often as you like: a line's
record id follows from the import's name and its key, or all
it says, so nothing is created twice. A refused line is
named, the rest goes on; correct it and import again.

Examples:
  haversack import contact contacts.csv --key customer_number
  haversack import contact new.jsonl --dry-run")]
pub(crate) struct ImportArguments {
    /// Collection of the records.
    collection: String,
    /// File; - is the standard input.
    file: PathBuf,
    /// Name of the import; the file's name when absent.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Column that tells lines apart; need not be a field.
    #[arg(long, value_name = "COLUMN")]
    key: Option<String>,
    /// What the file holds; told by its ending when absent.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Character between the cells of CSV.
    #[arg(long, value_name = "CHAR", default_value_t = ',')]
    delimiter: char,
    /// Check every line and store nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Why a line is not imported; never holds a value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    line: u64,
    field: Option<String>,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn of_line(line: u64, code: &'static str, message: String) -> Self {
        Self { line, field: None, code, message }
    }

    fn of_edit(line: u64, refusal: &EditRefusal) -> Self {
        let field = match refusal {
            EditRefusal::UnknownField { field, .. }
            | EditRefusal::Value { field, .. }
            | EditRefusal::Required { field, .. }
            | EditRefusal::Forbidden { field, .. }
            | EditRefusal::WrongOperation { field, .. }
            | EditRefusal::UnknownReference { field, .. }
            | EditRefusal::WrittenTwice { field, .. } => Some(field.clone()),
            _ => None,
        };
        Self { line, field, code: edit_code(refusal), message: refusal.to_string() }
    }
}

/// A line ready to be stored.
#[derive(Clone, Debug)]
struct Ready {
    line: u64,
    record: RecordId,
    changes: Changes,
}

/// An import under way.
struct Import<'a> {
    session: &'a Session,
    arguments: &'a ImportArguments,
    schema: &'a CollectionSchema,
    namer: Namer,
    keyed: BTreeSet<RecordId>,
    set_aside: BTreeSet<RecordId>,
    batch: Vec<Ready>,
    created: u64,
    there: u64,
    refused: u64,
    refusals: Vec<Refusal>,
}

/// Imports records.
pub(crate) async fn run(session: &Session, arguments: ImportArguments) -> Result<Exit, Failure> {
    let schema = session.collection(&arguments.collection)?;
    let delimiter = u8::try_from(arguments.delimiter).ok().filter(u8::is_ascii);
    let delimiter = delimiter.ok_or(Failure::Sentence("the delimiter is one ASCII character"))?;
    let (reader, name, format) = open(&arguments)?;
    let mut source = Source::open(reader, format, delimiter)?;
    for column in source.columns().filter(|column| arguments.key.as_deref() != Some(*column)) {
        kind_of((&arguments.collection, schema), column)?;
    }
    let mut import = Import {
        session,
        arguments: &arguments,
        schema,
        namer: Namer::new(&arguments.collection, &name),
        keyed: BTreeSet::new(),
        set_aside: set_aside(session).await?,
        batch: vec![],
        created: 0,
        there: 0,
        refused: 0,
        refusals: vec![],
    };
    let progress = Progress::of("lines", session.screen);
    while let Some(line) = source.next()? {
        match line.and_then(|line| import.prepare(line)) {
            Ok(ready) => import.batch.push(ready),
            Err(refusal) => import.refuse(refusal),
        }
        if import.batch.len() >= LINES_AT_A_TIME {
            import.store().await?;
            progress.at(import.created + import.there + import.refused);
        }
    }
    import.store().await?;
    drop(progress);
    import.tell(&name)
}

fn open(arguments: &ImportArguments) -> Result<(Box<dyn BufRead>, String, Format), Failure> {
    let path = &arguments.file;
    let is_csv = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    let format = arguments.format.unwrap_or(if is_csv { Format::Csv } else { Format::Jsonl });
    let is_standard_input = path == Path::new("-");
    let file_name = path.file_name().filter(|_| !is_standard_input).and_then(|name| name.to_str());
    let name = arguments.name.as_deref().or(file_name);
    let name = name.ok_or(Failure::Sentence("name the import: --name NAME"))?.to_owned();
    if is_standard_input {
        return Ok((Box::new(BufReader::new(io::stdin())), name, format));
    }
    let failed = |source| Failure::File { what: "the import file".to_owned(), source };
    Ok((Box::new(BufReader::new(File::open(path).map_err(failed)?)), name, format))
}

/// Records whose creation was refused or parked: their input waits in the outbox, and is not made a second time.
async fn set_aside(session: &Session) -> Result<BTreeSet<RecordId>, Failure> {
    let entries = session.store.outbox().set_aside().await?;
    Ok(entries.iter().flat_map(|entry| entry.change_set.created()).collect())
}

impl Import<'_> {
    /// Names a line's record and reads its fields.
    fn prepare(&mut self, line: Line) -> Result<Ready, Refusal> {
        let Line { number, mut fields } = line;
        let record = match &self.arguments.key {
            Some(column) => {
                let is_field = self.schema.field(column).is_some();
                let key = if is_field { fields.get(column).cloned() } else { fields.remove(column) };
                let missing = || Refusal {
                    field: Some(column.clone()),
                    ..Refusal::of_line(number, "no-key", "the line has no key".to_owned())
                };
                let key = match key.ok_or_else(missing)? {
                    Json::String(text) => text,
                    other => other.to_string(),
                };
                self.namer.name(By::Key(&key))
            }
            None => {
                let line = Json::Object(fields.clone()).to_string();
                self.namer.name(By::Line(&line))
            }
        };
        if self.arguments.key.is_some() && !self.keyed.insert(record) {
            let text = "an earlier line has the same key".to_owned();
            return Err(Refusal {
                field: self.arguments.key.clone(),
                ..Refusal::of_line(number, "same-key", text)
            });
        }
        let changes = self.changes(&fields).map_err(|refusal| Refusal::of_edit(number, &refusal))?;
        Ok(Ready { line: number, record, changes })
    }

    fn changes(&self, fields: &Map<String, Json>) -> Result<Changes, EditRefusal> {
        let name = &self.arguments.collection;
        fields.iter().try_fold(Changes::new(), |changes, (field, value)| {
            let kind = kind_of((name, self.schema), field)?;
            let refused =
                |source| EditRefusal::Value { collection: name.clone(), field: field.clone(), source };
            Ok(changes.put(field, value_of(kind, value).map_err(refused)?))
        })
    }

    /// Stores the batch: in one transaction, or, where one of its lines is refused, line by line.
    async fn store(&mut self) -> Result<(), Failure> {
        let batch = self.not_there_yet().await?;
        if batch.is_empty() {
            return Ok(());
        }
        match self.write(&batch).await {
            Ok(()) => self.created += batch.len() as u64,
            Err(failure) if refusal_of(&failure).is_some() => {
                for ready in &batch {
                    match self.write(std::slice::from_ref(ready)).await {
                        Ok(()) => self.created += 1,
                        Err(failure) => match refusal_of(&failure) {
                            Some(refusal) => self.refuse(Refusal::of_edit(ready.line, refusal)),
                            None => return Err(failure),
                        },
                    }
                }
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Takes the batch, without what an earlier import stored.
    async fn not_there_yet(&mut self) -> Result<Vec<Ready>, Failure> {
        let batch = std::mem::take(&mut self.batch);
        let records: Vec<_> = batch.iter().map(|ready| ready.record).collect();
        let known = self.session.store.with_store(move |store| {
            records
                .into_iter()
                .map(|record| store.resolve(&Reference::Record(record)))
                .collect::<Result<Vec<_>, _>>()
        });
        let known: BTreeSet<_> = known.await?.into_iter().flatten().collect();
        let count = batch.len();
        let is_there = |record: &RecordId| known.contains(record) || self.set_aside.contains(record);
        let new: Vec<_> = batch.into_iter().filter(|ready| !is_there(&ready.record)).collect();
        self.there += (count - new.len()) as u64;
        Ok(new)
    }

    async fn write(&self, batch: &[Ready]) -> Result<(), Failure> {
        let records = batch.iter().map(|ready| (ready.record, ready.changes.clone())).collect();
        let collection = self.session.store.collection(&self.arguments.collection);
        let written = if self.arguments.dry_run {
            collection.check_all(records).await
        } else {
            collection.create_all(records).await
        };
        Ok(written?)
    }

    /// Tells a refused line at once, and keeps it for the summary.
    fn refuse(&mut self, refusal: Refusal) {
        self.refused += 1;
        if !self.session.screen.is_json {
            let text = harmless(&format!("line {}: {}", refusal.line, refusal.message));
            // Nobody reading it is fine: the summary counts it.
            let _ = writeln!(io::stderr(), "{text}");
        } else if self.refusals.len() < REFUSALS_LISTED_MAX {
            self.refusals.push(refusal);
        }
    }

    fn tell(&self, name: &str) -> Result<Exit, Failure> {
        let screen = self.session.screen;
        if screen.is_json {
            let refusal = |one: &Refusal| json!({ "line": one.line, "field": one.field, "code": one.code, "message": one.message });
            screen.json(&json!({
                "collection": self.arguments.collection,
                "import": name,
                "dry_run": self.arguments.dry_run,
                "created": self.created,
                "already_there": self.there,
                "refused": self.refused,
                "refusals": self.refusals.iter().map(refusal).collect::<Vec<_>>(),
            }))?;
        } else {
            let created = if self.arguments.dry_run { "would be created" } else { "created" };
            let text =
                format!("{} {created}, {} there already, {} refused", self.created, self.there, self.refused);
            screen.line(None, &text)?;
        }
        Ok(match (self.refused, self.created + self.there) {
            (0, _) => Exit::Done,
            (_, 0) => Exit::Refused,
            _ => Exit::Partly,
        })
    }
}

/// Reads a value of a line: JSON as it is, the text of a cell as the command line would.
fn value_of(kind: FieldKind, value: &Json) -> Result<Value, ValueRefusal> {
    match (kind, value) {
        (FieldKind::Set, Json::String(cell)) => {
            let elements = cell.split(ELEMENTS_APART).map(str::trim).filter(|element| !element.is_empty());
            Ok(Value::Set(elements.map(str::to_owned).collect()))
        }
        (
            FieldKind::Integer | FieldKind::Counter | FieldKind::Float | FieldKind::Boolean,
            Json::String(cell),
        ) => parse_value(kind, cell),
        _ => value_from_json(kind, value),
    }
}

fn refusal_of(failure: &Failure) -> Option<&EditRefusal> {
    match failure {
        Failure::Library(error) => error.edit_refusal(),
        _ => None,
    }
}
