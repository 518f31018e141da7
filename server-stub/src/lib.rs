//! The reference sync server of Haversack: HTTP over one SQLite file per tenant.
//!
//! Holds the log, gives every change set its verdict, and sends each device what it may see. Serves the promises "an
//! acknowledgement is durable", "one bad change set never takes another along" and "a verdict never changes".

mod admission;
pub mod command;
mod erasure;
mod error;
mod history;
mod http;
mod in_process;
mod live;
mod log;
mod metrics;
mod proof;
mod restriction;
mod running;
mod store;

pub use admission::DeviceIds;
pub use erasure::{Compacted, DeviceNamed, Erased, ErasureReport, compact, erase, erase_fields, erasures};
pub use error::ServerError;
pub use history::{RecordedWrite, history};
pub use http::{Bearer, issue_token};
pub use in_process::{InProcess, InProcessConfig, Reply};
pub use live::LiveSettings;
pub use proof::{StateProof, prove_state};
pub use restriction::{Restricted, RestrictionReport, restrict, restrictions};
pub use running::{RunningServer, ServerConfig, start};
pub use store::{DATABASE_FORMAT, StoreRefusal};
