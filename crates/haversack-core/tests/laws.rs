//! Laws of the record: an honest edit is always admitted, and every order of the same edits gives the same record.

use std::collections::BTreeSet;

use haversack_core::outbox::{BaseHeads, Entry, EntryState, Freezer, Lane};
use haversack_core::{
    AdmissionRefusal, Author, ChangeSet, Document, DocumentRefusal, Intent, Mark, Part, Reference, Row,
    Value, admit, admit_from_server, id_map, overlay, project,
};
use haversack_protocol::{
    ChangeSetId, Code, DeviceId, PrincipalId, PushedPart, RecordId, Role, Schema, ServerId, UnixMillis,
};
use quickcheck::{Arbitrary, Gen, quickcheck};

const SCHEMA: &str = r#"{"version":1,"collections":{
  "contact":{"fields":{"name":{"kind":"text"}}},
  "visit":{"fields":{"note":{"kind":"text"},"minutes":{"kind":"integer"},"contact":{"kind":"reference","target":"contact"},
    "calls":{"kind":"counter"},"tags":{"kind":"set"},"at":{"kind":"instant"},"km":{"kind":"decimal"},"ok":{"kind":"boolean"},
    "raw":{"kind":"bytes"},"day":{"kind":"date"},"share":{"kind":"float"}}}}}"#;

fn schema() -> Schema {
    Schema::from_json(SCHEMA).expect("valid")
}

fn record(n: u8) -> RecordId {
    RecordId::from_bytes([n; 16])
}

fn device(n: u8) -> DeviceId {
    DeviceId::from_bytes([n, 1, 2, 3, 4, 5, 6, 7])
}

fn principal(n: u8) -> PrincipalId {
    PrincipalId::new(format!("person-{n}")).expect("plain")
}

fn change_set(n: u16, creates: bool, intents: Vec<Intent>) -> ChangeSet {
    let mut id = [9; 16];
    id[..2].copy_from_slice(&n.to_be_bytes());
    let part = Part { record: record(1), collection: "visit".into(), creates, intents };
    ChangeSet {
        id: ChangeSetId::from_bytes(id),
        at: UnixMillis(5),
        schema_version: 1,
        after: vec![],
        parts: vec![part],
    }
}

fn freeze(on: &Document, who: u8, generation: u32, sets: &[ChangeSet]) -> Vec<Vec<u8>> {
    let schema = schema();
    let mut freezer = Freezer::new(device(who), &schema);
    let lane = Lane { document: Some(on.clone()), generation, ..Lane::default() };
    freezer.open(record(1), lane).expect("opens");
    let base = vec![BaseHeads { record: record(1), epoch: 0, heads: on.heads() }];
    sets.iter()
        .map(|set| {
            let entry = Entry {
                order: 1,
                priority: 0,
                change_set: set.clone(),
                base: base.clone(),
                frozen: vec![],
                state: EntryState::Pending,
                attempts: 0,
                last_error: None,
                next_try: None,
            };
            freezer.freeze(&entry).expect("freezes").remove(0).change
        })
        .collect()
}

fn admit_as(
    before: Option<&Document>,
    change: &[u8],
    creates: bool,
    who: u8,
    role: Role,
) -> Result<Document, AdmissionRefusal> {
    let schema = schema();
    let visit = schema.collection("visit").expect("present");
    let part = PushedPart {
        record: record(1),
        collection: creates.then(|| "visit".to_owned()),
        epoch: 0,
        change: change.to_vec(),
        deps: vec![],
    };
    let person = principal(who);
    let author = Author { device: device(who), principal: &person, role };
    admit(before, &part, ("visit", visit), 1, author).map(|admitted| admitted.document)
}

fn created() -> Document {
    let first = freeze(&Document::empty(), 1, 0, &[change_set(0, true, vec![])]);
    admit_as(None, &first[0], true, 1, Role::Mentor).expect("an honest creation")
}

