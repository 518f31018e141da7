//! The admission gate: every foreign change passes here, cheapest check first, before it touches a record.

mod gate;
mod replay;

pub use gate::{ChunkHeader, GateRefusal, inspect};
pub use replay::{AdmissionRefusal, Admitted, Author, Write, admit, admit_from_server};
