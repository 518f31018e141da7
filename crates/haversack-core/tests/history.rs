//! Laws of a record's history: it says of every write what became of it, and says it alike everywhere.

use haversack_core::outbox::{BaseHeads, Entry, EntryState, Freezer, Lane};
use haversack_core::{
    ChangeSet, Document, Intent, Mark, Origin, Part, PastWrite, Reference, Row, Standing, Value, Write,
    admit_from_server, history, id_map, overlay, project,
};
use haversack_protocol::{
    ChangeSetId, CollectionSchema, DeviceId, PrincipalId, RecordId, Role, Schema, ServerId, UnixMillis,
};
use quickcheck::{Arbitrary, Gen, quickcheck};

const SCHEMA: &str = r#"{"version":1,"collections":{
  "contact":{"fields":{"name":{"kind":"text"}}},
  "visit":{"fields":{"note":{"kind":"text"},"minutes":{"kind":"integer"},"contact":{"kind":"reference","target":"contact"},
    "calls":{"kind":"counter"},"tags":{"kind":"set"}}}}}"#;

fn schema() -> Schema {
    Schema::from_json(SCHEMA).expect("valid")
}

fn visit(schema: &Schema) -> &CollectionSchema {
    schema.collection("visit").expect("present")
}

fn record(n: u8) -> RecordId {
    RecordId::from_bytes([n; 16])
}

fn device(n: u8) -> DeviceId {
    DeviceId::from_bytes([n, 1, 2, 3, 4, 5, 6, 7])
}

fn entry(n: u16, creates: bool, intents: Vec<Intent>, on: &Document) -> Entry {
    let mut id = [9; 16];
    id[..2].copy_from_slice(&n.to_be_bytes());
    let part = Part { record: record(1), collection: "visit".into(), creates, intents };
    let (id, at) = (ChangeSetId::from_bytes(id), UnixMillis(i64::from(n)));
    Entry {
        order: i64::from(n),
        priority: 0,
        change_set: ChangeSet { id, at, schema_version: 1, after: vec![], parts: vec![part] },
        base: vec![BaseHeads { record: record(1), epoch: 0, heads: on.heads() }],
        frozen: vec![],
        state: EntryState::Pending,
        attempts: 0,
        last_error: None,
        next_try: None,
    }
}

/// Edits of one author that a law looks at: enough for every kind to meet itself twice.
const EDITS_MAX: usize = 24;

fn entries(on: &Document, edits: &[Edit], first: u16) -> Vec<Entry> {
    (first..)
        .zip(edits.iter().take(EDITS_MAX))
        .map(|(n, edit)| entry(n, false, vec![edit.0.clone()], on))
        .collect()
}

fn author(on: &Document, who: u8, entries: &[Entry]) -> Vec<Vec<u8>> {
    let schema = schema();
    let mut freezer = Freezer::new(device(who), &schema);
    freezer.open(record(1), Lane { document: Some(on.clone()), ..Lane::default() }).expect("opens");
    entries.iter().map(|entry| freezer.freeze(entry).expect("freezes").remove(0).change).collect()
}

fn with_all(from: &Document, changes: &[Vec<u8>]) -> Document {
    changes.iter().filter(|change| !change.is_empty()).fold(from.clone(), |document, change| {
        let actor = haversack_core::inspect(change).expect("ours").actor;
        let sender = DeviceId::from_bytes(*actor.first_chunk().expect("a device's actor"));
        admit_from_server(&document, change, Some(sender)).expect("honest").expect("new").0
    })
}

fn created() -> Document {
    let nothing = Document::empty();
    let creation = entry(0, true, vec![set("note", Value::Text("first".into()))], &nothing);
    with_all(&nothing, &author(&nothing, 1, &[creation]))
}

fn set(field: &str, value: Value) -> Intent {
    Intent::Set { field: field.into(), value }
}

fn mark(n: i64) -> Intent {
    let mark = Mark {
        value: (n > 0).then_some(Value::Integer(n)),
        by: PrincipalId::new("siv").expect("plain"),
        role: Role::Coordinator,
        at: UnixMillis(n),
        reason: "counted again".into(),
    };
    Intent::Override { field: "minutes".into(), mark }
}

#[derive(Clone, Debug)]
struct Edit(Intent);

