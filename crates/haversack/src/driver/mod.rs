//! The one loop that acts: it feeds the engine, performs its effects and tells watchers.

mod effect;
mod line;
mod run;

pub(crate) use run::{Driver, Message};
