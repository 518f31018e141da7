//! The command line: every command, its help, and what the whole teaches somebody who never used it.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use serde_json::json;

use crate::care::CareCommand;
use crate::demo::DemoArguments;
use crate::exit::Exit;
use crate::export::ExportArguments;
use crate::import::ImportArguments;
use crate::inspect::InspectArguments;
use crate::notices::NoticesArguments;
use crate::outbox::OutboxArguments;
use crate::record::assignment::with_removals;
use crate::record::conflicts::ConflictsArguments;
use crate::record::create::CreateArguments;
use crate::record::edit::{EditArguments, NameArguments};
use crate::record::get::GetArguments;
use crate::record::history::HistoryArguments;
use crate::record::list::ListArguments;
use crate::record::mark::{OverrideArguments, ReleaseArguments};
use crate::record::watch::WatchArguments;
use crate::record::why::WhyArguments;
use crate::serve::ServeArguments;
use crate::sync::SyncArguments;

/// An encrypted, offline-first record store that always finds its way home.
#[derive(Debug, Parser)]
#[command(name = "haversack", version, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which store, and how it is opened.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StoreArguments {
    /// Folder of the store [variable: HAVERSACK_STORE].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Schema file; needed once, then remembered.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,
    /// Read the key from this file descriptor.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) key_fd: Option<u32>,
    /// Answer in JSON, errors too.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Play a whole field day and prove the promises.
    Demo(DemoArguments),
    /// Run the reference server.
    Serve(ServeArguments),
    /// Create a record.
    Create(CreateArguments),
    /// Change fields of a record.
    Edit(EditArguments),
    /// Mark a record deleted; restorable.
    #[command(after_help = "Example:\n  haversack delete ACT-000017")]
    Delete(NameArguments),
    /// Take a deletion back.
    #[command(after_help = "Example:\n  haversack restore ACT-000017")]
    Restore(NameArguments),
    /// Show a record.
    Get(GetArguments),
    /// List records of a collection.
    List(ListArguments),
    /// Show a list anew whenever it changes.
    Watch(WatchArguments),
    /// Make a field show your value until released.
    Override(OverrideArguments),
    /// Take an override mark away.
    Release(ReleaseArguments),
    /// Show concurrent values and why they lost.
    Conflicts(ConflictsArguments),
    /// Show every write of a field or record.
    History(HistoryArguments),
    /// Show why a field shows what it shows.
    Why(WhyArguments),
    /// Show or acknowledge notices.
    Notices(NoticesArguments),
    /// Show, retry or discard unsent and refused edits.
    Outbox(OutboxArguments),
    /// Send and fetch until nothing is left to do.
    Sync(SyncArguments),
    /// Check a store and show what it is, never values.
    Inspect(InspectArguments),
    /// Write all records as JSON lines, or one person's.
    Export(ExportArguments),
    /// Create records from JSON lines or CSV.
    Import(ImportArguments),
    #[command(flatten)]
    Care(CareCommand),
    /// One phone of the demo.
    #[command(name = "__phone", hide = true)]
    Phone,
    /// The server of the demo.
    #[command(name = "__server", hide = true)]
    Server(ServeArguments),
}

/// Commands by purpose, in the order a beginner meets them.
const GROUPS: &[(&str, &[&str])] = &[
    ("Try it", &["demo", "serve"]),
    ("Write records", &["create", "edit", "delete", "restore"]),
    ("Read records", &["get", "list", "watch", "history", "why"]),
    ("Coordinate", &["override", "release", "conflicts"]),
    ("Find the way home", &["sync", "outbox", "notices"]),
    ("Bring in, take out", &["import", "export"]),
    ("Look after a store", &["inspect", "doctor", "salvage", "backup", "rekey", "recovery"]),
];

const TEMPLATE: &str =
    "{about-with-newline}\n{usage-heading} {usage}\n\n{before-help}Options:\n{options}{after-help}";

const TEACHING: &str = r#"What it is:
  Records live in an encrypted file on this device. Every
  command works without a network; an edit is safe when its
  command returns. `haversack sync` delivers what waits in
  the outbox and fetches what others did. A refused edit is
  rolled back and its input kept, see `haversack outbox`.

