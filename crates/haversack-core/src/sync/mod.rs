//! The sync engine: when to register, lease, send, read and wait. One door: `step(now, input) -> effects`.

mod backoff;
mod engine;
mod live;
mod suspicion;

pub use backoff::full_jitter;
pub use engine::{Effect, Engine, Failure, Input, Outcome, Phase, Sent};
pub use live::{Live, LiveEffect, LiveInput, LiveLoss};
