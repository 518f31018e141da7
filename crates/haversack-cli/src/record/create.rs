//! `haversack create`.

use serde_json::json;

use super::assignment::changes;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// What to create.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints the record id; it names the record at once, offline too.\n\nExamples:\n  haversack create contact name='Kari Nordmann'\n  haversack create activity minutes=45 assignment=ASG-3 \\\n      tags=tur tags=kafé notes=@notes.txt",
    after_long_help = "Values by kind of field:\n  text       as it is; @FILE reads a file, @- standard input,\n             @@x is the text @x\n  integer    45          float    1.5\n  boolean    true        decimal  12.50\n  instant    2026-09-14T08:30:00Z\n  date       2026-09-14\n  bytes      base64, or @FILE for the bytes of a file\n  reference  a record id or a server id\n  set        repeat it: tags=tur tags=kafé\n\nPrints the record id; it names the record at once, offline too.\n\nExamples:\n  haversack create contact name='Kari Nordmann'\n  haversack create activity minutes=45 assignment=ASG-3 \\\n      tags=tur tags=kafé notes=@notes.txt"
)]
pub(crate) struct CreateArguments {
    /// Collection of the record.
    collection: String,
    /// Fields and their values.
    #[arg(value_name = "FIELD=VALUE")]
    fields: Vec<String>,
}

/// Creates a record.
pub(crate) async fn run(session: &Session, arguments: CreateArguments) -> Result<Exit, Failure> {
    let CreateArguments { collection, fields } = arguments;
    let changes = changes((&collection, session.collection(&collection)?), &fields, true)?;
    let record = session.store.collection(&collection).create(changes).await?;
    if session.screen.is_json {
        session.screen.json(&json!({ "record": record, "collection": collection }))?;
    } else {
        session.screen.line(None, &record.to_string())?;
    }
    Ok(Exit::Done)
}
