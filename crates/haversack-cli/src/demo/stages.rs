//! The stages of the field day. Each asserts its own counts against the real processes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use haversack::{ChangeSetId, FieldKind, RecordId, Rejection};
use haversack_core::{Check, Rules};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::model::Write;
use super::phone::{Command, Registration};
use super::process::{DemoError, Shown};
use super::records::Planned;
use super::world::{COORDINATOR, TENANT, World, registration};

pub(super) const REGISTER: &str = "Registering without any network";
pub(super) const KILL: &str = "A phone killed while it saves";
pub(super) const DRAIN: &str = "Network back, everything is sent";
pub(super) const REFUSE: &str = "Refused, kept, corrected, accepted";
pub(super) const CONFLICT: &str = "Two phones edit one record";
pub(super) const OVERRIDE: &str = "A coordinator overrides a field";
pub(super) const OUTAGE: &str = "The server dies and comes back";

/// Greatest number of records kept back for the stage with the kill.
const STREAM_MAX: usize = 200;

#[derive(Deserialize)]
struct OutboxLine {
    change_set: ChangeSetId,
    attempts: u32,
    rejection: Option<Rejection>,
    records: Vec<RecordId>,
}

#[derive(Deserialize)]
struct ConflictLine {
    field: String,
    shown_by: Vec<Option<String>>,
    kept_by: Vec<Option<String>>,
}

/// Records of each mentor, in order; the last of the first mentor's are kept for the kill.
fn deal(world: &World) -> (Vec<Vec<Planned>>, Vec<Planned>) {
    let of = |phone: usize| world.plan.records.iter().filter(move |planned| planned.phone == phone).cloned();
    let (mut first, second): (Vec<_>, Vec<_>) = (of(0).collect(), of(1).collect());
    let stream = first.split_off(first.len() - (first.len() / 3).min(STREAM_MAX));
    (vec![first, second], stream)
}

/// Both mentors register their records; every edit is read back before it counts.
pub(super) async fn register(world: &mut World) -> Result<Vec<Planned>, DemoError> {
    world.console.begin(REGISTER);
    let schema = world.schema_text.clone();
    for phone in &mut world.phones {
        phone.start(&schema).await?;
    }
    let (dealt, stream) = deal(world);
    let of: u64 = dealt.iter().map(|records| records.len() as u64).sum();
    let lists: Vec<Vec<Registration>> =
        dealt.iter().map(|records| records.iter().map(registration).collect()).collect();
    let mut done = [0u64; 2];
    let (left, right) = world.phones.split_at_mut(1);
    let saved = {
        let (console, done) =
            (std::cell::RefCell::new(&mut world.console), std::cell::RefCell::new(&mut done));
        let said = |phone: usize| {
            let (console, done) = (&console, &done);
            move |count: usize| {
                let mut done = done.borrow_mut();
                done[phone] = count as u64;
                console.borrow_mut().progress(done.iter().sum(), of);
            }
        };
        let [first, second] = <[_; 2]>::try_from(lists).expect("two mentors");
        tokio::try_join!(left[0].register(first, None, said(0)), right[0].register(second, None, said(1)))?
    };
    for (phone, records) in dealt.iter().enumerate() {
        let said: BTreeSet<_> = if phone == 0 { &saved.0 } else { &saved.1 }.iter().copied().collect();
        world.claim(
            REGISTER,
            said.len() == records.len(),
            format!("phone {phone} acknowledged every registration"),
        );
        for planned in records {
            world.journal_registered(phone, planned);
        }
        let status = world.phones[phone].status().await?;
        let expected = records.len() as u64;
        let is_so = (status.unsettled, status.records, status.device) == (expected, expected, None);
        world.claim(
            REGISTER,
            is_so,
            format!("phone {phone} holds {expected} records, all pending, no device id yet"),
        );
    }
    let facts =
        vec![format!("mentor-1 {}, mentor-2 {}; each edit shown at once", dealt[0].len(), dealt[1].len())];
    world.end_stage(REGISTER, facts, json!({ "mentor_1": dealt[0].len(), "mentor_2": dealt[1].len() }));
    Ok(stream)
}

