//! Commands on records: one verb per file.

pub(crate) mod assignment;
pub(crate) mod clause;
pub(crate) mod conflicts;
pub(crate) mod create;
pub(crate) mod edit;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod mark;
pub(crate) mod shown;
pub(crate) mod timeline;
pub(crate) mod watch;
pub(crate) mod why;
