//! Admission of one change: the server's whole work on it apart from its database.

use std::io;

use haversack::{ChangeSet, CollectionSchema, DeviceId, PrincipalId, Role, Schema};
use haversack_core::outbox::{BaseHeads, Entry, EntryState, Freezer, Lane};
use haversack_core::{Author, Document, admit};
use haversack_protocol::PushedPart;

use crate::measure::{median, micros, on_this_thread};
use crate::report::Report;
use crate::workload::{ACTIVITY, VERSION, Workload, one_field_edit, schema};
use crate::world::Outcome;

const ROUNDS: usize = 15;
const PER_ROUND: usize = 100;
const GOAL_US: f64 = 180.0;
const HISTORIES: [usize; 3] = [0, 10, 50];

/// A record the server knows, and a change to be admitted.
struct Case {
    before: Option<Document>,
    part: PushedPart,
    device: DeviceId,
}

pub(crate) fn measure(report: &mut Report) -> Outcome<()> {
    let schema = schema(&[])?;
    let collection = schema.collection(ACTIVITY).ok_or("the schema has its collection")?;
    let creation = Workload::new().creation();
    let (device, other) = (DeviceId::from_bytes([1; 8]), DeviceId::from_bytes([2; 8]));
    let created = author(&schema, device, None, &creation)?;
    let root = applied(None, &created)?;
    time(report, "create", collection, &Case { before: None, part: created, device })?;
    for edits in HISTORIES {
        let mut grown = root.clone();
        for round in 0..edits {
            let edit = one_field_edit(creation.parts[0].record, round);
            let part = author(&schema, device, Some(&grown), &edit)?;
            grown = applied(Some(grown), &part)?;
        }
        let edit = one_field_edit(creation.parts[0].record, edits);
        let part = author(&schema, device, Some(&grown), &edit)?;
        let case = Case { before: Some(grown.clone()), part, device };
        time(report, &format!("edit in sequence, {edits} edits before"), collection, &case)?;
        // Made by a device that has seen the creation only.
        let part = author(&schema, other, Some(&root), &edit)?;
        let case = Case { before: Some(grown), part, device: other };
        time(report, &format!("concurrent edit, {edits} edits unseen"), collection, &case)?;
    }
    Ok(())
}

/// Freezes a change set as the outbox does, on what its author has seen.
pub(crate) fn author(
    schema: &Schema,
    device: DeviceId,
    seen: Option<&Document>,
    set: &ChangeSet,
) -> Outcome<PushedPart> {
    let part = set.parts.first().ok_or("a change set has a part")?;
    let heads = seen.map(Document::heads).unwrap_or_default();
    let mut freezer = Freezer::new(device, schema);
    freezer.open(part.record, Lane { document: seen.cloned(), ..Lane::default() })?;
    let entry = Entry {
        order: 0,
        priority: 0,
        change_set: set.clone(),
        base: vec![BaseHeads { record: part.record, epoch: 0, heads }],
        frozen: vec![],
        state: EntryState::Pending,
        attempts: 0,
        last_error: None,
        next_try: None,
    };
    let frozen = freezer.freeze(&entry)?.pop().ok_or("a part is frozen as a part")?;
    Ok(PushedPart {
        record: frozen.record,
        collection: part.creates.then(|| part.collection.clone()),
        epoch: frozen.epoch,
        change: frozen.change,
        deps: frozen.deps,
    })
}

fn applied(before: Option<Document>, part: &PushedPart) -> Outcome<Document> {
    let mut document = before.unwrap_or_default();
    document.apply(&part.change)?;
    Ok(document)
}

fn time(report: &mut Report, what: &str, collection: &CollectionSchema, case: &Case) -> Outcome<()> {
    let principal = PrincipalId::new("kari")?;
    let author = Author { device: case.device, principal: &principal, role: Role::Mentor };
    let admit = || {
        admit(case.before.as_ref(), &case.part, (ACTIVITY, collection), VERSION, author)
            .map(drop)
            .map_err(|refusal| io::Error::other(format!("{refusal:?}")))
    };
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let taken = on_this_thread(|| (0..PER_ROUND).try_for_each(|_| admit()))?.1;
        times.push(micros(taken.per(PER_ROUND).cpu));
    }
    report.hold(format!("admit {what}: CPU"), median(times), "us", GOAL_US);
    Ok(())
}