/// The first mentor's phone is killed in the middle of a stream of registrations, and opened again.
pub(super) async fn kill(world: &mut World, stream: Vec<Planned>, folder: &Path) -> Result<(), DemoError> {
    if stream.len() < 3 {
        world.skip_stage(KILL, "too few records");
        for planned in &stream {
            world.phones[0].register(vec![registration(planned)], None, |_| {}).await?;
            world.journal_registered(0, planned);
        }
        return Ok(());
    }
    world.console.begin(KILL);
    let kill_after = 1 + world.chance.below(stream.len() * 2 / 3);
    let of = stream.len() as u64;
    let console = &mut world.console;
    let list = stream.iter().map(registration).collect();
    let said =
        world.phones[0].register(list, Some(kill_after), |done| console.progress(done as u64, of)).await?;
    for planned in &stream {
        world.needles.add_text(&planned.record.to_string());
    }
    world.search("after the kill", folder)?;
    let schema = world.schema_text.clone();
    world.phones[0].start(&schema).await?;
    let (mut lost, mut unsaid, mut missing) = (0, 0, Vec::new());
    let said: BTreeSet<_> = said.into_iter().collect();
    for planned in &stream {
        let is_there = world.phones[0].ask::<Option<Shown>>(Command::Read(planned.record)).await?.is_some();
        match (said.contains(&planned.record), is_there) {
            (true, false) => lost += 1,
            (false, true) => unsaid += 1,
            _ => {}
        }
        if is_there {
            world.journal_registered(0, planned);
        } else {
            missing.push(planned.clone());
        }
    }
    world.claim(KILL, lost == 0, format!("{lost} acknowledged edits lost"));
    // One edit may have been committed, and the phone killed before it could say so.
    world.claim(KILL, unsaid <= 1, "nothing appeared that was not being saved");
    world.phones[0].register(missing.iter().map(registration).collect(), None, |_| {}).await?;
    for planned in &missing {
        world.journal_registered(0, planned);
    }
    let facts = vec![format!(
        "killed after {} of {of}; {lost} lost after reopening, the rest saved then",
        said.len()
    )];
    let counts = json!({ "acknowledged": said.len(), "lost": lost, "committed_unsaid": unsaid });
    world.end_stage(KILL, facts, counts);
    Ok(())
}

/// The server starts, the phones connect, the outboxes drain, ids are assigned and references rewritten.
pub(super) async fn drain(world: &mut World) -> Result<(), DemoError> {
    world.console.begin(DRAIN);
    world.server.start().await?;
    let url = world.server.url();
    for phone in &mut world.phones {
        let (principal, token) = (phone.principal().to_string(), phone.token.clone());
        phone
            .ask::<Json>(Command::Connect {
                server: url.clone(),
                tenant: TENANT.to_owned(),
                principal,
                token,
            })
            .await?;
    }
    let of = world.events.len() as u64;
    let show = |console: &mut super::console::Console, all: &[super::process::PhoneStatus]| {
        let unsettled: u64 = all.iter().map(|status| status.unsettled).sum();
        console.progress(of.saturating_sub(unsettled), of);
    };
    let is_drained = world.watch(&[0, 1], |status| status.unsettled == 0, show).await?;
    world.claim(DRAIN, is_drained, "both outboxes drained");
    world.meet().await?;
    let mut server_ids = 0;
    for phone in 0..world.phones.len() {
        let status = world.phones[phone].status().await?;
        let name = world.phones[phone].name;
        world.claim(
            DRAIN,
            status.records == of,
            format!("{name} holds all {of} records, not {}", status.records),
        );
        world.claim(
            DRAIN,
            status.rejected == 0,
            format!("{name} has {} refused change sets", status.rejected),
        );
        let ids: BTreeMap<String, String> = world.phones[phone].ask(Command::ServerIds).await?;
        server_ids = ids.len();
        world.claim(DRAIN, ids.len() as u64 == of, format!("{name} knows {} server ids", ids.len()));
        let distinct: BTreeSet<_> = ids.values().collect();
        world.claim(DRAIN, distinct.len() == ids.len(), format!("{name}: no two records share a server id"));
    }
    let facts = vec![format!("{of} records on three phones, {server_ids} server ids, references rewritten")];
    world.end_stage(DRAIN, facts, json!({ "records": of, "server_ids": server_ids }));
    Ok(())
}

