//! What the suites share beside the testing crate: their schema and rules, its devices and server without the errors, and
//! what only a hostile server says.

mod answer;
mod arbitrary;
mod courier;
mod device;
mod endless;
mod flood;
mod shape;
mod world;

pub use answer::empty_reply;
pub use arbitrary::{Move, Way, changes_of};
pub use courier::Courier;
pub use device::Device;
pub use endless::Endless;
pub use flood::Flood;
pub(crate) use shape::RULES;
pub use shape::{day, decimal, noise, schema, text};
pub use world::World;
