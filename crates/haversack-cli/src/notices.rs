//! `haversack notices`.

use haversack::Notice;
use serde_json::{Value as Json, json};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::present::Tone;
use crate::session::Session;

/// What to do with notices.
#[derive(Debug, clap::Args)]
#[command(after_help = "A notice tells what changed or threatens your work without
your doing. It stays until acknowledged.

Examples:
  haversack notices
  haversack notices acknowledge 3")]
pub(crate) struct NoticesArguments {
    #[command(subcommand)]
    command: Option<NoticesCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum NoticesCommand {
    /// Show them, oldest first.
    #[command(after_help = "Example:\n  haversack notices list --json")]
    List,
    /// Take one off the list.
    #[command(after_help = "Example:\n  haversack notices acknowledge 3")]
    Acknowledge {
        /// Number of the notice.
        id: i64,
    },
}

/// Shows or acknowledges notices.
pub(crate) async fn run(session: &Session, arguments: NoticesArguments) -> Result<Exit, Failure> {
    match arguments.command.unwrap_or(NoticesCommand::List) {
        NoticesCommand::List => list(session).await,
        NoticesCommand::Acknowledge { id } => {
            if !session.store.notices().await?.iter().any(|notice| notice.id == id) {
                return Err(Failure::UnknownNotice(id));
            }
            session.store.acknowledge_notice(id).await?;
            if session.screen.is_json {
                session.screen.json(&json!({ "acknowledged": id }))?;
            } else {
                session.screen.line(None, &format!("notice {id} acknowledged"))?;
            }
            Ok(Exit::Done)
        }
    }
}

async fn list(session: &Session) -> Result<Exit, Failure> {
    let notices = session.store.notices().await?;
    let screen = session.screen;
    if screen.is_json {
        screen.json(&Json::Array(notices.iter().map(to_json).collect()))?;
        return Ok(Exit::Done);
    }
    if notices.is_empty() {
        screen.line(None, "no notices")?;
    }
    for notice in &notices {
        screen.line(Some(Tone::Warning), &format!("{}  {}", notice.id, notice.kind.as_str()))?;
        let mut rows = vec![("edits".to_owned(), notice.entries.to_string())];
        rows.extend(notice.cause.as_ref().map(|cause| ("cause".to_owned(), cause.clone())));
        rows.extend(notice.record.map(|record| ("record".to_owned(), record.to_string())));
        rows.extend(notice.change_set.map(|id| ("change set".to_owned(), id.to_string())));
        screen.pairs(&rows)?;
    }
    Ok(Exit::Done)
}

fn to_json(notice: &Notice) -> Json {
    json!({
        "id": notice.id,
        "kind": notice.kind.as_str(),
        "cause": notice.cause,
        "entries": notice.entries,
        "record": notice.record,
        "change_set": notice.change_set,
    })
}