impl Arbitrary for Edit {
    fn arbitrary(g: &mut Gen) -> Self {
        let small = i64::from(u8::arbitrary(g) % 3);
        let element = small.to_string();
        Self(match u8::arbitrary(g) % 12 {
            0 => set("note", Value::Text(element)),
            1 => Intent::Clear { field: "note".into() },
            2 | 3 => set("minutes", Value::Integer(small)),
            4 => set("contact", Value::Reference(Reference::Record(record(50 + u8::arbitrary(g) % 2)))),
            5 => mark(small),
            6 => Intent::Release { field: "minutes".into() },
            7 => Intent::Add { field: "tags".into(), element },
            8 => Intent::Remove { field: "tags".into(), element },
            9 => Intent::Increment { field: "calls".into(), by: small - 1 },
            10 => Intent::Delete,
            _ => Intent::Restore,
        })
    }
}

/// What a row would show that was made of nothing but a history.
fn shown_by(all: &[PastWrite]) -> Row {
    let mut row = Row { schema_version: 1, ..Row::default() };
    row.fields.insert("calls".into(), Value::Counter(0));
    for past in all {
        let is_shown = past.standing == Standing::Shown;
        match &past.write {
            Write::Register { field, value: Some(value) }
                if is_shown || past.standing == Standing::Shadowed =>
            {
                assert!(
                    row.fields.insert(field.as_str().into(), value.clone()).is_none(),
                    "one value is shown"
                );
            }
            Write::Mark { field, mark: Some(mark) } if is_shown => {
                assert!(row.marks.insert(field.as_str().into(), mark.clone()).is_none(), "one mark is shown");
            }
            Write::Member { field, element, is_added } if is_shown => {
                let set = row.fields.entry(field.as_str().into()).or_insert_with(|| Value::Set([].into()));
                let Value::Set(elements) = set else { panic!("a set") };
                if *is_added {
                    elements.insert(element.clone());
                } else {
                    assert!(!elements.contains(element), "what was removed is not shown");
                }
            }
            Write::Step { by, .. } => {
                let Some(Value::Counter(sum)) = row.fields.get_mut("calls") else { panic!("a counter") };
                *sum += by;
            }
            Write::Deleted(is_deleted) if is_shown => row.is_deleted |= is_deleted,
            _ => {}
        }
    }
    row.fields.retain(|_, value| *value != Value::Set([].into()));
    row
}

fn shows_the_same(shown: &Row, expected: &Row) -> bool {
    (&shown.fields, &shown.marks, shown.is_deleted)
        == (&expected.fields, &expected.marks, expected.is_deleted)
}

fn history_of(document: &Document, live: &[Entry]) -> Vec<PastWrite> {
    let schema = schema();
    history(record(1), visit(&schema), Some(document), live).expect("readable")
}

quickcheck! {
    fn what_a_history_calls_shown_is_what_the_row_shows(
        ours: Vec<Edit>, theirs: Vec<Edit>, later: Vec<Edit>, waiting: Vec<Edit>
    ) -> bool {
        let schema = schema();
        let base = created();
        let merged = with_all(&base, &author(&base, 1, &entries(&base, &ours, 1)));
        let merged = with_all(&merged, &author(&base, 2, &entries(&base, &theirs, 500)));
        let merged = with_all(&merged, &author(&merged, 3, &entries(&merged, &later, 1000)));
        let live = entries(&merged, &waiting, 1500);
        let mut row = project(&merged, visit(&schema));
        let is_right = shows_the_same(&shown_by(&history_of(&merged, &[])), &row);
        live.iter().for_each(|entry| overlay(&mut row, &entry.change_set.parts[0]));
        is_right && shows_the_same(&shown_by(&history_of(&merged, &live)), &row)
    }

    fn a_history_does_not_depend_on_the_order_of_merging(ours: Vec<Edit>, theirs: Vec<Edit>) -> bool {
        let base = created();
        let ours = author(&base, 1, &entries(&base, &ours, 1));
        let theirs = author(&base, 2, &entries(&base, &theirs, 500));
        let forth = with_all(&with_all(&base, &ours), &theirs);
        let back = with_all(&with_all(&base, &theirs), &ours);
        let loaded = Document::load(&back.save()).expect("loads");
        let expected = history_of(&forth, &[]);
        history_of(&back, &[]) == expected && history_of(&loaded, &[]) == expected
    }

    fn a_history_shows_what_the_row_shows_after_a_rewrite_too(ours: Vec<Edit>, theirs: Vec<Edit>) -> bool {
        let schema = schema();
        let base = created();
        let mut merged = with_all(&base, &author(&base, 1, &entries(&base, &ours, 1)));
        merged = with_all(&merged, &author(&base, 2, &entries(&base, &theirs, 500)));
        let resolve = |record: RecordId| ServerId::new(format!("CON-{}", record.as_bytes()[0])).ok();
        let before = history_of(&merged, &[]).len();
        let rewrites = id_map::rewrite_document(&mut merged, visit(&schema), &resolve).expect("rewrites");
        let after = history_of(&merged, &[]);
        let rewritten = after.iter().filter(|past| matches!(past.origin, Origin::Accepted { is_rewrite: true, .. }));
        rewritten.count() == rewrites.len() && after.len() == before + rewrites.len()
            && shows_the_same(&shown_by(&after), &project(&merged, visit(&schema)))
    }
}

