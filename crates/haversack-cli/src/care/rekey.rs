//! `haversack rekey`.

use haversack::{RecoverySlot, look_at_organisation_slot, look_at_recovery_slot, rekey};
use serde_json::json;

use crate::arguments::StoreArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::keys;
use crate::present::{Screen, Tone};
use crate::session::folder_of;

/// Which key.
#[derive(Debug, clap::Args)]
#[command(after_help = "Encrypts the store anew. Needs room for a second copy. The
old key opens the store until the new one was proven to fit,
and may be killed at any point: run it again to finish. Keep
both key files until it ends with code 0.

Without --new-key-fd the key store of the platform keeps a
fresh key.

Example:
  head -c 32 /dev/urandom > key-2
  haversack rekey --key-fd 3 3<key --new-key-fd 4 4<key-2")]
pub(crate) struct RekeyArguments {
    /// Read the new key from this file descriptor.
    #[arg(long, value_name = "N")]
    new_key_fd: Option<u32>,
}

/// Gives the store its new key.
pub(super) fn run(
    store: &StoreArguments,
    screen: Screen,
    arguments: &RekeyArguments,
) -> Result<Exit, Failure> {
    let folder = folder_of(store)?;
    if store.key_fd.is_some() && arguments.new_key_fd.is_none() {
        return Err(Failure::Sentence("bring the new key, too: --new-key-fd N N<NEWKEYFILE"));
    }
    let keys = keys::provider(store.key_fd)?;
    let new_keys = keys::provider(arguments.new_key_fd)?;
    rekey(&folder, keys.as_ref(), new_keys.as_ref())?;
    let slots = [look_at_recovery_slot(&folder), look_at_organisation_slot(&folder)];
    let [slot, organisation_slot] = slots.map(|slot| slot.unwrap_or(RecoverySlot::Unreadable));
    if screen.is_json {
        screen.json(&json!({
            "rekeyed": true,
            "recovery_slot": slot.as_str(),
            "organisation_slot": organisation_slot.as_str(),
        }))?;
        return Ok(Exit::Done);
    }
    screen.line(None, "the store has its new key; the old one opens it no more")?;
    if slot != RecoverySlot::Absent || organisation_slot != RecoverySlot::Absent {
        let told = "a recovery slot holds the old key: add it anew with `haversack recovery add`";
        screen.line(Some(Tone::Warning), told)?;
    }
    Ok(Exit::Done)
}
