//! A record: one Automerge document, what its keys mean, how it is edited and how it is read.

pub(crate) mod change_set;
pub(crate) mod document;
pub(crate) mod epoch;
pub(crate) mod field;
mod json;
pub(crate) mod key;
pub(crate) mod projection;
mod typed;
pub(crate) mod zero;

pub use change_set::{ChangeSet, EditRefusal, Intent, Part};
pub use document::{Authored, Document, DocumentRefusal};
pub use epoch::{Planted, Root};
pub use field::{Reference, Value, ValueRefusal, check_value, value_from_json, value_to_json};
pub use key::Key;
pub use projection::{Candidate, Row, RowRefusal, overlay, passed_over, project};
pub use typed::{TypeRefusal, difference, read_as, written_by};
