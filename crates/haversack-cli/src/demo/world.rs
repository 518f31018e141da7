//! Everything the demo plays with: processes, records, the journal the model is folded from, and what was claimed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use haversack::{FieldKind, RecordId, Role, Schema};
use serde_json::{Value as Json, json};

use super::console::Console;
use super::model::{Event, Write};
use super::phone::{Command, Registration};
use super::process::{DemoError, Phone, PhoneStatus, Server};
use super::records::{Plan, Planned};
use super::search::{Found, Needles};

/// Tenant of the demo.
pub(super) const TENANT: &str = "field-day";
/// Place of the coordinator among the phones.
pub(super) const COORDINATOR: usize = 2;
/// Deadline of one round trip a barrier asks for.
const SYNC_MS: u64 = 60_000;
/// Pause between two looks at a phone that works by itself.
const LOOK: Duration = Duration::from_millis(80);
/// Looks before a phone that should get done is called stuck.
const LOOKS_MAX: u32 = 1500;

/// Something the demo asserts.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Claim {
    pub(super) stage: String,
    pub(super) claim: String,
    pub(super) holds: bool,
}

/// A stage as the summary tells it.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct StageReport {
    pub(super) stage: String,
    pub(super) counts: Json,
    pub(super) skipped: Option<String>,
}

/// Splitmix64: chance that a seed repeats.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound.max(1) as u64).unwrap_or(0)
    }
}

/// The whole stage.
pub(super) struct World {
    pub(super) console: Console,
    pub(super) schema: Schema,
    pub(super) schema_text: String,
    pub(super) plan: Plan,
    /// Fields a rule of the server is about.
    pub(super) ruled: BTreeSet<(String, String)>,
    pub(super) phones: Vec<Phone>,
    pub(super) server: Server,
    pub(super) chance: Chance,
    pub(super) events: Vec<Event>,
    /// Events each phone knows.
    known: Vec<BTreeSet<usize>>,
    pub(super) needles: Needles,
    pub(super) claims: Vec<Claim>,
    pub(super) reports: Vec<StageReport>,
    pub(super) searches: Vec<(String, Found)>,
}

impl World {
    pub(super) fn new(
        console: Console,
        (schema, schema_text): (Schema, String),
        (plan, ruled): (Plan, BTreeSet<(String, String)>),
        folder: &Path,
        keys: [[u8; 32]; 3],
        seed: u64,
    ) -> Self {
        let names =
            [("mentor-1", Role::Mentor), ("mentor-2", Role::Mentor), ("coordinator", Role::Coordinator)];
        let phones = names.into_iter().zip(keys);
        let phones =
            phones.map(|((name, role), key)| Phone::new(name, role, folder.join("phones").join(name), key));
        Self {
            console,
            schema,
            schema_text,
            plan,
            ruled,
            phones: phones.collect(),
            server: Server::new(&folder.join("server"), TENANT),
            chance: Chance(seed),
            events: vec![],
            known: vec![BTreeSet::new(); 3],
            needles: Needles::default(),
            claims: vec![],
            reports: vec![],
            searches: vec![],
        }
    }

    /// Notes something that must be so.
    pub(super) fn claim(&mut self, stage: &str, holds: bool, claim: impl Into<String>) {
        self.claims.push(Claim { stage: stage.to_owned(), claim: claim.into(), holds });
    }

    /// Ends a stage: its facts on the console, its counts in the summary, its failed claims in plain sight.
    pub(super) fn end_stage(&mut self, stage: &str, mut facts: Vec<String>, counts: Json) {
        let failed = self.claims.iter().filter(|claim| claim.stage == stage && !claim.holds);
        facts.extend(failed.map(|claim| format!("FAILED: {}", claim.claim)));
        self.console.end(&facts);
        self.reports.push(StageReport { stage: stage.to_owned(), counts, skipped: None });
    }

    pub(super) fn skip_stage(&mut self, stage: &str, reason: &str) {
        self.console.skip(stage, reason);
        let skipped = Some(reason.to_owned());
        self.reports.push(StageReport { stage: stage.to_owned(), counts: json!({}), skipped });
    }

    /// Writes an event into the journal: its author knows it and saw what the author knew of that record.
    pub(super) fn journal(
        &mut self,
        phone: usize,
        record: RecordId,
        collection: &str,
        creates: bool,
        writes: Vec<Write>,
    ) {
        let record = record.to_string();
        let of_record = |event: &&usize| self.events[**event].record == record;
        let seen = self.known[phone].iter().filter(of_record).copied().collect();
        self.known[phone].insert(self.events.len());
        for write in &writes {
            note_needles(&mut self.needles, write);
        }
        self.events.push(Event { phone, record, collection: collection.to_owned(), creates, writes, seen });
    }

