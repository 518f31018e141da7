//! Why a part of a test's world could not be made or moved.

use haversack::Code;
use haversack_protocol::IdRefusal;
use haversack_server::ServerError;

/// What setting up or moving a test's world fails with. What the app's own calls fail with is [`haversack::Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestingError {
    /// A folder, file or port could not be had.
    #[error("the operating system refused: {0}")]
    System(#[from] std::io::Error),
    /// The server did not start, stop or prove its state.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A store did not open.
    #[error(transparent)]
    Store(#[from] haversack::Error),
    /// Not a name of a person.
    #[error(transparent)]
    Principal(#[from] IdRefusal),
    /// The server is stopped.
    #[error("the server is stopped")]
    Stopped,
    /// The server runs.
    #[error("the server runs")]
    Running,
    /// Not a refusal for good: the server never stores such a verdict.
    #[error("{0} is no final refusal of a change set")]
    NotFinal(Code),
    /// No such token was issued.
    #[error("no such token was issued")]
    UnknownToken,
}