/// A value a phone accepts and the server's rules refuse: (template, field, refused value, accepted value, rule).
fn refusable(world: &World, rules: &Rules) -> Option<(Planned, String, Json, Json, String)> {
    rules.rules.iter().find_map(|rule| {
        let Check::Range { field, max: Some(max), .. } = &rule.check else { return None };
        let schema = world.schema.collection(&rule.collection)?.field(field)?;
        #[allow(clippy::cast_possible_truncation, reason = "a bound of whole numbers")]
        let refused =
            (*max as i64).checked_add(180).map(|n| schema.max.map_or(n, |bound| n.min(bound as i64)))?;
        let of_collection = |planned: &&Planned| planned.collection == rule.collection && planned.phone == 0;
        let template = world
            .plan
            .records
            .iter()
            .rev()
            .filter(of_collection)
            .find(|planned| planned.fields.contains_key(field))?;
        let accepted = template.fields.get(field)?.clone();
        #[allow(clippy::cast_precision_loss, reason = "a bound of whole numbers")]
        let is_refused = schema.kind == FieldKind::Integer && refused as f64 > *max;
        is_refused.then(|| (template.clone(), field.clone(), json!(refused), accepted, rule.name.clone()))
    })
}

/// A registration the server refuses is rolled back, its input kept with the reason, corrected and accepted.
pub(super) async fn refuse(world: &mut World, rules: &Rules) -> Result<(), DemoError> {
    let Some((template, field, refused, accepted, rule)) = refusable(world, rules) else {
        world.skip_stage(REFUSE, "no integer field with a range rule to break");
        return Ok(());
    };
    world.console.begin(REFUSE);
    let record = RecordId::from_uuid(Uuid::now_v7());
    let mut fields = template.fields.clone();
    fields.insert(field.clone(), refused);
    let attempt = Registration { record, collection: template.collection.clone(), fields: fields.clone() };
    world.set_online(0, false).await?;
    world.phones[0].register(vec![attempt], None, |_| {}).await?;
    world.set_online(0, true).await?;
    let is_refused = world.watch(&[0], |status| status.rejected == 1, |_, _| {}).await?;
    world.claim(REFUSE, is_refused, "the server refused it");
    let shown: Option<Shown> = world.phones[0].ask(Command::Read(record)).await?;
    world.claim(REFUSE, shown.is_none(), "the registration is rolled back");
    let outbox: Vec<OutboxLine> = world.phones[0].ask(Command::Outbox).await?;
    let kept = outbox.iter().find(|entry| entry.records.contains(&record));
    let named = kept.and_then(|entry| entry.rejection.as_ref()).and_then(|rejection| rejection.rule.clone());
    world.claim(REFUSE, named.as_deref() == Some(&rule), "its input is kept, with the rule's name");
    let Some(change_set) = kept.map(|entry| entry.change_set) else {
        world.end_stage(REFUSE, vec![], json!({}));
        return Ok(());
    };
    fields.insert(field.clone(), accepted);
    let corrected = Planned { record, phone: 0, collection: template.collection.clone(), fields };
    let registration = registration(&corrected);
    world.phones[0].ask::<Json>(Command::Resubmit { change_set, registration }).await?;
    world.journal_registered(0, &corrected);
    let is_accepted = world.watch(&[0], |status| status.unsettled == 0, |_, _| {}).await?;
    let status = world.phones[0].status().await?;
    world.claim(REFUSE, is_accepted && status.rejected == 0, "the corrected registration is accepted");
    world.meet().await?;
    let facts = vec![format!("rule {rule}: rolled back, corrected, accepted")];
    world.end_stage(REFUSE, facts, json!({ "rule": rule, "refused": 1, "accepted": 1 }));
    Ok(())
}