/// A record of the schema before this one, which had no counter.
fn created_before_the_counter() -> Document {
    let mut creation = change_set(0, true, vec![]);
    creation.schema_version = 0;
    let mut document = Document::empty();
    document.apply(&freeze(&document, 1, 0, &[creation])[0]).expect("our own");
    document
}

#[derive(Clone, Debug)]
struct Edit(Intent);

impl Arbitrary for Edit {
    fn arbitrary(g: &mut Gen) -> Self {
        let small = |g: &mut Gen| i64::from(u8::arbitrary(g) % 3);
        let set = |field: &str, value: Value| Intent::Set { field: field.into(), value };
        Self(match u8::arbitrary(g) % 15 {
            0 | 1 => set("note", Value::Text(small(g).to_string())),
            2 => set("minutes", Value::Integer(small(g))),
            3 => set("contact", Value::Reference(Reference::Record(record(50 + u8::arbitrary(g) % 2)))),
            4 => set("at", Value::Instant(UnixMillis(small(g)))),
            5 => set("ok", Value::Boolean(bool::arbitrary(g))),
            6 => set("raw", Value::Bytes(vec![u8::arbitrary(g)])),
            7 => set("share", Value::Float(0.5)),
            8 => set("km", Value::Decimal("1.50".into())),
            9 => Intent::Clear { field: "note".into() },
            10 => Intent::Add { field: "tags".into(), element: small(g).to_string() },
            11 => Intent::Remove { field: "tags".into(), element: small(g).to_string() },
            12 => Intent::Increment { field: "calls".into(), by: small(g) - 1 },
            13 => Intent::Delete,
            _ => Intent::Restore,
        })
    }
}

fn one_per_field(edits: &[Edit], first: u16) -> Vec<ChangeSet> {
    let sets = edits.iter().enumerate();
    sets.map(|(n, edit)| change_set(first + u16::try_from(n).expect("few"), false, vec![edit.0.clone()]))
        .collect()
}

fn apply_all(from: &Document, changes: &[Vec<u8>]) -> Document {
    changes.iter().filter(|change| !change.is_empty()).fold(from.clone(), |document, change| {
        let actor = haversack_core::inspect(change).expect("ours").actor;
        let sender = DeviceId::from_bytes(*actor.first_chunk().expect("a device's actor"));
        admit_from_server(&document, change, Some(sender)).expect("the server admitted it").expect("new").0
    })
}

fn row_of(document: &Document) -> Row {
    project(document, schema().collection("visit").expect("present"))
}

