//! `haversack get`.

use super::shown::{Shown, show_whole};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// Which record.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  haversack get ACT-17\n  haversack get ACT-17 --show-sensitive --json")]
pub(crate) struct GetArguments {
    /// Record id or server id.
    record: String,
    /// Show fields the schema calls personal data.
    #[arg(long)]
    show_sensitive: bool,
}

/// Shows a record: fields, override marks with the value beneath, conflicts, state.
pub(crate) async fn run(session: &Session, arguments: GetArguments) -> Result<Exit, Failure> {
    let found = session.find(&arguments.record).await?;
    let shown = Shown { session, with_sensitive: arguments.show_sensitive };
    if session.screen.is_json {
        session.screen.json(&shown.to_json(&found))?;
    } else {
        show_whole(&shown, &found)?;
    }
    Ok(Exit::Done)
}
