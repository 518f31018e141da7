//! `haversack watch`.

use std::convert::Infallible;
use std::time::Duration;

use super::list::QueryArguments;
use super::shown::{Shown, show_list};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{Session, interrupted};
use crate::sync::{ServerArguments, connect};

/// What to watch, and where changes come from.
#[derive(Debug, clap::Args)]
#[command(after_help = "Ends with Ctrl-C. With --json, one list of records a line.
While it runs the store is open, so changes come from the
server only: name it as for `haversack sync`.

Example:
  haversack watch activity --where status=registered \\
      --server https://sync.example.org --tenant north \\
      --principal kari --token-fd 4 4<token")]
pub(crate) struct WatchArguments {
    #[command(flatten)]
    query: QueryArguments,
    /// Seconds between two round trips.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    every: u64,
    #[command(flatten)]
    server: ServerArguments,
}

/// Shows the outcome once, then each time it changed.
pub(crate) async fn run(session: &Session, arguments: WatchArguments) -> Result<Exit, Failure> {
    let query = arguments.query.query(session)?;
    let shown = Shown { session, with_sensitive: arguments.query.show_sensitive };
    let is_connected = connect(session, &arguments.server).await?;
    let syncing = sync_repeatedly(session, Duration::from_secs(arguments.every));
    let showing = show_changes(&shown, query);
    tokio::select! {
        // In this order: it can be ended from its first line on, and shows what is here before it tries the network.
        biased;
        () = interrupted() => {}
        ended = showing => ended?,
        Err(failure) = syncing, if is_connected => return Err(failure),
    }
    Ok(Exit::Done)
}

async fn show_changes(shown: &Shown<'_>, query: haversack::Query) -> Result<(), Failure> {
    let mut watch = shown.session.store.collection(&query.collection).watch(query);
    while let Some(records) = watch.next().await? {
        show_list(shown, &records)?;
    }
    Ok(())
}

/// Fetches for as long as it may help; what passes by itself is tried again.
async fn sync_repeatedly(session: &Session, every: Duration) -> Result<Infallible, Failure> {
    loop {
        match session.store.sync_once(every).await {
            Err(error) if !error.is_retryable() => return Err(error.into()),
            _ => tokio::time::sleep(every).await,
        }
    }
}
