//! Schemas that differ: between a device and its server, between two devices, and between the day of an edit and the day it
//! arrives.

mod counters;
mod matrix;
mod outbox;
mod town;