quickcheck! {
    fn honest_edits_are_admitted_and_merge_alike_in_every_order(ours: Vec<Edit>, theirs: Vec<Edit>) -> bool {
        let base = created();
        let ours = freeze(&base, 1, 0, &one_per_field(&ours, 1));
        let theirs = freeze(&base, 2, 0, &one_per_field(&theirs, 500));
        let mut server = base.clone();
        for (changes, who) in [(&ours, 1), (&theirs, 2)] {
            for change in changes.iter().filter(|change| !change.is_empty()) {
                server = admit_as(Some(&server), change, false, who, Role::Mentor).expect("honest");
            }
        }
        let forth = apply_all(&apply_all(&base, &ours), &theirs);
        let back = apply_all(&apply_all(&base, &theirs), &ours);
        let loaded = Document::load(&server.save()).expect("loads");
        row_of(&forth) == row_of(&server) && row_of(&back) == row_of(&server) && row_of(&loaded) == row_of(&server)
    }

    fn steps_on_a_counter_a_record_was_created_without_add_up_in_every_order(ours: Vec<i16>, theirs: Vec<i16>) -> bool {
        let base = created_before_the_counter();
        let steps = |all: &[i16], first| {
            let step = |by: &i16| Edit(Intent::Increment { field: "calls".into(), by: i64::from(*by) });
            one_per_field(&all.iter().map(step).collect::<Vec<_>>(), first)
        };
        let ours_frozen = freeze(&base, 1, 0, &steps(&ours, 1));
        let theirs_frozen = freeze(&base, 2, 0, &steps(&theirs, 500));
        let admitted = |order: [(&[Vec<u8>], u8); 2]| {
            let all = order.into_iter().flat_map(|(changes, who)| changes.iter().map(move |one| (one, who)));
            all.fold(base.clone(), |server, (change, who)| {
                admit_as(Some(&server), change, false, who, Role::Mentor).expect("honest")
            })
        };
        let forth = admitted([(&ours_frozen, 1), (&theirs_frozen, 2)]);
        let back = admitted([(&theirs_frozen, 2), (&ours_frozen, 1)]);
        let sum = ours.iter().chain(&theirs).map(|by| i64::from(*by)).sum();
        forth.heads() == back.heads() && row_of(&forth).fields["calls"] == Value::Counter(sum)
    }

    fn the_overlay_shows_what_the_server_will_confirm(edits: Vec<Edit>) -> bool {
        let base = created();
        let sets = one_per_field(&edits, 1);
        let confirmed = apply_all(&base, &freeze(&base, 1, 0, &sets));
        let mut shown = row_of(&base);
        sets.iter().for_each(|set| overlay(&mut shown, &set.parts[0]));
        shown == row_of(&confirmed)
    }

    fn a_rewrite_never_changes_which_write_is_shown(ours: Vec<Edit>, theirs: Vec<Edit>) -> bool {
        let base = created();
        let mut merged = apply_all(&base, &freeze(&base, 1, 0, &one_per_field(&ours, 1)));
        merged = apply_all(&merged, &freeze(&base, 2, 0, &one_per_field(&theirs, 500)));
        let resolve = |record: RecordId| ServerId::new(format!("CON-{}", record.as_bytes()[0])).ok();
        let mut expected = row_of(&merged);
        id_map::rewrite_row(&mut expected, &resolve);
        let schema = schema();
        let visit = schema.collection("visit").expect("present");
        let rewrites = id_map::rewrite_document(&mut merged, visit, &resolve).expect("rewrites");
        let again = id_map::rewrite_document(&mut merged, visit, &resolve).expect("rewrites");
        let shown = row_of(&Document::load(&merged.save_checked().expect("saves")).expect("loads"));
        let names = |row: &Row| -> BTreeSet<String> { row.conflicts.keys().map(ToString::to_string).collect() };
        again.is_empty() && shown.fields == expected.fields && names(&shown) == names(&expected)
            && rewrites.iter().all(|change| haversack_core::inspect(&change.bytes).is_ok())
    }
}

fn set_note(text: &str) -> Intent {
    Intent::Set { field: "note".into(), value: Value::Text(text.into()) }
}

#[test]
fn a_step_brings_the_zero_of_its_own_record_and_of_no_other() {
    let base = created_before_the_counter();
    let step = Intent::Increment { field: "calls".into(), by: 1 };
    let honest = freeze(&base, 2, 0, &[change_set(1, false, vec![step])]).remove(0);
    let admitted = admit_as(Some(&base), &honest, false, 2, Role::Mentor).expect("honest");
    assert_eq!(admitted.change_count(), 3, "creation, zero and step");
    let elsewhere = admit_as(Some(&created()), &honest, false, 2, Role::Mentor);
    assert!(matches!(elsewhere, Err(AdmissionRefusal::Missing(_))), "no record but its own has that zero");
    assert_eq!(row_of(&admitted).fields["calls"], Value::Counter(1));
}

