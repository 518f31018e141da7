//! Reading the log: cursors that only this server makes, and pages of what a device may see.

mod cursor;
mod page;

pub(crate) use cursor::{CursorRefusal, open_cursor};
pub(crate) use page::{Asked, ReadRefusal, read_pages};
