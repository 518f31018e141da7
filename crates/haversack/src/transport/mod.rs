//! How requests reach the server: tokens, TLS, frames. Decides nothing about records.

mod auth;
mod http;

pub use auth::{StaticToken, Token, TokenFuture, TokenProvider, TokenRefusal};
pub(crate) use http::{Reply, Transport};
pub use http::{ServerAddress, TransportError};