/// A record with at least `wanted` free text fields that a mentor may write and no rule is about.
fn editable(
    world: &mut World,
    wanted: usize,
    collections: impl Fn(&str) -> bool,
) -> Option<(Planned, Vec<String>)> {
    let free = |collection: &str| -> Vec<String> {
        let fields =
            world.schema.collection(collection).into_iter().flat_map(|collection| &collection.fields);
        let is_free = |field: &haversack::FieldSchema| {
            field.kind == FieldKind::Text
                && field.one_of.is_empty()
                && field.write.is_empty()
                && field.max_bytes.is_none_or(|max| max >= 60)
        };
        let is_ruled = |field: &str| world.ruled.contains(&(collection.to_owned(), field.to_owned()));
        fields
            .filter(|(name, field)| is_free(field) && !is_ruled(name))
            .map(|(name, _)| name.to_string())
            .collect()
    };
    let fitting: Vec<_> = world
        .plan
        .records
        .iter()
        .filter(|planned| collections(&planned.collection) && free(&planned.collection).len() >= wanted)
        .cloned()
        .collect();
    let chosen = fitting.get(world.chance.below(fitting.len()))?.clone();
    let names = free(&chosen.collection);
    Some((chosen, names))
}

/// Two phones edit one record offline: different fields are both kept, the same field is decided alike everywhere.
pub(super) async fn conflict(world: &mut World) -> Result<(), DemoError> {
    let Some((planned, names)) = editable(world, 3, |_| true) else {
        world.skip_stage(CONFLICT, "no collection with three free text fields");
        return Ok(());
    };
    world.console.begin(CONFLICT);
    let [first, second, both] = [0, 1, 2].map(|place| names[place].clone());
    for phone in [0, 1] {
        world.set_online(phone, false).await?;
    }
    for (phone, field) in [(0, &first), (1, &second)] {
        let text = |what: &str| json!(format!("{what} av mentor {} på stedet", phone + 1));
        let fields = [(field.clone(), text("Eget felt")), (both.clone(), text("Samme felt"))];
        world.edit(phone, planned.record, &planned.collection, fields.into()).await?;
    }
    for phone in [0, 1] {
        world.set_online(phone, true).await?;
    }
    world.meet().await?;
    let mut decided = BTreeSet::new();
    for phone in 0..world.phones.len() {
        let name = world.phones[phone].name;
        let shown: Option<Shown> = world.phones[phone].ask(Command::Read(planned.record)).await?;
        let Some(shown) = shown else {
            world.claim(CONFLICT, false, format!("{name} has the record"));
            continue;
        };
        let by = |field: &str, mentor: usize| {
            shown
                .shown
                .get(field)
                .and_then(Json::as_str)
                .is_some_and(|text| text.contains(&format!("mentor {mentor}")))
        };
        world.claim(CONFLICT, by(&first, 1) && by(&second, 2), format!("{name} shows both different fields"));
        decided.insert(shown.shown.get(&both).map(Json::to_string));
        world.claim(
            CONFLICT,
            shown.conflicts == [both.clone()],
            format!("{name} marks the same field as a conflict"),
        );
        let listed: Vec<ConflictLine> = world.phones[phone].ask(Command::Conflicts(planned.record)).await?;
        let is_listed = listed.iter().any(|line| {
            let names: BTreeSet<_> =
                line.shown_by.iter().chain(&line.kept_by).flatten().map(String::as_str).collect();
            line.field == both
                && names == BTreeSet::from(["mentor-1", "mentor-2"])
                && line.shown_by.len() == 1
        });
        world.claim(CONFLICT, is_listed, format!("{name} lists who wrote what is shown and what is kept"));
    }
    world.claim(CONFLICT, decided.len() == 1, "the same field is decided alike everywhere");
    let facts = vec![
        "different fields both kept; the same field decided alike, the other value kept and listed"
            .to_owned(),
    ];
    world.end_stage(CONFLICT, facts, json!({ "kept": 2, "conflicts": 1 }));
    Ok(())
}

