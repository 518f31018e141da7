//! How requests reach the server: tokens, TLS, frames. Decides nothing about records.

mod answer;
mod auth;
mod http;
mod live;

pub use answer::{Reply, read_answer, read_registration};
pub use auth::{StaticToken, Token, TokenFuture, TokenProvider, TokenRefusal};
pub(crate) use http::Transport;
pub use http::{ServerAddress, TransportError};
pub(crate) use live::LiveSocket;
