//! `haversack edit`, `delete` and `restore`.

use haversack::StoredRecord;
use serde_json::json;

use super::assignment::changes;
use super::shown::name_of;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// What to change.
#[derive(Debug, clap::Args)]
#[command(after_help = "FIELD=VALUE   sets a field, see `haversack create --help`
FIELD=        clears it
+FIELD=VALUE  adds to a set, or steps a counter up
-FIELD=VALUE  takes from a set, or steps a counter down

Examples:
  haversack edit ACT-000017 minutes=50 notes=
  haversack edit ACT-000017 +tags=tur -tags=kafé calls+=1")]
pub(crate) struct EditArguments {
    /// Record id or server id.
    record: String,
    /// What to change.
    #[arg(value_name = "FIELD=VALUE", required = true)]
    fields: Vec<String>,
}

/// Which record.
#[derive(Debug, clap::Args)]
pub(crate) struct NameArguments {
    /// Record id or server id.
    record: String,
}

/// Edits a record.
pub(crate) async fn run(session: &Session, arguments: EditArguments) -> Result<Exit, Failure> {
    let found = session.find(&arguments.record).await?;
    let collection = session.collection(&found.collection)?;
    let changes = changes((&found.collection, collection), &arguments.fields, false)?;
    session.store.collection(&found.collection).edit(found.record, changes).await?;
    tell(session, &found, "edited")
}

/// Marks a record deleted.
pub(crate) async fn delete(session: &Session, arguments: NameArguments) -> Result<Exit, Failure> {
    let found = session.find(&arguments.record).await?;
    session.store.collection(&found.collection).delete(found.record).await?;
    tell(session, &found, "deleted")
}

/// Takes a deletion back.
pub(crate) async fn restore(session: &Session, arguments: NameArguments) -> Result<Exit, Failure> {
    let found = session.find(&arguments.record).await?;
    session.store.collection(&found.collection).restore(found.record).await?;
    tell(session, &found, "restored")
}

/// Tells what was done to a record and waits in the outbox now.
pub(crate) fn tell(session: &Session, found: &StoredRecord, done: &str) -> Result<Exit, Failure> {
    if session.screen.is_json {
        session
            .screen
            .json(&json!({ "record": found.record, "server_id": found.server_id, "done": done }))?;
    } else {
        session.screen.line(None, &format!("{} {done}; it waits in the outbox", name_of(found)))?;
    }
    Ok(Exit::Done)
}
