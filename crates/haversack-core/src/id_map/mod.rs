//! Record ids and server ids: the table between them, and the rewriting of every reference after an assignment.

mod mapping;
mod rewrite;

pub use mapping::{AssignmentRefusal, check_assignment};
pub use rewrite::{Resolve, merge_heads, rewrite_change_set, rewrite_document, rewrite_row, rewrite_write};
