//! Why the server does not start, stop or prove itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use haversack_core::RulesRefusal;
use haversack_protocol::SchemaRefusal;

use crate::store::StoreRefusal;

/// Why the server cannot do what it was told on its command line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreRefusal),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The operating system refused an address, a thread or a signal.
    #[error("the operating system refused: {0}")]
    System(#[source] std::io::Error),
    /// The schema file is refused.
    #[error(transparent)]
    Schema(#[from] SchemaRefusal),
    /// The rules file is refused.
    #[error(transparent)]
    Rules(#[from] RulesRefusal),
    /// What server ids of a collection would begin with is no plain short name.
    #[error("collection {collection:?}: server ids begin with 1 to {max} letters, digits or -_.:@")]
    Prefix {
        /// The collection.
        collection: String,
        /// Greatest length in bytes.
        max: usize,
    },
    /// Metrics would be read from other machines.
    #[error("metrics on {0} could be read from other machines; say --metrics-exposed if that is meant")]
    MetricsExposed(SocketAddr),
    /// A line of the tokens file does not read.
    #[error("{path}: line {line} is no token entry")]
    Tokens {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// A line of the ledger of erasures does not read. Serving without it could bring back what was erased.
    #[error("{path}: line {line} is no erasure; the server does not start without its ledger")]
    Ledger {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// The database has no such record.
    #[error("there is no such record")]
    UnknownRecord,
    /// The schema has no collection of that name.
    #[error("the schema has no collection {0:?}")]
    UnknownCollection(String),
    /// The record's collection has no field of that name.
    #[error("the record's collection has no field {0:?}")]
    UnknownField(String),
    /// Another field has concurrent values, of which an erasure keeps only the one shown.
    #[error(
        "field {0:?} is in conflict: an erasure keeps only the value shown; settle it, or say --keep-shown-only"
    )]
    InConflict(String),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// A thread of the server ended by a panic.
    #[error("a part of the server failed")]
    Panicked,
}

impl ServerError {
    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
