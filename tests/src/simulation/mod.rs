//! A whole world in one thread, from one seed: the real engine, the real store and the real server over a network and
//! clocks that obey chance.
//!
//! Nothing of the simulated part asks a clock or the system for chance. What stores draw for themselves (their names, the
//! name of an installation, keys of cursors) decides nothing; what does decide, ids of records, change sets and devices, is
//! drawn from the seed. A run that fails is therefore played again from its seed alone.

mod chance;
mod edit;
mod ledger;
mod network;
mod phone;
mod record;
mod rest;
mod run;
mod script;
mod world;

pub use record::SIGHTS;
pub use run::{Failure, Outcome, simulate, simulate_shortest};
