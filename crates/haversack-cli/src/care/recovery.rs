//! `haversack recovery`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use haversack::{
    StoreKey, add_organisation_slot, add_recovery_slot, open_organisation_slot, open_recovery_slot,
    recovery_request, restore_key, restore_key_with_secret,
};
use serde_json::json;
use zeroize::Zeroizing;

use super::public_key;
use crate::arguments::StoreArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::keys;
use crate::present::{Screen, Tone};
use crate::session::folder_of;

/// What to do with the recovery slots.
#[derive(Debug, clap::Args)]
#[command(after_help = "A slot is a file in the store's folder that holds the key:
under a passphrase, or under the X25519 public key of an
organisation. Both may be there. Whoever has the file and
what opens it can read the store. A passphrase is read from
a file descriptor, to its end or the first line end.

Examples:
  haversack recovery add --passphrase-fd 4 4<passphrase
  haversack recovery open --passphrase-fd 4 4<passphrase

  haversack recovery add --organisation organisation.pub
  haversack recovery request --output request.pem
  openssl pkeyutl -derive -inkey organisation.pem \\
      -peerkey request.pem -out secret.bin
  haversack recovery open --secret secret.bin

The third command runs where the organisation keeps its
private key, which no device and no haversack ever sees.
secret.bin opens this one slot: remove it afterwards.")]
pub(crate) struct RecoveryArguments {
    #[command(subcommand)]
    command: RecoveryCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RecoveryCommand {
    /// Keep the key under a passphrase or an organisation's key, in place of the slot of that kind there was.
    #[command(
        after_help = "Example:\n  haversack recovery add --key-fd 3 3<key --passphrase-fd 4 4<passphrase"
    )]
    Add {
        #[command(flatten)]
        under: Under,
    },
    /// Write what the organisation needs to derive the secret of its slot: a public key, as PEM.
    #[command(after_help = "Example:\n  haversack recovery request --output request.pem")]
    Request {
        /// Write to this file, which must not be there yet.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Bring the key back: to the platform's key store, or to a file descriptor.
    #[command(
        after_help = "Example:\n  haversack recovery open --passphrase-fd 4 4<passphrase --to-fd 5 5>key"
    )]
    Open {
        #[command(flatten)]
        with: With,
        /// Write the key to this file descriptor, as 64 hexadecimal digits.
        #[arg(long, value_name = "N")]
        to_fd: Option<u32>,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Under {
    /// Read the passphrase from this file descriptor.
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
    /// The organisation's X25519 public key: PEM, or 32 bytes.
    #[arg(long, value_name = "FILE")]
    organisation: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct With {
    /// Read the passphrase from this file descriptor.
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
    /// The 32 bytes the organisation derived.
    #[arg(long, value_name = "FILE")]
    secret: Option<PathBuf>,
}

/// Adds or opens a slot.
pub(super) fn run(
    store: &StoreArguments,
    screen: Screen,
    arguments: RecoveryArguments,
) -> Result<Exit, Failure> {
    let folder = folder_of(store)?;
    let done = match arguments.command {
        RecoveryCommand::Add { under } => add(store, &folder, &under)?,
        RecoveryCommand::Request { output } => return request(screen, &folder, output.as_deref()),
        RecoveryCommand::Open { with, to_fd } => open(store, screen, &folder, &with, to_fd)?,
    };
    if screen.is_json {
        screen.json(&json!({ "recovery": done.0 }))?;
    } else {
        screen.line(None, done.1)?;
    }
    Ok(Exit::Done)
}

/// A word for programs and a sentence for people.
type Told = (&'static str, &'static str);

fn add(store: &StoreArguments, folder: &Path, under: &Under) -> Result<Told, Failure> {
    let keys = keys::provider(store.key_fd)?;
    if let Some(path) = &under.organisation {
        add_organisation_slot(folder, keys.as_ref(), public_key::read(path)?)?;
        return Ok(("added", "the organisation can bring this store's key back from now on"));
    }
    let descriptor =
        under.passphrase_fd.ok_or(Failure::Sentence("name the passphrase or the organisation"))?;
    add_recovery_slot(folder, keys.as_ref(), &keys::passphrase(descriptor)?)?;
    Ok(("added", "the passphrase opens this store's key from now on"))
}

/// The public half of the slot's ephemeral key, to be carried to where the organisation's private key lives.
fn request(screen: Screen, folder: &Path, output: Option<&Path>) -> Result<Exit, Failure> {
    let request = recovery_request(folder)?;
    let pem = public_key::to_pem(&request.ephemeral);
    let organisation = public_key::to_pem(request.organisation.as_bytes());
    match output {
        Some(path) => {
            let made = OpenOptions::new().write(true).create_new(true).open(path);
            let written = made.and_then(|mut file| file.write_all(pem.as_bytes()));
            written.map_err(|source| Failure::File { what: "the request".to_owned(), source })?;
        }
        None if !screen.is_json => {
            write!(io::stdout(), "{pem}")?;
            return Ok(Exit::Done);
        }
        None => {}
    }
    if screen.is_json {
        screen.json(&json!({ "store": request.store_id, "request": pem, "organisation": organisation }))?;
    } else {
        screen
            .line(None, "the request is written; derive the secret where this key's private half is kept:")?;
        screen.line(None, organisation.lines().nth(1).unwrap_or_default())?;
    }
    Ok(Exit::Done)
}

fn open(
    store: &StoreArguments,
    screen: Screen,
    folder: &Path,
    with: &With,
    to_fd: Option<u32>,
) -> Result<Told, Failure> {
    let secret = with.secret.as_deref().map(public_key::read_secret).transpose()?;
    if let (Some((_, true)), false) = (&secret, screen.is_json) {
        let told = "others on this machine can read the secret's file: remove it when this is done";
        screen.line(Some(Tone::Warning), told)?;
    }
    let passphrase = with.passphrase_fd.map(keys::passphrase).transpose()?;
    if let Some(descriptor) = to_fd {
        let key = match (&secret, &passphrase) {
            (Some((secret, _)), _) => open_organisation_slot(folder, secret)?,
            (None, passphrase) => open_recovery_slot(folder, passphrase.as_ref().map_or(&[], |one| one))?,
        };
        write_key(descriptor, &key)?;
        return Ok(("opened", "the key was written; keep it where nobody else reads it"));
    }
    let keys = keys::provider(store.key_fd)?;
    match (&secret, &passphrase) {
        (Some((secret, _)), _) => restore_key_with_secret(folder, keys.as_ref(), secret)?,
        (None, passphrase) => restore_key(folder, keys.as_ref(), passphrase.as_ref().map_or(&[], |one| one))?,
    }
    Ok(("restored", "the key is back in the key store"))
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