First steps:
  cargo demo                     # the story in a minute

  head -c 32 /dev/urandom > key  # no key store? bring a key
  export HAVERSACK_STORE=./visits
  haversack create contact name='Kari Nordmann' \
      --schema schema.json --key-fd 3 3<key
  haversack list contact --key-fd 3 3<key
  haversack outbox --key-fd 3 3<key
  haversack sync --server https://sync.example.org \
      --tenant north --principal kari \
      --key-fd 3 3<key --token-fd 4 4<token

Where the key comes from:
  1. --key-fd N: 32 raw bytes or 64 hexadecimal digits, read
     from file descriptor N.
  2. Otherwise the platform's key store (Secret Service,
     Keychain, Credential Manager): made at first opening.
  Never from the command line or a variable: others on this
  machine can read both. Tokens come the same way, by
  --token-fd. Without its key a store cannot be read by
  anybody: keep a copy.

Exit codes:
"#;

/// The whole command line.
pub(crate) fn command() -> clap::Command {
    let command = Arguments::command();
    let groups = groups(&command);
    command
        .help_template(TEMPLATE)
        .before_help(groups.clone())
        .before_long_help(groups)
        .after_help("`--help` teaches first steps, keys and exit codes.")
        .after_long_help(format!("{TEACHING}{}", Exit::table()))
        .mut_subcommand("demo", |demo| {
            let told = demo.get_after_help().map(ToString::to_string).unwrap_or_default();
            demo.after_help(format!("{told}\n\nExample:\n  haversack demo --seed 7 --keep ./field-day"))
        })
        .mut_subcommand("sync", |sync| {
            sync.mut_args(|argument| {
                let is_needed =
                    ["server", "tenant", "principal", "token_fd"].contains(&argument.get_id().as_str());
                argument.required(is_needed)
            })
        })
}

fn groups(command: &clap::Command) -> String {
    let mut text = String::new();
    for (heading, names) in GROUPS {
        text.push_str(&format!("{heading}:\n"));
        for name in *names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!("  {name:9}  {about}\n"));
        }
    }
    text
}

/// Reads the command line.
///
/// # Errors
/// How the process ends when there is nothing more to do: help was shown, or the line was not understood.
pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Arguments, Exit> {
    let words = with_removals(words.collect());
    let is_json = words.iter().any(|word| word == "--json");
    let parsed =
        command().try_get_matches_from(words).and_then(|matches| Arguments::from_arg_matches(&matches));
    parsed.map_err(|refusal| tell(&refusal, is_json))
}

/// Shows help, version or a usage error. Nobody reading it is fine.
fn tell(refusal: &clap::Error, is_json: bool) -> Exit {
    if !refusal.use_stderr() {
        let _ = refusal.print();
        return Exit::Done;
    }
    if is_json {
        let text = refusal.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let error = json!({ "error": {
            "code": "usage", "message": message, "retryable": false, "data_at_risk": false,
        } });
        let _ = writeln!(io::stderr(), "{error}");
    } else {
        let _ = refusal.print();
    }
    Exit::Usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        command().debug_assert();
    }

    #[test]
    fn the_help_mentions_every_command_once_and_every_exit_code() {
        let help = command().render_long_help().to_string();
        for subcommand in command().get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
            let line = format!("\n  {:9}  ", subcommand.get_name());
            assert_eq!(help.matches(&line).count(), 1, "{}", subcommand.get_name());
        }
        assert!(help.contains(&Exit::table()));
    }

    #[test]
    fn the_help_of_every_command_shows_an_example() {
        for mut subcommand in command().get_subcommands().filter(|one| !one.is_hide_set()).cloned() {
            let help = subcommand.render_long_help().to_string();
            assert!(help.contains("Example"), "{}", subcommand.get_name());
        }
    }

    #[test]
    fn what_we_teach_fits_sixty_columns() {
        let too_long: Vec<_> = TEACHING.lines().filter(|line| line.chars().count() > 60).collect();
        assert!(too_long.is_empty(), "{too_long:?}");
    }
}
