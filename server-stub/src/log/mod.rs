//! Reading the log: cursors that only this server makes, pages of what a device may see, and how far it reaches.

mod cursor;
mod head;
mod page;

pub(crate) use cursor::{CursorRefusal, open_cursor};
pub(crate) use head::Head;
pub(crate) use page::{Asked, ReadRefusal, read_pages};
