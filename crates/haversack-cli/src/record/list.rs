//! `haversack list`.

use haversack::Query;
use serde_json::json;

use super::clause::{filter, order};
use super::shown::{Shown, show_list};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// Which records.
#[derive(Debug, clap::Args)]
#[command(after_help = "Filters and sorting go over indexed fields, words over searched ones.

Examples:
  haversack list activity
  haversack list activity --where 'started_at>=2026-09-01T00:00:00Z' \\
      --where status=registered --sort -started_at --limit 20
  haversack list activity --search 'tur vålereng'
  haversack list activity --sort -started_at --explain")]
pub(crate) struct ListArguments {
    #[command(flatten)]
    pub(crate) query: QueryArguments,
    /// Say how the records would be found, and list none.
    #[arg(long)]
    explain: bool,
}

/// A query of the command line, for `list` and `watch`.
#[derive(Debug, clap::Args)]
pub(crate) struct QueryArguments {
    /// Collection.
    collection: String,
    /// Only records that fulfil this; repeat it for more.
    #[arg(long = "where", value_name = "FIELD>=VALUE")]
    filters: Vec<String>,
    /// Only records in whose searched fields all these words occur, the last one as a beginning.
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
    /// Sort by a field; -FIELD puts the greatest first.
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    sort: Option<String>,
    /// Greatest number of records.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Records to skip.
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u32,
    /// Show deleted records too.
    #[arg(long)]
    with_deleted: bool,
    /// Show fields the schema calls personal data.
    #[arg(long)]
    pub(crate) show_sensitive: bool,
}

impl QueryArguments {
    /// The query, checked against the schema.
    ///
    /// # Errors
    /// An edit refusal naming collection or field.
    pub(crate) fn query(&self, session: &Session) -> Result<Query, Failure> {
        let collection = session.collection(&self.collection)?;
        let filters = self.filters.iter().map(|clause| filter((&self.collection, collection), clause));
        Ok(Query {
            filters: filters.collect::<Result<_, _>>()?,
            sort: self.sort.as_deref().map(order),
            limit: self.limit,
            offset: self.offset,
            with_deleted: self.with_deleted,
            search: self.search.clone(),
            ..Query::of(&self.collection)
        })
    }
}

/// Lists records.
pub(crate) async fn run(session: &Session, arguments: ListArguments) -> Result<Exit, Failure> {
    let query = arguments.query.query(session)?;
    if arguments.explain {
        return explain(session, query).await;
    }
    let records = session.store.list(query).await?;
    let shown = Shown { session, with_sensitive: arguments.query.show_sensitive };
    show_list(&shown, &records)?;
    Ok(Exit::Done)
}

async fn explain(session: &Session, query: Query) -> Result<Exit, Failure> {
    let steps = session.store.explain(query).await?;
    if session.screen.is_json {
        session.screen.json(&json!({ "steps": steps }))?;
    } else {
        steps.iter().try_for_each(|step| session.screen.line(None, step))?;
    }
    Ok(Exit::Done)
}
