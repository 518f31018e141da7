//! `haversack recovery`.

use std::fs::OpenOptions;
use std::io::Write;

use haversack::{StoreKey, add_recovery_slot, open_recovery_slot, restore_key};
use serde_json::json;
use zeroize::Zeroizing;

use crate::arguments::StoreArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::keys;
use crate::present::Screen;
use crate::session::folder_of;

/// What to do with the recovery slot.
#[derive(Debug, clap::Args)]
#[command(after_help = "The slot is a file in the store's folder that holds the key
under a passphrase. Whoever has both can read the store:
choose a long one and write it down elsewhere. It is read
from a file descriptor, to its end or the first line end.

Examples:
  haversack recovery add --passphrase-fd 4 4<passphrase
  haversack recovery open --passphrase-fd 4 4<passphrase")]
pub(crate) struct RecoveryArguments {
    #[command(subcommand)]
    command: RecoveryCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RecoveryCommand {
    /// Keep the key under a passphrase, in place of the slot there was.
    #[command(
        after_help = "Example:\n  haversack recovery add --key-fd 3 3<key --passphrase-fd 4 4<passphrase"
    )]
    Add {
        /// Read the passphrase from this file descriptor.
        #[arg(long, value_name = "N")]
        passphrase_fd: u32,
    },
    /// Bring the key back: to the platform's key store, or to a file descriptor.
    #[command(
        after_help = "Example:\n  haversack recovery open --passphrase-fd 4 4<passphrase --to-fd 5 5>key"
    )]
    Open {
        /// Read the passphrase from this file descriptor.
        #[arg(long, value_name = "N")]
        passphrase_fd: u32,
        /// Write the key to this file descriptor, as 64 hexadecimal digits.
        #[arg(long, value_name = "N")]
        to_fd: Option<u32>,
    },
}

/// Adds or opens the slot.
pub(super) fn run(
    store: &StoreArguments,
    screen: Screen,
    arguments: RecoveryArguments,
) -> Result<Exit, Failure> {
    let folder = folder_of(store)?;
    let done = match arguments.command {
        RecoveryCommand::Add { passphrase_fd } => {
            let keys = keys::provider(store.key_fd)?;
            add_recovery_slot(&folder, keys.as_ref(), &keys::passphrase(passphrase_fd)?)?;
            ("added", "the passphrase opens this store's key from now on")
        }
        RecoveryCommand::Open { passphrase_fd, to_fd: Some(descriptor) } => {
            let key = open_recovery_slot(&folder, &keys::passphrase(passphrase_fd)?)?;
            write_key(descriptor, &key)?;
            ("opened", "the key was written; keep it where nobody else reads it")
        }
        RecoveryCommand::Open { passphrase_fd, to_fd: None } => {
            let keys = keys::provider(store.key_fd)?;
            restore_key(&folder, keys.as_ref(), &keys::passphrase(passphrase_fd)?)?;
            ("restored", "the key is back in the key store")
        }
    };
    if screen.is_json {
        screen.json(&json!({ "recovery": done.0 }))?;
    } else {
        screen.line(None, done.1)?;
    }
    Ok(Exit::Done)
}

fn write_key(descriptor: u32, key: &StoreKey) -> Result<(), Failure> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Zeroizing::new(Vec::with_capacity(2 * key.expose().len() + 1));
    for byte in key.expose() {
        text.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0x0f)]]);
    }
    text.push(b'\n');
    let written = OpenOptions::new().write(true).open(format!("/dev/fd/{descriptor}"));
    let written = written.and_then(|mut file| file.write_all(&text));
    written.map_err(|source| Failure::File { what: "the descriptor for the key".to_owned(), source })
}