#[test]
fn an_edit_is_concurrent_with_everything_its_author_had_not_seen() {
    let base = created();
    let ours = freeze(&base, 1, 0, &[change_set(1, false, vec![set_note("ours")])]);
    let theirs = freeze(&base, 2, 0, &[change_set(2, false, vec![set_note("theirs")])]);
    // Ours is authored after theirs arrived, still on what its author had seen.
    let merged = apply_all(&base, &theirs);
    let schema = schema();
    let mut freezer = Freezer::new(device(1), &schema);
    freezer.open(record(1), Lane { document: Some(merged.clone()), ..Lane::default() }).expect("opens");
    let entry = Entry {
        order: 1,
        priority: 0,
        change_set: change_set(1, false, vec![set_note("ours")]),
        base: vec![BaseHeads { record: record(1), epoch: 0, heads: base.heads() }],
        frozen: vec![],
        state: EntryState::Pending,
        attempts: 0,
        last_error: None,
        next_try: None,
    };
    let late = freezer.freeze(&entry).expect("freezes").remove(0);
    assert_eq!(late.change, ours[0]);
    let row = row_of(&apply_all(&merged, &[late.change]));
    assert_eq!(row.fields["note"], Value::Text("theirs".into()), "the higher actor wins an equal counter");
    assert_eq!(row.conflicts["note"].len(), 2);
    assert_eq!(row.conflicts["note"][1].device, device(1));
}

#[test]
fn a_refused_change_is_followed_by_one_under_the_next_generation() {
    let base = created();
    let refused = freeze(&base, 1, 0, &[change_set(1, false, vec![set_note("refused")])]);
    let next = freeze(&base, 1, 1, &[change_set(2, false, vec![set_note("next")])]);
    let server = admit_as(Some(&base), &next[0], false, 1, Role::Mentor).expect("a new actor starts at one");
    assert!(!server.contains(&haversack_core::inspect(&refused[0]).expect("ours").hash));
}

#[test]
fn a_change_of_another_device_or_out_of_order_is_an_identity_matter() {
    let base = created();
    let sets = [change_set(1, false, vec![set_note("a")]), change_set(2, false, vec![set_note("b")])];
    let chain = freeze(&base, 1, 0, &sets);
    let rejected = |result: Result<Document, AdmissionRefusal>| match result {
        Err(AdmissionRefusal::Rejected(rejection)) => Some(rejection.code),
        _ => None,
    };
    assert_eq!(rejected(admit_as(Some(&base), &chain[0], false, 2, Role::Mentor)), Some(Code::Identity));
    let skipped = admit_as(Some(&base), &chain[1], false, 1, Role::Mentor);
    assert!(matches!(skipped, Err(AdmissionRefusal::Missing(missing)) if missing.len() == 1));
    let creation = freeze(&Document::empty(), 1, 0, &[change_set(0, true, vec![])]);
    assert_eq!(rejected(admit_as(Some(&base), &creation[0], true, 1, Role::Mentor)), Some(Code::Identity));
    assert_eq!(rejected(admit_as(None, &creation[0], false, 1, Role::Mentor)), Some(Code::Identity));
    let empty = forged(&creation[0], |change| change.operations.clear());
    assert_eq!(rejected(admit_as(None, &empty, true, 1, Role::Mentor)), Some(Code::Malformed));
}

#[test]
fn only_a_coordinator_overrides_and_only_in_her_own_name() {
    let base = created();
    let mark = |who: u8, role| Mark {
        value: Some(Value::Text("rettet".into())),
        by: principal(who),
        role,
        at: UnixMillis(1),
        reason: "feil kontakt".into(),
    };
    let put = |mark| vec![Intent::Override { field: "note".into(), mark }];
    let own = freeze(&base, 3, 0, &[change_set(1, false, put(mark(3, Role::Coordinator)))]);
    let other = freeze(&base, 3, 0, &[change_set(1, false, put(mark(4, Role::Coordinator)))]);
    assert!(admit_as(Some(&base), &own[0], false, 3, Role::Mentor).is_err());
    assert!(admit_as(Some(&base), &other[0], false, 3, Role::Coordinator).is_err());
    let mentor = freeze(&base, 1, 0, &[change_set(2, false, vec![set_note("mine")])]);
    let server = admit_as(Some(&base), &own[0], false, 3, Role::Coordinator).expect("her right");
    let row = row_of(&admit_as(Some(&server), &mentor[0], false, 1, Role::Mentor).expect("kept beneath"));
    assert_eq!(row.effective("note"), Some(&Value::Text("rettet".into())));
    assert_eq!(row.fields["note"], Value::Text("mine".into()));
}

