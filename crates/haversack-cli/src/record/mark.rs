//! `haversack override` and `release`.

use super::assignment::{kind_of, value};
use super::edit::tell;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{Session, as_unbound};

/// What a coordinator states.
#[derive(Debug, clap::Args)]
#[command(after_help = "The field's own value stays beneath and shows again after
`haversack release`. For coordinators.

Example:
  haversack override ACT-000017 minutes 60 \\
      --reason 'counted twice'")]
pub(crate) struct OverrideArguments {
    /// Record id or server id.
    record: String,
    /// Field.
    field: String,
    /// Value to show; an empty one shows the field empty.
    #[arg(allow_negative_numbers = true)]
    value: String,
    /// Why; everybody who reads the field sees it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Which mark to take away.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  haversack release ACT-000017 minutes")]
pub(crate) struct ReleaseArguments {
    /// Record id or server id.
    record: String,
    /// Field.
    field: String,
}

/// Puts an override mark on a field.
pub(crate) async fn put(session: &Session, arguments: OverrideArguments) -> Result<Exit, Failure> {
    let OverrideArguments { record, field, value: text, reason } = arguments;
    let found = session.find(&record).await?;
    let kind = kind_of((&found.collection, session.collection(&found.collection)?), &field)?;
    let value = match text.as_str() {
        "" => None,
        text => Some(value((&found.collection, &field), kind, text)?),
    };
    let marked = session.store.override_field(found.record, &field, value, &reason).await;
    marked.map_err(as_unbound)?;
    tell(session, &found, "overridden")
}

/// Takes an override mark away.
pub(crate) async fn release(session: &Session, arguments: ReleaseArguments) -> Result<Exit, Failure> {
    let found = session.find(&arguments.record).await?;
    session.store.release_override(found.record, &arguments.field).await?;
    tell(session, &found, "released")
}