    /// The writes of a creation, in the order the library makes them: by field name.
    pub(super) fn writes_of(&self, collection: &str, fields: &BTreeMap<String, Json>) -> Vec<Write> {
        let schema = self.schema.collection(collection);
        let kind = |name: &str| schema.and_then(|schema| schema.field(name)).map(|field| field.kind);
        let mut writes = Vec::new();
        for (name, json) in fields {
            match kind(name) {
                Some(FieldKind::Counter) => {
                    writes.push(Write::Step(name.clone(), json.as_i64().unwrap_or(0)))
                }
                Some(FieldKind::Set) => {
                    let elements = json.as_array().into_iter().flatten().filter_map(Json::as_str);
                    writes.extend(elements.map(|element| Write::Add(name.clone(), element.to_owned())));
                }
                _ => writes.push(Write::Set(name.clone(), json.clone())),
            }
        }
        writes
    }

    /// Notes a planned record as registered.
    pub(super) fn journal_registered(&mut self, phone: usize, planned: &Planned) {
        let writes = self.writes_of(&planned.collection, &planned.fields);
        self.needles.add_text(&planned.record.to_string());
        self.needles.add_bytes(planned.record.as_bytes());
        self.journal(phone, planned.record, &planned.collection, true, writes);
    }

    /// Edits fields of a record on one phone and notes it.
    pub(super) async fn edit(
        &mut self,
        phone: usize,
        record: RecordId,
        collection: &str,
        fields: BTreeMap<String, Json>,
    ) -> Result<(), DemoError> {
        let writes = self.writes_of(collection, &fields);
        let command = Command::Edit { record, collection: collection.to_owned(), fields };
        self.phones[phone].ask::<Json>(command).await?;
        self.journal(phone, record, collection, false, writes);
        Ok(())
    }

    pub(super) async fn set_online(&mut self, phone: usize, is_online: bool) -> Result<(), DemoError> {
        self.phones[phone].ask::<Json>(Command::Online(is_online)).await.map(drop)
    }

    /// Lets every phone send and fetch until all know everything.
    pub(super) async fn meet(&mut self) -> Result<(), DemoError> {
        for _ in 0..2 {
            for phone in &mut self.phones {
                phone.ask::<u64>(Command::Sync { deadline_ms: SYNC_MS }).await?;
            }
        }
        let all: BTreeSet<usize> = (0..self.events.len()).collect();
        self.known.fill(all);
        Ok(())
    }

    /// Watches phones until `is_done` says so of all of them; they work by themselves meanwhile.
    pub(super) async fn watch(
        &mut self,
        phones: &[usize],
        is_done: impl Fn(&PhoneStatus) -> bool,
        mut show: impl FnMut(&mut Console, &[PhoneStatus]),
    ) -> Result<bool, DemoError> {
        for _ in 0..LOOKS_MAX {
            let mut all = Vec::with_capacity(phones.len());
            for phone in phones {
                all.push(self.phones[*phone].status().await?);
            }
            show(&mut self.console, &all);
            if all.iter().all(&is_done) {
                return Ok(true);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(false)
    }

    /// Kills whatever still runs and waits for its end.
    pub(super) async fn end(&mut self) {
        for phone in &mut self.phones {
            phone.kill().await;
        }
        self.server.kill().await;
    }

    /// Searches the store folders for every needle.
    pub(super) fn search(&mut self, moment: &str, folder: &Path) -> Result<(), DemoError> {
        let found = self.needles.searcher().search(&folder.join("phones"));
        let found = found.map_err(|error| DemoError::File("the store folders".to_owned(), error))?;
        self.searches.push((moment.to_owned(), found));
        Ok(())
    }
}

/// A planned record as a phone is told of it.
pub(super) fn registration(planned: &Planned) -> Registration {
    let Planned { record, collection, fields, .. } = planned.clone();
    Registration { record, collection, fields }
}

fn note_needles(needles: &mut Needles, write: &Write) {
    let mut add = |json: &Json| match json {
        Json::String(text) => needles.add_text(text),
        Json::Number(number) => needles.add_text(&number.to_string()),
        _ => {}
    };
    match write {
        Write::Set(_, value) => add(value),
        Write::Mark { value, reason, .. } => {
            add(value);
            add(&json!(reason));
        }
        Write::Add(_, element) => add(&json!(element)),
        Write::Step(..) => {}
    }
}
