//! What the suites over the real store and the real server share: a world, its devices, a gate before the server, and the
//! decoders of foreign bytes that are fuzzed.

mod fixture;
mod support;
mod targets;

pub use fixture::{Fixture, Held, fixture_key, make_fixture};
pub use support::{
    Answer, Courier, Device, Gate, Move, Seen, Step, Tokens, Way, World, changes_of, day, decimal,
    empty_reply, eventually, plain_http, schema, text,
};
pub use targets::{TARGETS, Target, fed_store_is_sound, feed};
