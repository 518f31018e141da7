//! Laws of epochs: a root is the same whoever plants it, keeps what is shown and nothing else, and edits that wait are neither
//! lost on it nor put over what their author had not seen.

use std::collections::BTreeSet;

use haversack_core::outbox::{BaseHeads, Ending, Entry, EntryState, Freezer, Lane, express_anew};
use haversack_core::{
    ChangeSet, Document, Intent, Mark, Part, Planted, Root, Row, Value, admit_from_server, project,
};
use haversack_protocol::{ChangeSetId, DeviceId, PrincipalId, RecordId, Role, Schema, UnixMillis};
use quickcheck::{Arbitrary, Gen, quickcheck};

const SCHEMA: &str = r#"{"version":1,"collections":{"visit":{"fields":{
    "note":{"kind":"text"},"place":{"kind":"text"},"minutes":{"kind":"integer"},"share":{"kind":"float"},
    "at":{"kind":"instant"},"raw":{"kind":"bytes"},"ok":{"kind":"boolean"},
    "calls":{"kind":"counter"},"tags":{"kind":"set"}}}}}"#;

const EPOCH: u32 = 1;

fn schema() -> Schema {
    Schema::from_json(SCHEMA).expect("sound")
}

fn shown(document: &Document) -> Row {
    project(document, schema().collection("visit").expect("present"))
}

fn record() -> RecordId {
    RecordId::from_bytes([1; 16])
}