fn standings_of(all: &[PastWrite], field: &str) -> Vec<(u8, Standing)> {
    let of_field = all.iter().filter(|past| past.write.field() == Some(field));
    let who = |past: &PastWrite| match past.origin {
        Origin::Accepted { device, .. } => device.as_bytes()[0],
        _ => 0,
    };
    of_field.map(|past| (who(past), past.standing)).collect()
}

#[test]
fn a_history_tells_replaced_beaten_shadowed_and_waiting_writes_apart() {
    let base = created();
    let minutes = |n: i64| Edit(set("minutes", Value::Integer(n)));
    let noted = |text: &str| Edit(set("note", Value::Text(text.into())));
    let ours = author(&base, 1, &entries(&base, &[minutes(10), noted("ours")], 1));
    let theirs = author(&base, 2, &entries(&base, &[noted("theirs"), minutes(20)], 500));
    let merged = with_all(&with_all(&base, &ours), &theirs);
    let merged = with_all(&merged, &author(&merged, 3, &entries(&merged, &[Edit(mark(30))], 1000)));
    let told = history_of(&merged, &[]);
    // The creation, then one each of the second and third operation counters; the later counter wins.
    let note = [(1, Standing::Replaced), (2, Standing::Beaten), (1, Standing::Shown)];
    assert_eq!(standings_of(&told, "note"), note);
    let minutes_now = [(1, Standing::Beaten), (2, Standing::Shadowed), (3, Standing::Shown)];
    assert_eq!(standings_of(&told, "minutes"), minutes_now);

    let live = entries(&merged, &[minutes(40), Edit(Intent::Release { field: "minutes".into() })], 2000);
    let with_pending = standings_of(&history_of(&merged, &live), "minutes");
    let replaced = [(1, Standing::Replaced), (2, Standing::Replaced), (3, Standing::Replaced)];
    assert_eq!(with_pending[..3], replaced);
    assert_eq!(with_pending[3..], [(0, Standing::Shown), (0, Standing::Shown)]);
}

#[test]
fn a_removal_that_a_concurrent_addition_undid_is_told_as_beaten() {
    let base = created();
    let add = || Edit(Intent::Add { field: "tags".into(), element: "tur".into() });
    let remove = || Edit(Intent::Remove { field: "tags".into(), element: "tur".into() });
    let with_tag = with_all(&base, &author(&base, 1, &entries(&base, &[add()], 1)));
    let removed = author(&with_tag, 2, &entries(&with_tag, &[remove()], 500));
    let added = author(&with_tag, 3, &entries(&with_tag, &[add()], 600));
    let alone = standings_of(&history_of(&with_all(&with_tag, &removed), &[]), "tags");
    assert_eq!(alone, [(1, Standing::Replaced), (2, Standing::Shown)]);
    let both = with_all(&with_all(&with_tag, &removed), &added);
    let told = standings_of(&history_of(&both, &[]), "tags");
    let expected = [(1, Standing::Replaced), (2, Standing::Beaten), (3, Standing::Shown)];
    assert_eq!(told, expected);
    let again = with_all(&both, &author(&both, 1, &entries(&both, &[remove(), add()], 700)));
    let told = standings_of(&history_of(&again, &[]), "tags");
    assert_eq!(told[1], (2, Standing::Replaced), "it was taken away again by one who knew");
}
