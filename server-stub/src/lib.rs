//! The reference sync server of Haversack: HTTP over one SQLite file per tenant.
//!
//! Holds the log, gives every change set its verdict, and sends each device what it may see. Serves the promises "an
//! acknowledgement is durable", "one bad change set never takes another along" and "a verdict never changes".

mod admission;
pub mod command;
mod erasure;
mod error;
mod http;
mod live;
mod log;
mod metrics;
mod proof;
mod running;
mod store;

pub use erasure::{Compacted, DeviceNamed, Erased, ErasureReport, compact, erase, erase_fields, erasures};
pub use error::ServerError;
pub use http::issue_token;
pub use live::LiveSettings;
pub use proof::{StateProof, prove_state};
pub use running::{RunningServer, ServerConfig, start};
pub use store::{DATABASE_FORMAT, StoreRefusal};
