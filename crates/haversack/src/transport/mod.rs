//! How requests reach the server: tokens, TLS, frames. Decides nothing about records.

mod auth;
mod http;
mod live;

pub use auth::{StaticToken, Token, TokenFuture, TokenProvider, TokenRefusal};
pub(crate) use http::{Reply, Transport};
pub use http::{ServerAddress, TransportError};
pub(crate) use live::LiveSocket;
