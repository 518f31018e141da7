//! What the suites over the real store and the real server share: a world, its devices, a gate before the server, and the
//! decoders of foreign bytes that are fuzzed.

mod fixture;
mod simulation;
mod support;
mod targets;

pub use fixture::{Fixture, Held, fixture_key, make_fixture};
pub use haversack_testing::{Answer, Gate, Seen, Step, Tokens, expect_eventually as eventually, plain_http};
pub use simulation::{Failure, Outcome, SIGHTS, simulate, simulate_shortest};
pub use support::{
    Courier, Device, Endless, Flood, Move, Way, World, changes_of, day, decimal, empty_reply, noise, schema,
    text,
};
pub use targets::{TARGETS, Target, fed_store_is_sound, feed};
