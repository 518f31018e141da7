//! `haversack doctor`.

use std::path::PathBuf;

use haversack::{
    Condition, Error, Examination, RecoverySlot, Tally, examine, look_at_organisation_slot,
    look_at_recovery_slot,
};
use serde_json::{Value as Json, json};

use super::bundle::{self, Gathered};
use crate::arguments::StoreArguments;
use crate::exit::Exit;
use crate::failure::{Failure, store_code};
use crate::keys;
use crate::present::{Screen, Tone};
use crate::session::folder_of;

/// What to tell, and to whom.
#[derive(Debug, clap::Args)]
#[command(after_help = "Says which store it is, whether it opens and why not, what is
damaged, how much can still be read, and what to do. Reads
from a copy in the temporary folder; changes nothing, shows
no values. Ends with the code opening would end with, and
with 5 when something is damaged.

--bundle writes a file for whoever helps you: versions,
sizes, counts, codes and rounded ages, as JSON you can read
before you send it. No values, ids, tokens, keys or paths;
names of collections, fields and rules with --names only.

Examples:
  haversack doctor --key-fd 3 3<key
  haversack doctor --bundle support.json --key-fd 3 3<key
  haversack doctor --json --key-fd 3 3<key > report.json")]
pub(crate) struct DoctorArguments {
    /// Write a support bundle to this file, which must not be there yet.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Let the bundle name collections, fields and rules.
    #[arg(long, requires = "bundle")]
    names: bool,
}

/// Examines the store and tells.
pub(super) fn run(
    store: &StoreArguments,
    screen: Screen,
    arguments: &DoctorArguments,
) -> Result<Exit, Failure> {
    let folder = folder_of(store)?;
    let keys = keys::provider(store.key_fd)?;
    let examination = examine(&folder, keys.as_ref());
    let slots = [look_at_recovery_slot(&folder), look_at_organisation_slot(&folder)];
    let slots = slots.map(|slot| slot.unwrap_or(RecoverySlot::Unreadable));
    if let Some(path) = &arguments.bundle {
        let gathered =
            Gathered { folder: &folder, examination: &examination, slots, with_names: arguments.names };
        bundle::write(path, &gathered)?;
    }
    if screen.is_json {
        screen.json(&to_json(&examination, slots))?;
    } else {
        show(screen, &examination, slots)?;
        if arguments.bundle.is_some() {
            screen.line(None, "the bundle is written; read it before you send it")?;
        }
    }
    Ok(match examination.condition {
        Condition::Damaged => Exit::Storage,
        Condition::Refused(error) => Exit::of(&Error::Store(error)),
        _ => Exit::Done,
    })
}

fn tally_json(tally: Option<Tally>) -> Json {
    tally.map_or(Json::Null, |tally| json!({ "readable": tally.kept, "lost": tally.lost }))
}

fn to_json(examination: &Examination, slots: [RecoverySlot; 2]) -> Json {
    let refusal = match &examination.condition {
        Condition::Refused(error) => json!({
            "code": store_code(error),
            "message": error.to_string(),
            "retryable": error.is_retryable(),
            "data_at_risk": error.is_data_at_risk(),
        }),
        _ => Json::Null,
    };
    json!({
        "store": examination.store_id,
        "condition": examination.condition.as_str(),
        "refusal": refusal,
        "findings": examination.findings,
        "entries": tally_json(examination.entries),
        "documents": tally_json(examination.documents),
        "recovery_slot": slots[0].as_str(),
        "organisation_slot": slots[1].as_str(),
        "advice": examination.advice(),
    })
}

fn show(screen: Screen, examination: &Examination, slots: [RecoverySlot; 2]) -> Result<(), Failure> {
    let tally = |tally: Option<Tally>| match tally {
        Some(Tally { kept, lost: 0 }) => format!("{kept} readable"),
        Some(Tally { kept, lost }) => format!("{kept} readable, {lost} or more lost"),
        None => "not looked at".to_owned(),
    };
    let condition = match &examination.condition {
        Condition::Refused(error) => error.to_string(),
        condition => condition.as_str().to_owned(),
    };
    let store_id = examination.store_id.map_or_else(|| "nobody can tell".to_owned(), |id| id.to_string());
    screen.pairs(&[
        ("store".to_owned(), store_id),
        ("condition".to_owned(), condition),
        ("outbox".to_owned(), tally(examination.entries)),
        ("documents".to_owned(), tally(examination.documents)),
        ("recovery slot".to_owned(), slots[0].as_str().to_owned()),
        ("organisation slot".to_owned(), slots[1].as_str().to_owned()),
        ("what to do".to_owned(), examination.advice().to_owned()),
    ])?;
    for finding in &examination.findings {
        screen.line(Some(Tone::Warning), &format!("  {finding}"))?;
    }
    Ok(())
}
