//! The tokens a device gives out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use haversack::{PrincipalId, Token, TokenFuture, TokenProvider, TokenRefusal};

use crate::error::TestingError;
use crate::gate::lock;

/// Tokens in the order they are given out, and what the library asked for. The last is given again and again.
pub struct Tokens {
    principal: PrincipalId,
    left: Mutex<VecDeque<String>>,
    asked: Mutex<Vec<bool>>,
}

impl Tokens {
    /// Tokens that speak for `principal`; without any, the app has none to give.
    ///
    /// # Errors
    /// [`TestingError::Principal`] for what is no name.
    pub fn new(principal: &str, tokens: &[&str]) -> Result<Arc<Self>, TestingError> {
        Ok(Self::of(PrincipalId::new(principal)?, tokens))
    }

    pub(crate) fn of(principal: PrincipalId, tokens: &[&str]) -> Arc<Self> {
        let left = tokens.iter().map(|token| (*token).to_owned()).collect();
        Arc::new(Self { principal, left: Mutex::new(left), asked: Mutex::default() })
    }

    /// The `renew` of every call so far.
    pub fn asked(&self) -> Vec<bool> {
        lock(&self.asked).clone()
    }
}

impl TokenProvider for Tokens {
    fn token(&self, renew: bool) -> TokenFuture<'_> {
        lock(&self.asked).push(renew);
        let mut left = lock(&self.left);
        let next = if left.len() > 1 { left.pop_front() } else { left.front().cloned() };
        let token = next.map(|secret| Token::new(secret, self.principal.clone())).ok_or(TokenRefusal);
        Box::pin(std::future::ready(token))
    }
}