fn device(n: u8) -> DeviceId {
    DeviceId::from_bytes([n, 1, 2, 3, 4, 5, 6, 7])
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

fn set(field: &str, value: Value) -> Intent {
    Intent::Set { field: field.into(), value }
}

#[derive(Clone, Debug)]
struct Edit(Intent);

impl Arbitrary for Edit {
    fn arbitrary(g: &mut Gen) -> Self {
        let small = i64::from(u8::arbitrary(g) % 3);
        let element = || format!("tag {small}");
        let mark = Mark {
            value: Some(text(&format!("marked {small}"))),
            by: PrincipalId::new("kari").expect("plain"),
            role: Role::Coordinator,
            at: UnixMillis(small),
            reason: "rettet".into(),
        };
        Self(match u8::arbitrary(g) % 16 {
            0..=2 => set("note", text(&format!("note {small}"))),
            3 => set("place", text(&format!("place {small}"))),
            4 => set("minutes", Value::Integer(small)),
            5 => set("share", Value::Float(0.25)),
            6 => set("at", Value::Instant(UnixMillis(small))),
            7 => set("raw", Value::Bytes(vec![7; 3])),
            8 => set("ok", Value::Boolean(small > 0)),
            9 => Intent::Clear { field: "note".into() },
            10 => Intent::Add { field: "tags".into(), element: element() },
            11 => Intent::Remove { field: "tags".into(), element: element() },
            12 => Intent::Increment { field: "calls".into(), by: small + 1 },
            13 => Intent::Override { field: "place".into(), mark },
            14 => Intent::Release { field: "place".into() },
            _ => {
                if small > 0 {
                    Intent::Delete
                } else {
                    Intent::Restore
                }
            }
        })
    }
}

fn entry(n: u16, creates: bool, intent: Vec<Intent>, epoch: u32, document: &Document) -> Entry {
    let mut id = [9; 16];
    id[..2].copy_from_slice(&n.to_be_bytes());
    let part = Part { record: record(), collection: "visit".into(), creates, intents: intent };
    let change_set = ChangeSet {
        id: ChangeSetId::from_bytes(id),
        at: UnixMillis(5),
        schema_version: 1,
        after: vec![],
        parts: vec![part],
    };
    Entry {
        order: n.into(),
        priority: 0,
        change_set,
        base: vec![BaseHeads { record: record(), epoch, heads: document.heads() }],
        frozen: vec![],
        state: EntryState::Pending,
        attempts: 0,
        last_error: None,
        next_try: None,
    }
}

/// The changes of these entries, authored on a document.
fn freeze(on: &Document, who: u8, epoch: u32, entries: &[Entry]) -> Vec<Vec<u8>> {
    let schema = schema();
    let mut freezer = Freezer::new(device(who), &schema);
    freezer.open(record(), Lane { document: Some(on.clone()), epoch, ..Lane::default() }).expect("opens");
    entries.iter().map(|entry| freezer.freeze(entry).expect("freezes").remove(0).change).collect()
}

fn created() -> Document {
    let mut document = Document::empty();
    let creation = entry(0, true, vec![set("note", text("first"))], 0, &document);
    document.apply(&freeze(&document, 9, 0, &[creation])[0]).expect("our own");
    document
}

fn merge(document: &mut Document, changes: &[Vec<u8>]) {
    for change in changes.iter().filter(|change| !change.is_empty()) {
        document.apply(change).expect("what it stands on is here");
    }
}

/// What one device makes of a document, each edit knowing those before it.
fn edits(on: &Document, who: u8, epoch: u32, of: &[Edit]) -> Vec<Vec<u8>> {
    let of = (100 * u16::from(who)..).zip(of.iter().take(12));
    let entries: Vec<_> = of.map(|(n, edit)| entry(n, false, vec![edit.0.clone()], epoch, on)).collect();
    freeze(on, who, epoch, &entries)
}

fn root_of(document: &Document, left_out: &[&str]) -> (Root, Planted) {
    let root = Root::of(document, &left_out.iter().map(|field| (*field).to_owned()).collect());
    let planted = root.plant(record(), EPOCH).expect("plants");
    (root, planted)
}

/// The entries as they stand in the new epoch.
fn anew(old: &Document, root: &Root, planted: &Planted, entries: &[Entry]) -> Vec<Entry> {
    let ending = Ending { record: record(), document: Some(old), accepted_tip: None };
    let bases = express_anew(&ending, root, planted, EPOCH, entries, &|_| None);
    let stands = |entry: &Entry| Entry { base: vec![bases[&entry.order].clone()], ..entry.clone() };
    entries.iter().map(stands).collect()
}

quickcheck! {
    fn a_root_is_the_same_bytes_whatever_the_order_of_merging(ours: Vec<Edit>, theirs: Vec<Edit>) -> bool {
        let base = created();
        let (a, b) = (edits(&base, 1, 0, &ours), edits(&base, 2, 0, &theirs));
        let [mut one, mut other] = [base.clone(), base];
        merge(&mut one, &a);
        merge(&mut one, &b);
        merge(&mut other, &b);
        merge(&mut other, &a);
        let reloaded = Document::load(&other.save()).expect("loads");
        let (root, planted) = root_of(&one, &[]);
        let travelled = Root::from_bytes(&root.to_bytes().expect("writes")).expect("reads");
        let again = travelled.plant(record(), EPOCH).expect("plants");
        root_of(&reloaded, &[]).1.document.save() == planted.document.save()
            && again.document.save() == planted.document.save()
            && again.foundation == planted.foundation
            && planted.document.save_checked().is_ok()
    }

    fn a_root_shows_what_was_shown_and_no_conflict(ours: Vec<Edit>, theirs: Vec<Edit>) -> bool {
        let base = created();
        let mut document = base.clone();
        merge(&mut document, &edits(&base, 1, 0, &ours));
        merge(&mut document, &edits(&base, 2, 0, &theirs));
        let before = shown(&document);
        let after = shown(&root_of(&document, &[]).1.document);
        let settled = Row { conflicts: [].into(), beaten_marks: [].into(), ..before };
        after == settled
    }

    fn edits_on_a_root_converge_in_any_order(before: Vec<Edit>, ours: Vec<Edit>, theirs: Vec<Edit>) -> bool {
        let mut old = created();
        let first = edits(&old, 3, 0, &before);
        merge(&mut old, &first);
        let planted = root_of(&old, &[]).1.document;
        let (a, b) = (edits(&planted, 1, EPOCH, &ours), edits(&planted, 2, EPOCH, &theirs));
        let admitted = |on: &Document, changes: &[Vec<u8>], who: u8| {
            let mut document = on.clone();
            for change in changes.iter().filter(|change| !change.is_empty()) {
                let next = admit_from_server(&document, change, Some(device(who))).expect("an honest change");
                document = next.map_or(document, |(document, _)| document);
            }
            document
        };
        let one = admitted(&admitted(&planted, &a, 1), &b, 2);
        let other = admitted(&admitted(&planted, &b, 2), &a, 1);
        shown(&one) == shown(&other) && one.heads() == other.heads()
    }

    fn nothing_of_an_erased_field_is_in_the_root(ours: Vec<Edit>) -> bool {
        let mut document = created();
        let secret = edits(&document, 2, 0, &[Edit(set("place", text("kanarifugl")))]);
        merge(&mut document, &secret);
        let ours = edits(&document, 1, 0, &ours);
        merge(&mut document, &ours);
        let (root, planted) = root_of(&document, &["place"]);
        let bytes = [root.to_bytes().expect("writes"), planted.document.save()].concat();
        let row = shown(&planted.document);
        let kept = |row: &Row| row.fields.get("note").cloned();
        let is_free = |word: &[u8]| !bytes.windows(word.len()).any(|at| at == word);
        is_free(b"kanarifugl") && is_free(b"f:place") && is_free(b"o:place")
            && !row.fields.contains_key("place") && !row.marks.contains_key("place")
            && kept(&row) == kept(&shown(&document))
    }

    fn edits_whose_author_knew_all_are_expressed_anew_as_if_made_on_the_root(before: Vec<Edit>, waiting: Vec<Edit>) -> bool {
        let mut old = created();
        let first = edits(&old, 3, 0, &before);
        merge(&mut old, &first);
        let (root, planted) = root_of(&old, &[]);
        let numbered = || (200u16..).zip(waiting.iter().take(12));
        let waits: Vec<_> =
            numbered().map(|(n, edit)| entry(n, false, vec![edit.0.clone()], 0, &old)).collect();
        let made: Vec<_> = numbered()
            .map(|(n, edit)| entry(n, false, vec![edit.0.clone()], EPOCH, &planted.document))
            .collect();
        let on = |entries: &[Entry]| freeze(&planted.document, 1, EPOCH, entries);
        on(&anew(&old, &root, &planted, &waits)) == on(&made)
    }

    fn an_edit_never_covers_what_its_author_had_not_seen(theirs: Vec<Edit>, waiting: Vec<Edit>) -> bool {
        let base = created();
        let mut old = base.clone();
        merge(&mut old, &edits(&base, 2, 0, &theirs));
        let (root, planted) = root_of(&old, &[]);
        let waits: Vec<_> = (200u16..)
            .zip(waiting.iter().take(6))
            .map(|(n, edit)| entry(n, false, vec![edit.0.clone()], 0, &base))
            .collect();
        let mut document = planted.document.clone();
        merge(&mut document, &freeze(&planted.document, 1, EPOCH, &anew(&old, &root, &planted, &waits)));
        let (seen, root, row) = (shown(&base), shown(&planted.document), shown(&document));
        let still_there = |field: &str| {
            let value = root.fields.get(field);
            value == seen.fields.get(field)
                || value == row.fields.get(field)
                || row.conflicts.get(field).is_some_and(|all| all.iter().any(|one| one.value.as_ref() == value))
        };
        ["note", "place", "minutes", "ok", "at"].into_iter().filter(|field| root.fields.contains_key(*field)).all(still_there)
    }
}

#[test]
fn an_edit_on_another_value_than_the_roots_is_a_conflict_that_shows_both() {
    let base = created();
    let mut old = base.clone();
    merge(&mut old, &edits(&base, 2, 0, &[Edit(set("note", text("theirs")))]));
    let (root, planted) = root_of(&old, &[]);
    let waits = [entry(200, false, vec![set("note", text("ours"))], 0, &base)];
    let mut document = planted.document.clone();
    merge(&mut document, &freeze(&planted.document, 1, EPOCH, &anew(&old, &root, &planted, &waits)));
    let row = shown(&document);
    let values: BTreeSet<_> = row.conflicts["note"].iter().map(|one| format!("{:?}", one.value)).collect();
    assert_eq!(values.len(), 2, "{values:?}");
}

#[test]
fn bytes_that_are_no_root_are_refused() {
    let root = root_of(&created(), &[]).0.to_bytes().expect("writes");
    assert!(Root::from_bytes(&root).is_ok());
    for end in 0..root.len() {
        assert!(Root::from_bytes(&root[..end]).is_err(), "cut at {end}");
    }
    assert!(Root::from_bytes(&[&root[..], &[0]].concat()).is_err(), "something behind it");
    assert!(Root::from_bytes(&vec![0xa0; 1 << 20]).is_err(), "too much");
}
