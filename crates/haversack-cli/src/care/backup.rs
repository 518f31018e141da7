//! `haversack backup`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use haversack::{back_up, restore};
use serde_json::json;

use crate::arguments::StoreArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::keys;
use crate::present::Screen;
use crate::session::{SCHEMA_FILE, folder_of};

/// What to do with a backup.
#[derive(Debug, clap::Args)]
#[command(after_help = "A backup is a folder of its own, encrypted under the same
key, recovery slots included. What the server accepted is
there anyway: a backup is for what waits, and for places
without a network. A store that goes on from a backup is a
new device: it reads the log to its end before it sends, so
nothing arrives twice.

Examples:
  haversack backup make ./visits-monday --key-fd 3 3<key
  haversack backup restore ./visits-monday --key-fd 3 3<key")]
pub(crate) struct BackupArguments {
    #[command(subcommand)]
    command: BackupCommand,
}

#[derive(Debug, clap::Subcommand)]
enum BackupCommand {
    /// Write an encrypted, checked copy of the store.
    #[command(after_help = "Example:\n  haversack backup make ./visits-monday --key-fd 3 3<key")]
    Make {
        /// Folder of the backup; not there yet, or empty.
        #[arg(value_name = "DIR")]
        to: PathBuf,
    },
    /// Go back to a backup; the store there is kept beside it.
    #[command(after_help = "The backup is checked first and not touched. The present
store moves into a folder within its own, whole: it opens,
syncs and is salvaged with --store. Run it again if it was
interrupted.

Example:
  haversack backup restore ./visits-monday --key-fd 3 3<key")]
    Restore {
        /// Folder of the backup.
        #[arg(value_name = "DIR")]
        from: PathBuf,
    },
}

/// Makes a backup or goes back to one.
pub(super) fn run(
    store: &StoreArguments,
    screen: Screen,
    arguments: BackupArguments,
) -> Result<Exit, Failure> {
    let folder = folder_of(store)?;
    let keys = keys::provider(store.key_fd)?;
    match arguments.command {
        BackupCommand::Make { to } => {
            back_up(&folder, &to, keys.as_ref())?;
            copy_schema(&folder, &to)?;
            if screen.is_json {
                screen.json(&json!({ "backup": "made" }))?;
            } else {
                screen.line(None, "the backup is whole; its key is the store's, keep a copy of that, too")?;
            }
        }
        BackupCommand::Restore { from } => {
            let report = restore(&from, &folder, keys.as_ref())?;
            copy_schema(&from, &folder)?;
            let aside = report.aside.as_ref();
            if let Some(aside) = aside {
                copy_schema(&folder, aside)?;
            }
            if screen.is_json {
                screen.json(&json!({ "backup": "restored", "store": report.store_id, "aside": aside }))?;
                return Ok(Exit::Done);
            }
            let aside =
                aside.map_or_else(|| "there was none".to_owned(), |aside| aside.display().to_string());
            screen.pairs(&[
                ("restored".to_owned(), report.store_id.to_string()),
                ("store before".to_owned(), aside),
                ("next".to_owned(), "sync: it reads everything since, then sends what is left".to_owned()),
            ])?;
        }
    }
    Ok(Exit::Done)
}

/// Copies the remembered schema where none is remembered yet.
fn copy_schema(from: &Path, to: &Path) -> Result<(), Failure> {
    let (from, to) = (from.join(SCHEMA_FILE), to.join(SCHEMA_FILE));
    if to.exists() {
        return Ok(());
    }
    match fs::copy(from, to) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Failure::File { what: "the remembered schema".to_owned(), source })
        }
        _ => Ok(()),
    }
}
