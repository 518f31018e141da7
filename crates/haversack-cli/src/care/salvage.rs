//! `haversack salvage`.

use std::fs;
use std::path::PathBuf;

use haversack::{Tally, salvage};
use serde_json::json;

use crate::arguments::StoreArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::keys;
use crate::present::Screen;
use crate::session::{SCHEMA_FILE, folder_of};

/// Where to.
#[derive(Debug, clap::Args)]
#[command(after_help = "Writes a new store: the outbox first, then documents. The
damaged one is not touched; keep it. Records that are lost
come back from the server at the next `haversack sync` with
the new store, which sends nothing before it has read
everything anew.

Example:
  haversack salvage --to ./visits-2 --key-fd 3 3<key")]
pub(crate) struct SalvageArguments {
    /// Folder of the new store; not there yet, or empty.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// Salvages and tells what arrived.
pub(super) fn run(
    store: &StoreArguments,
    screen: Screen,
    arguments: &SalvageArguments,
) -> Result<Exit, Failure> {
    let folder = folder_of(store)?;
    let keys = keys::provider(store.key_fd)?;
    let report = salvage(&folder, &arguments.to, keys.as_ref())?;
    // Without it the new store asks for the schema once more, and that is all.
    let _ = fs::copy(folder.join(SCHEMA_FILE), arguments.to.join(SCHEMA_FILE));
    let is_all = report.entries.lost == 0 && report.documents.lost == 0 && !report.has_lost_more;
    let tally = |tally: Tally| json!({ "kept": tally.kept, "lost": tally.lost });
    if screen.is_json {
        screen.json(&json!({
            "store": report.store_id,
            "entries": tally(report.entries),
            "documents": tally(report.documents),
            "identity_kept": report.is_identity_kept,
            "complete": is_all && report.is_identity_kept,
        }))?;
        return Ok(Exit::Done);
    }
    let told = |tally: Tally| match tally.lost {
        0 => format!("{} kept", tally.kept),
        lost => format!("{} kept, {lost} or more lost", tally.kept),
    };
    let identity = if report.is_identity_kept {
        "kept"
    } else {
        "lost: check whose token the next sync brings, it binds the store anew"
    };
    let rest = if is_all { "kept" } else { "comes back with the next sync" };
    screen.pairs(&[
        ("new store".to_owned(), report.store_id.to_string()),
        ("outbox".to_owned(), told(report.entries)),
        ("documents".to_owned(), told(report.documents)),
        ("identity".to_owned(), identity.to_owned()),
        ("the rest".to_owned(), rest.to_owned()),
    ])?;
    Ok(Exit::Done)
}
