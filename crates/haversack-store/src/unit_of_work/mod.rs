//! Units of work: each is one transaction with one business name. They ask core what is to happen and write it down.

mod accept;
mod apply_page;
mod bind;
mod epoch;
mod erase;
mod lease_batch;
mod let_go;
mod local_write;
mod materialise;
mod prepare;
mod reject;
mod touched;

pub use apply_page::{AppliedPage, PageOutcome};
pub use bind::Identity;
pub use lease_batch::Leased;
pub use touched::Touched;

pub(crate) use apply_page::apply_page;
pub(crate) use bind::{bind, forget_device, identity};
pub(crate) use lease_batch::lease_batch;
pub(crate) use let_go::{aged, let_go};
pub(crate) use local_write::{discard, local_write, resubmit};
pub(crate) use materialise::fresh_row;
pub(crate) use prepare::prepare;
