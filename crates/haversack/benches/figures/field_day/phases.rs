//! What a phone does in each phase, the same for every contender.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value as Json, json};

use super::child::{await_word, now_ms, say, say_done};
use super::{Contender, EDITED_APART, Setup, conflicting_edit, ids_of_edited, read_records};
use crate::world::Outcome;

const VERIFIED: &str = "verified";

/// The ids of the records that are edited: as told, or read from all of them, which takes memory.
fn edited(setup: &Setup) -> Outcome<Vec<String>> {
    if !setup.edited.is_empty() {
        return Ok(setup.edited.clone());
    }
    ids_of_edited(&read_records(&setup.data)?)
}

pub(super) fn run<C: Contender>(setup: &Setup) -> Outcome<()> {
    let records = if setup.phase == "p1" { read_records(&setup.data)? } else { vec![] };
    let needs_edited = matches!(setup.phase.as_str(), "p4watch" | "p4edit" | "p6edit" | "p6sync");
    let edited = if needs_edited { edited(setup)? } else { vec![] };
    match setup.phase.as_str() {
        "p4watch" => watch::<C>(setup, &edited),
        "p4edit" => edit_online::<C>(setup, &edited),
        "p6sync" => meet::<C>(setup, &edited),
        _ => from_opening::<C>(setup, &records, &edited),
    }
}

/// Phases whose time includes opening the store.
fn from_opening<C: Contender>(setup: &Setup, records: &[Json], edited: &[String]) -> Outcome<()> {
    say(&json!({ "ev": "ready" }))?;
    await_word("go")?;
    let begun = now_ms();
    let mut phone = C::open(setup)?;
    match setup.phase.as_str() {
        "p1" => records.iter().try_for_each(|record| phone.create(record))?,
        "p2" | "p3" | "p5" => phone.bring_in_step()?,
        "p6edit" => {
            for (at, uuid) in edited.iter().enumerate() {
                let (field, text) = conflicting_edit(&setup.side, at);
                phone.edit(uuid, field, &text)?;
            }
        }
        unknown => return Err(format!("no phase {unknown}").into()),
    }
    say_done(begun)?;
    await_word("stop")?;
    let mut told = json!({ "ev": "final" });
    if setup.phase == "p3" {
        let mut found = phone.all()?;
        let mut expected = read_records(&setup.data)?;
        found.sort_by(|one, other| one["uuid"].as_str().cmp(&other["uuid"].as_str()));
        expected.sort_by(|one, other| one["uuid"].as_str().cmp(&other["uuid"].as_str()));
        told["count"] = json!(found.len());
        told["ok"] = json!(found == expected);
    }
    Ok(say(&told)?)
}

fn watch<C: Contender>(setup: &Setup, edited: &[String]) -> Outcome<()> {
    let mut phone = C::open(setup)?;
    phone.bring_in_step()?;
    say(&json!({ "ev": "ready" }))?;
    await_word("go")?;
    let begun = now_ms();
    let mut waiting: Vec<&String> = edited.iter().collect();
    loop {
        let mut still = Vec::new();
        for uuid in waiting {
            if phone.text(uuid, "status")? != VERIFIED {
                still.push(uuid);
            }
        }
        waiting = still;
        if waiting.is_empty() {
            break;
        }
        phone.await_news()?;
    }
    say_done(begun)?;
    await_word("stop")?;
    Ok(say(&json!({ "ev": "final", "seen": edited.len() }))?)
}

fn edit_online<C: Contender>(setup: &Setup, edited: &[String]) -> Outcome<()> {
    let mut phone = C::open(setup)?;
    phone.bring_in_step()?;
    say(&json!({ "ev": "ready" }))?;
    await_word("go")?;
    let begun = now_ms();
    for uuid in edited {
        phone.edit(uuid, "status", VERIFIED)?;
    }
    phone.bring_in_step()?;
    say_done(begun)?;
    await_word("stop")?;
    Ok(say(&json!({ "ev": "final" }))?)
}

/// Connects and goes on reading until told to stop; says what it then has, and when it last saw something change.
fn meet<C: Contender>(setup: &Setup, edited: &[String]) -> Outcome<()> {
    say(&json!({ "ev": "ready" }))?;
    await_word("go")?;
    let begun = now_ms();
    let mut phone = C::open(setup)?;
    phone.bring_in_step()?;
    let (stop, stopped) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
    let (told, outcome) = (Arc::clone(&stop), Arc::clone(&stopped));
    let waiting = thread::spawn(move || {
        let outcome_of_wait = await_word("stop").map_err(|error| error.to_string());
        *outcome.lock().unwrap_or_else(PoisonError::into_inner) = outcome_of_wait.err();
        told.store(true, Ordering::SeqCst);
    });
    let mut state = state_of(&phone, edited)?;
    let mut last_change = now_ms();
    say_done(begun)?;
    while !stop.load(Ordering::SeqCst) {
        phone.await_news()?;
        let now = state_of(&phone, edited)?;
        if now != state {
            (state, last_change) = (now, now_ms());
        }
    }
    waiting.join().map_err(|_| "the wait for a word failed")?;
    let conflicts: Vec<bool> = edited[EDITED_APART.min(edited.len())..]
        .iter()
        .map(|uuid| phone.tells_conflict(uuid))
        .collect::<Outcome<_>>()?;
    Ok(say(&json!({ "ev": "final", "state": state, "conflicts": conflicts, "last_change": last_change }))?)
}

fn state_of<C: Contender>(phone: &C, edited: &[String]) -> Outcome<Vec<Json>> {
    let of_one = |uuid: &String| -> Outcome<Json> {
        let text = |field| phone.text(uuid, field);
        Ok(json!({ "status": text("status")?, "location": text("location")?, "notes": text("notes")? }))
    };
    edited.iter().map(of_one).collect()
}
