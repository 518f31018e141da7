//! The one loop that acts: it feeds the engine, performs its effects and tells watchers.

mod effect;
mod exchange;
mod line;
mod run;

pub use exchange::{Applying, Asking, Exchanged, Outgoing, bind, note_failure, told};
pub(crate) use run::{Driver, Message};