#[test]
fn a_value_of_another_kind_or_an_unknown_field_is_refused_by_the_schema() {
    let base = created();
    for intent in [
        Intent::Set { field: "note".into(), value: Value::Integer(1) },
        Intent::Set { field: "nowhere".into(), value: Value::Text("x".into()) },
        Intent::Set { field: "note".into(), value: Value::Text("nul\0".into()) },
        Intent::Add { field: "note".into(), element: "x".into() },
    ] {
        let change = freeze(&base, 1, 0, &[change_set(1, false, vec![intent.clone()])]);
        let refusal = admit_as(Some(&base), &change[0], false, 1, Role::Mentor).expect_err("refused");
        let AdmissionRefusal::Rejected(rejection) = refusal else { panic!("final: {intent:?}") };
        assert_eq!(rejection.code, Code::Schema, "{intent:?}");
        assert!(
            change_set(1, false, vec![intent.clone()]).check(&schema(), Role::Mentor).is_err(),
            "{intent:?}"
        );
    }
}

#[test]
fn a_creation_that_names_no_schema_version_is_refused() {
    let honest = freeze(&Document::empty(), 1, 0, &[change_set(1, true, vec![set_note("walk")])]);
    assert!(admit_as(None, &honest[0], true, 1, Role::Mentor).is_ok());
    let nameless = forged(&honest[0], |change| {
        change.operations.retain(|op| op.key != automerge::legacy::Key::Map("_v".into()));
    });
    let refusal = admit_as(None, &nameless, true, 1, Role::Mentor).expect_err("refused");
    assert!(matches!(refusal, AdmissionRefusal::Rejected(told) if told.code == Code::Malformed));
}

#[test]
fn a_forged_delete_empties_no_register_past_the_rules() {
    use automerge::transaction::{CommitOptions, Transactable};
    use automerge::{ActorId, Automerge, ROOT};
    let noted = freeze(&created(), 1, 0, &[change_set(1, false, vec![set_note("kept")])]);
    let base = admit_as(Some(&created()), &noted[0], false, 1, Role::Mentor).expect("honest");
    let forge = |write: fn(&mut automerge::transaction::Transaction<'_>)| {
        let mut forged = Automerge::load(&base.save()).expect("ours");
        forged.set_actor(ActorId::from([device(2).as_bytes().as_slice(), &[0; 4]].concat()));
        let mut tx = forged.transaction();
        write(&mut tx);
        tx.commit_with(CommitOptions::default().with_time(0));
        forged.get_last_local_change().expect("one").raw_bytes().to_vec()
    };
    let bare = forge(|tx| tx.delete(ROOT, "f:note").expect("there"));
    let after_a_put = forge(|tx| {
        tx.put(ROOT, "f:note", "allowed").expect("a scalar");
        tx.delete(ROOT, "f:note").expect("there");
    });
    for forged in [bare, after_a_put] {
        let refusal = admit_as(Some(&base), &forged, false, 2, Role::Mentor).expect_err("refused");
        let AdmissionRefusal::Rejected(rejection) = refusal else { panic!("final") };
        assert_eq!((rejection.code, rejection.field.as_deref()), (Code::Schema, Some("visit.note")));
    }
}

fn forged(honest: &[u8], twist: impl FnOnce(&mut automerge::ExpandedChange)) -> Vec<u8> {
    let mut expanded = automerge::Change::from_bytes(honest.to_vec()).expect("ours").decode();
    twist(&mut expanded);
    expanded.hash = None;
    automerge::Change::from(expanded).raw_bytes().to_vec()
}

