//! The line to the server that pokes come over: owned by the loop, polled beside everything else, kept nowhere.

use std::future::Future;
use std::pin::Pin;

use haversack_core::sync::{LiveInput, LiveLoss};

use crate::transport::LiveSocket;

/// The live connection as the loop holds it.
#[derive(Default)]
pub(super) enum Line {
    /// There is none.
    #[default]
    Down,
    /// It is being opened.
    Opening(Pin<Box<dyn Future<Output = Result<LiveSocket, LiveLoss>> + Send>>),
    /// It stands.
    Up(Box<LiveSocket>),
}

impl Line {
    /// Waits for what happens on the line, for ever while it is down. Dropping the wait loses nothing.
    pub(super) async fn next(&mut self) -> LiveInput {
        let input = match self {
            Self::Down => std::future::pending().await,
            Self::Opening(opening) => match opening.await {
                Ok(socket) => {
                    *self = Self::Up(Box::new(socket));
                    return LiveInput::Opened;
                }
                Err(loss) => LiveInput::Lost(loss),
            },
            Self::Up(socket) => match socket.next().await {
                Ok(position) => return LiveInput::Told(position),
                Err(loss) => LiveInput::Lost(loss),
            },
        };
        *self = Self::Down;
        input
    }
}
