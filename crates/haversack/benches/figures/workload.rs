//! The work: activity registrations of 15 fields, about 600 bytes as JSON, the same at every run.

use std::collections::BTreeSet;

use haversack::{
    ChangeSet, ChangeSetId, Intent, Part, RecordId, Schema, SchemaRefusal, UnixMillis, Value, value_to_json,
};
use serde_json::{Value as Json, json};
use uuid::Uuid;

/// Name of the collection.
pub(crate) const ACTIVITY: &str = "activity";
/// Version of the schema.
pub(crate) const VERSION: u32 = 1;

const SEED: u32 = 20_240_607;
const FIRST_DAY_MS: i64 = 1_704_700_800_000;
const WORDS: &str = "walked along river talked school housing letter coffee clinic family visit called twice agreed \
    next week football library form benefits appointment brother tired better plan budget cooking bus late cancelled \
    museum course language exam friend neighbour doctor rent garden market swimming music quiet worried proud laughed \
    practised";
const KINDS: [&str; 7] = ["walk", "talk", "homework", "sport", "paperwork", "outing", "phone_call"];
const TAGS: [&str; 11] = [
    "youth",
    "refugee",
    "elderly",
    "sport",
    "school",
    "health",
    "housing",
    "debt",
    "language",
    "first_visit",
    "follow_up",
];
const PLACES: [&str; 6] = [
    "Utrecht, Kanaalstraat 12",
    "Amersfoort, De Nieuwe Erven",
    "Zeist, Slotlaan 201",
    "Nieuwegein, City Plaza",
    "Houten, Het Rond 1",
    "De Bilt, Hessenweg 85",
];
const ORGANISATIONS: [&str; 3] = ["org-midden-nederland", "org-eemland", "org-lekstroom"];
const STATUSES: [&str; 3] = ["draft", "submitted", "approved"];

/// The schema; `indexed` names fields that can be filtered by.
pub(crate) fn schema(indexed: &[&str]) -> Result<Schema, SchemaRefusal> {
    let kinds = [
        ("uuid", "text"),
        ("type", "text"),
        ("mentor_id", "text"),
        ("contact_id", "text"),
        ("organisation", "text"),
        ("started_at", "instant"),
        ("duration_minutes", "integer"),
        ("location", "text"),
        ("notes", "text"),
        ("tags", "set"),
        ("travel_km", "float"),
        ("expenses", "float"),
        ("status", "text"),
        ("created_at", "instant"),
        ("updated_at", "instant"),
    ];
    let fields: serde_json::Map<_, _> = kinds
        .into_iter()
        .map(|(name, kind)| {
            (name.to_owned(), serde_json::json!({ "kind": kind, "indexed": indexed.contains(&name) }))
        })
        .collect();
    let schema = serde_json::json!({ "version": VERSION, "collections": { ACTIVITY: { "fields": fields } } });
    Schema::from_json(&schema.to_string())
}

/// Draws registrations; a small generator of its own, so that no library's update changes the work.
pub(crate) struct Workload {
    state: u32,
    clock_ms: i64,
    mentors: Vec<String>,
    contacts: Vec<String>,
}

impl Workload {
    pub(crate) fn new() -> Self {
        let mut drawn = Self { state: SEED, clock_ms: FIRST_DAY_MS, mentors: vec![], contacts: vec![] };
        drawn.mentors = (0..40).map(|_| drawn.uuid()).collect();
        drawn.contacts = (0..400).map(|_| drawn.uuid()).collect();
        drawn
    }