#[test]
fn a_change_from_the_server_that_jumps_ahead_or_repeats_a_sequence_is_refused() {
    let base = created();
    let honest = freeze(&base, 2, 0, &[change_set(1, false, vec![set_note("honest")])]).remove(0);
    let received = |on: &Document, change: &[u8]| {
        admit_from_server(on, change, Some(device(2))).map(|admitted| admitted.map(|(document, _)| document))
    };
    let refusal = |on: &Document, change: &[u8]| received(on, change).expect_err("refused");
    let jump = forged(&honest, |change| change.start_op = 1000.try_into().expect("not zero"));
    let gap = forged(&honest, |change| change.seq = 5);
    let orphan = forged(&honest, |change| change.deps.clear());
    for forged in [jump, gap, orphan] {
        assert_eq!(refusal(&base, &forged), DocumentRefusal::Unreadable);
    }
    let after = received(&base, &forged(&honest, |_| {})).expect("unchanged, it is honest").expect("new");
    assert!(received(&after, &honest).expect("known").is_none());
    let again = forged(&honest, |change| change.operations.clear());
    assert_eq!(refusal(&after, &again), DocumentRefusal::SequenceUsed);
}

#[test]
fn a_sequence_number_is_used_once_whatever_its_change_builds_on() {
    let base = created();
    let sets = [change_set(1, false, vec![set_note("a")]), change_set(2, false, vec![set_note("b")])];
    let chain = freeze(&base, 2, 0, &sets);
    let full = apply_all(&base, &chain);
    let other = freeze(&base, 2, 0, &[change_set(3, false, vec![set_note("c")])]).remove(0);
    let gap = forged(&chain[1], |change| change.seq = 3);
    let on_everything = forged(&chain[1], |change| {
        change.deps = full.heads().iter().map(|head| automerge::ChangeHash(*head.as_bytes())).collect();
        change.deps.extend(forged_deps(&chain[1]));
        change.deps.sort_unstable();
        change.start_op = change.start_op.checked_add(1).expect("small");
        change.operations[0].action = automerge::legacy::OpType::Put("new".into());
    });
    let first = apply_all(&base, &chain[..1]);
    for (what, on, change) in [
        ("a fork of its own chain", &first, &other),
        ("another change on all there is", &full, &on_everything),
        ("a gap", &first, &gap),
    ] {
        let refusal = admit_as(Some(on), change, false, 2, Role::Mentor).expect_err(what);
        let AdmissionRefusal::Rejected(rejection) = refusal else { panic!("{what}: final") };
        assert_eq!(rejection.code, Code::Identity, "{what}");
        assert!(admit_from_server(on, change, Some(device(2))).is_err(), "{what}");
    }
}

fn forged_deps(change: &[u8]) -> Vec<automerge::ChangeHash> {
    automerge::Change::from_bytes(change.to_vec()).expect("ours").deps().to_vec()
}

#[test]
fn a_change_from_the_server_is_of_its_sender_or_of_the_server_itself() {
    let base = created();
    let refers = Value::Reference(Reference::Record(record(50)));
    let set = Intent::Set { field: "contact".into(), value: refers };
    let edit = freeze(&base, 2, 0, &[change_set(1, false, vec![set])]).remove(0);
    let of_others = |on: &Document, change: &[u8], others: [Option<DeviceId>; 2]| {
        others.iter().all(|other| {
            admit_from_server(on, change, *other).is_err_and(|refusal| refusal == DocumentRefusal::OtherActor)
        })
    };
    assert!(of_others(&base, &edit, [Some(device(1)), None]));
    let edited = apply_all(&base, &[edit]);
    let resolve = |_: RecordId| ServerId::new("CON-1").ok();
    let schema = schema();
    let visit = schema.collection("visit").expect("present");
    let rewrite = id_map::rewrite_document(&mut edited.clone(), visit, &resolve).expect("rewrites").remove(0);
    assert!(of_others(&edited, &rewrite.bytes, [Some(device(2)), Some(device(1))]));
    assert!(admit_from_server(&edited, &rewrite.bytes, None).expect("the server's own").is_some());
}