/// A coordinator's override beats a mentor's concurrent edit, visibly, and keeps the value beneath.
pub(super) async fn override_field(world: &mut World) -> Result<(), DemoError> {
    let schema = world.schema.clone();
    let can = |name: &str| {
        schema
            .collection(name)
            .is_some_and(|collection| collection.overrides.contains(&haversack::Role::Coordinator))
    };
    let Some((planned, names)) = editable(world, 1, can) else {
        world.skip_stage(OVERRIDE, "no free text field a coordinator may override");
        return Ok(());
    };
    world.console.begin(OVERRIDE);
    let field = names[0].clone();
    for phone in [1, COORDINATOR] {
        world.set_online(phone, false).await?;
    }
    let (value, reason) = (json!("Rettet av koordinator"), "ført på feil sted");
    let command = Command::Override {
        record: planned.record,
        field: field.clone(),
        value: value.clone(),
        reason: reason.to_owned(),
    };
    world.phones[COORDINATOR].ask::<Json>(command).await?;
    let by = world.phones[COORDINATOR].name.to_owned();
    let mark = Write::Mark { field: field.clone(), value: value.clone(), by, reason: reason.to_owned() };
    world.journal(COORDINATOR, planned.record, &planned.collection, false, vec![mark]);
    let mentors = json!("Mentors samtidige verdi");
    world.edit(1, planned.record, &planned.collection, [(field.clone(), mentors.clone())].into()).await?;
    for phone in [1, COORDINATOR] {
        world.set_online(phone, true).await?;
    }
    world.meet().await?;
    for phone in 0..world.phones.len() {
        let name = world.phones[phone].name;
        let shown: Option<Shown> = world.phones[phone].ask(Command::Read(planned.record)).await?;
        let is_so = shown.is_some_and(|shown| {
            shown.shown.get(&field) == Some(&value)
                && shown.overridden == [field.clone()]
                && shown.beneath.get(&field) == Some(&mentors)
                && shown.server_id.is_some()
        });
        world.claim(
            OVERRIDE,
            is_so,
            format!("{name} shows the override, its flag and the mentor's value beneath"),
        );
    }
    let facts = vec!["shown on every phone with its flag; the mentor's value is kept beneath".to_owned()];
    world.end_stage(OVERRIDE, facts, json!({ "overrides": 1 }));
    Ok(())
}

/// The server is killed while phones edit; they back off and recover by themselves when it is back.
pub(super) async fn outage(world: &mut World) -> Result<(), DemoError> {
    let Some((_, names)) = editable(world, 1, |_| true) else {
        world.skip_stage(OUTAGE, "no free text field to edit");
        return Ok(());
    };
    drop(names);
    world.console.begin(OUTAGE);
    world.server.kill().await;
    let mut edits = 0;
    for phone in [0, 1] {
        for number in 0..5 {
            let Some((planned, names)) = editable(world, 1, |_| true) else { continue };
            let field = &names[world.chance.below(names.len())];
            let text = json!(format!("Skrevet mens tjeneren var nede, {phone}-{number}"));
            world.edit(phone, planned.record, &planned.collection, [(field.clone(), text)].into()).await?;
            edits += 1;
        }
    }
    let is_waiting = world.watch(&[0, 1], |status| status.phase == "waiting", |_, _| {}).await?;
    world.claim(OUTAGE, is_waiting, "both phones back off");
    let mut attempts = 0;
    for phone in [0, 1] {
        let outbox: Vec<OutboxLine> = world.phones[phone].ask(Command::Outbox).await?;
        attempts += outbox.iter().map(|entry| entry.attempts).sum::<u32>();
        world.claim(OUTAGE, outbox.len() == 5, format!("phone {phone} keeps its 5 edits"));
    }
    world.claim(OUTAGE, attempts > 0, "the outbox counts its attempts");
    world.server.start().await?;
    let is_recovered = world.watch(&[0, 1], |status| status.unsettled == 0, |_, _| {}).await?;
    world.claim(OUTAGE, is_recovered, "both phones recover without a new edit");
    world.meet().await?;
    let facts = vec![format!("{edits} edits made meanwhile, {attempts} attempts, recovered by themselves")];
    world.end_stage(OUTAGE, facts, json!({ "edits": edits, "attempts": attempts }));
    Ok(())
}