    /// mulberry32.
    fn fraction(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x6d2b_79f5);
        let mut t = (self.state ^ (self.state >> 15)).wrapping_mul(1 | self.state);
        t = t.wrapping_add((t ^ (t >> 7)).wrapping_mul(61 | t)) ^ t;
        f64::from(t ^ (t >> 14)) / 4_294_967_296.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.fraction() * end as f64) as usize
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn uuid(&mut self) -> String {
        let bytes: Vec<u8> = (0..16).map(|_| self.below(256) as u8).collect();
        let bytes: [u8; 16] = bytes.try_into().unwrap_or_default();
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// The intents of the next registration.
    pub(crate) fn registration(&mut self) -> Vec<Intent> {
        self.fields().into_iter().flat_map(|(field, value)| intents(field, value)).collect()
    }

    fn fields(&mut self) -> [(&'static str, Value); 15] {
        let text = |text: &str| Value::Text(text.to_owned());
        self.clock_ms += self.below(1_800_000) as i64;
        let now = Value::Instant(UnixMillis(self.clock_ms));
        let started = Value::Instant(UnixMillis(self.clock_ms - self.below(86_400_000) as i64));
        let (mentor, contact) = (self.below(40), self.below(400));
        [
            ("uuid", Value::Text(self.uuid())),
            ("type", text(self.pick(&KINDS))),
            ("mentor_id", Value::Text(self.mentors[mentor].clone())),
            ("contact_id", Value::Text(self.contacts[contact].clone())),
            ("organisation", text(self.pick(&ORGANISATIONS))),
            ("started_at", started),
            ("duration_minutes", Value::Integer(15 + 5 * self.below(40) as i64)),
            ("location", text(self.pick(&PLACES))),
            ("notes", Value::Text(self.notes())),
            ("tags", Value::Set(self.tags())),
            ("travel_km", Value::Float((self.fraction() * 400.0).round() / 10.0)),
            ("expenses", Value::Float((self.fraction() * 3000.0).round() / 100.0)),
            ("status", text(self.pick(&STATUSES))),
            ("created_at", now.clone()),
            ("updated_at", now),
        ]
    }

    /// The next registration as JSON, its tags in order.
    pub(crate) fn record(&mut self) -> Json {
        let mut record = json!({});
        for (field, value) in self.fields() {
            record[field] = value_to_json(&value);
        }
        record
    }

    fn notes(&mut self) -> String {
        let words: Vec<_> = WORDS.split_whitespace().collect();
        let mut notes = String::new();
        while notes.len() < 112 {
            if !notes.is_empty() {
                notes.push(' ');
            }
            notes.push_str(self.pick(&words));
        }
        notes
    }

    fn tags(&mut self) -> BTreeSet<String> {
        let mut tags = BTreeSet::new();
        while tags.len() < 3 {
            tags.insert(self.pick(&TAGS).to_owned());
        }
        tags
    }

    /// A change set that creates the next registration.
    pub(crate) fn creation(&mut self) -> ChangeSet {
        let record = RecordId::from_uuid(Uuid::now_v7());
        let intents = self.registration();
        change_set(Part { record, collection: ACTIVITY.to_owned(), creates: true, intents })
    }
}

/// A change set that edits one field.
pub(crate) fn one_field_edit(record: RecordId, round: usize) -> ChangeSet {
    let value = Value::Text(format!("verified {round}"));
    let intents = vec![Intent::Set { field: "status".to_owned(), value }];
    change_set(Part { record, collection: ACTIVITY.to_owned(), creates: false, intents })
}

/// What writes a whole field: one intent, or one for each member of a set.
fn intents(field: &str, value: Value) -> Vec<Intent> {
    let field = field.to_owned();
    match value {
        Value::Set(elements) => {
            let add = |element| Intent::Add { field: field.clone(), element };
            elements.into_iter().map(add).collect()
        }
        value => vec![Intent::Set { field, value }],
    }
}

fn change_set(part: Part) -> ChangeSet {
    let id = ChangeSetId::from_uuid(Uuid::now_v7());
    let at = UnixMillis(i64::try_from(id_millis(&id)).unwrap_or_default());
    ChangeSet { id, at, schema_version: VERSION, after: vec![], parts: vec![part] }
}

/// The milliseconds a time-ordered id begins with.
fn id_millis(id: &ChangeSetId) -> u64 {
    id.as_bytes()[..6].iter().fold(0, |millis, byte| millis << 8 | u64::from(*byte))
}
