//! What an app that embeds Haversack uses in its own tests: the real reference server in the test's own process, devices with
//! stores in temporary folders, and a scripted gate on every device's way to the server.
//!
//! Nothing here is pretended: server, store, outbox and wire are those of a release. Only what lies between them obeys the
//! script: a refusal, a lost reply, a server that asks for patience, three days without a network. It belongs among an
//! app's `dev-dependencies`; nothing of it reaches what the app ships.
//!
//! ```
//! use haversack::{Changes, Schema};
//! use haversack_testing::{Rules, TestServer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # runtime.block_on(async {
//! let schema = Schema::from_json(r#"{ "version": 1, "collections": {
//!     "visit": { "fields": { "name": { "kind": "text" }, "minutes": { "kind": "integer" } } } } }"#)?;
//! let server = TestServer::start(schema, Rules::default()).await?;
//! let ola = server.mentor("ola").await?;
//!
//! // Registered in a cellar, refused when the network is back; what was typed is kept, corrected and accepted.
//! let visit = ola.store.collection("visit").create(Changes::new().set("minutes", 900_i64)).await?;
//! ola.gate().refuse_next_by_rule("minutes-in-a-day", "minutes.range");
//! ola.go_online().await?;
//! ola.deliver().await?;
//! let refused = ola.refused().await?.remove(0);
//! assert_eq!(refused.rejection.message_key.as_deref(), Some("minutes.range"));
//! let corrected = Changes::new().set("minutes", 90_i64);
//! ola.store.outbox().resubmit(refused.entry.change_set.id, move |tx| tx.create_as(visit, "visit", corrected)).await?;
//! ola.deliver().await?;
//! server.expect_agreement(&[&ola]).await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok(())
//! # }
//! ```
//!
//! Stories need a runtime with time and input switched on: `#[tokio::test(flavor = "multi_thread")]` is one.

mod answer;
mod clock;
mod device;
mod error;
mod gate;
mod http;
mod refusal;
mod server;
mod tokens;

pub use answer::Answer;
pub use clock::TestClock;
pub use device::{Device, Refused, expect_eventually};
pub use error::TestingError;
pub use gate::{Gate, Intercept, Meeting, Seen, Step};
pub use haversack_core::Rules;
pub use haversack_server::{LiveSettings, StateProof};
pub use http::plain_http;
pub use server::{Backup, TestServer};
pub use tokens::Tokens;
