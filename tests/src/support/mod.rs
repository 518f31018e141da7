//! A server in a folder of its own, devices that are real stores, and a gate that spoils what passes between them.

mod answer;
mod arbitrary;
mod courier;
mod device;
mod flood;
mod gate;
mod http;
mod shape;
mod world;

pub use answer::{Answer, empty_reply};
pub use arbitrary::{Move, Way, changes_of};
pub use courier::Courier;
pub use device::{Device, Tokens, eventually};
pub use gate::{Gate, Seen, Step};
pub use http::plain_http;
pub use shape::{day, decimal, schema, text};
pub use world::World;
