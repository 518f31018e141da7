//! What the suites over the real store and the real server share: a world, its devices, and a gate before the server.

mod support;

pub use support::{
    Answer, Device, Gate, Move, Seen, Step, Tokens, Way, World, changes_of, day, decimal, empty_reply,
    eventually, plain_http, schema, text,
};
