//! Tokens: who the device speaks for. Never in an address, a log, the outbox or an error.

use std::future::Future;
use std::pin::Pin;

use haversack_protocol::PrincipalId;
use zeroize::Zeroizing;

/// A bearer token and whom it speaks for.
#[derive(Clone)]
pub struct Token {
    pub(crate) secret: Zeroizing<String>,
    pub(crate) principal: PrincipalId,
}

impl Token {
    /// Wraps a token the app obtained for `principal`.
    pub fn new(secret: impl Into<String>, principal: PrincipalId) -> Self {
        Self { secret: Zeroizing::new(secret.into()), principal }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(for {})", self.principal)
    }
}

/// The app has no token to give now; sync waits, nothing is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the app has no token for the server")]
pub struct TokenRefusal;

/// What a token provider answers with.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<Token, TokenRefusal>> + Send + 'a>>;

/// The app's side of signing in.
pub trait TokenProvider: Send + Sync {
    /// Gives the current token; a new one when `renew` says that the last was refused. One that panics or takes longer than
    /// [`haversack_protocol::limits::TOKEN_WAIT_MAX_MS`] counts as having none: sync waits and asks again later.
    fn token(&self, renew: bool) -> TokenFuture<'_>;
}

/// One token for as long as it lasts.
#[derive(Clone, Debug)]
pub struct StaticToken(Token);

impl StaticToken {
    /// Wraps the token.
    pub fn new(token: Token) -> Self {
        Self(token)
    }
}

impl TokenProvider for StaticToken {
    fn token(&self, _: bool) -> TokenFuture<'_> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}
