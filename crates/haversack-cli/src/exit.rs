//! Exit codes: what a script learns from a command, in one table that `--help` shows.

use std::fmt::Write;
use std::process::ExitCode;

use haversack::{Error, ErrorKind, StoreError, TransportError};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Failed in a way that has no code of its own.
    Failed,
    /// The command line was not understood.
    Usage,
    /// An edit or a question was refused.
    Refused,
    /// The key.
    Key,
    /// The files of the store.
    Storage,
    /// The network or the server.
    Network,
    /// The account, or work that has not reached the server.
    Account,
    /// The store is open elsewhere.
    OpenElsewhere,
    /// Some of an import was refused, the rest was done.
    Partly,
}

impl Exit {
    /// Every way to end, in the order of the codes.
    pub(crate) const ALL: [Self; 10] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Refused,
        Self::Key,
        Self::Storage,
        Self::Network,
        Self::Account,
        Self::OpenElsewhere,
        Self::Partly,
    ];

    /// The number the shell sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Key => 4,
            Self::Storage => 5,
            Self::Network => 6,
            Self::Account => 7,
            Self::OpenElsewhere => 8,
            Self::Partly => 9,
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed, the message says why",
            Self::Usage => "the command line was not understood",
            Self::Refused => "an edit was refused, here or by the server",
            Self::Key => "no key, the wrong one, or unreadable",
            Self::Storage => "the files of the store: damage, no space",
            Self::Network => "network or server; try again later",
            Self::Account => "account, or work not at the server yet",
            Self::OpenElsewhere => "the store is open elsewhere",
            Self::Partly => "done in part: lines of an import were refused",
        }
    }

    /// The table of all codes, for `--help`.
    pub(crate) fn table() -> String {
        Self::ALL.iter().fold(String::new(), |mut table, exit| {
            // Writing to a text cannot fail.
            let _ = writeln!(table, "  {}  {}", exit.code(), exit.meaning());
            table
        })
    }

    /// How a failure of the library ends a command.
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Store(StoreError::AlreadyOpen | StoreError::Busy) => Self::OpenElsewhere,
            Error::Store(StoreError::OtherPrincipal)
            | Error::Transport(TransportError::OtherPrincipal)
            | Error::NotConnected => Self::Account,
            Error::Transport(TransportError::Address) => Self::Usage,
            _ => match error.kind() {
                ErrorKind::Invalid => Self::Refused,
                ErrorKind::Key => Self::Key,
                ErrorKind::Storage => Self::Storage,
                ErrorKind::Network => Self::Network,
                ErrorKind::Account => Self::Account,
                _ => Self::Failed,
            },
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use haversack::EditRefusal;

    #[test]
    fn every_code_is_in_the_table_at_its_own_place() {
        for (place, exit) in Exit::ALL.iter().enumerate() {
            assert_eq!(usize::from(exit.code()), place);
            assert!(Exit::table().contains(exit.meaning()));
        }
        assert!(Exit::table().lines().all(|line| line.chars().count() <= 60));
    }

    #[test]
    fn failures_end_with_the_code_of_their_kind() {
        let refused = StoreError::Edit(EditRefusal::UnknownCollection("visit".into()));
        for (error, exit) in [
            (Error::from(refused), Exit::Refused),
            (StoreError::WrongKey.into(), Exit::Key),
            (StoreError::NoKeyStore.into(), Exit::Key),
            (StoreError::DiskFull.into(), Exit::Storage),
            (StoreError::AlreadyOpen.into(), Exit::OpenElsewhere),
            (TransportError::Unreachable.into(), Exit::Network),
            (TransportError::OtherPrincipal.into(), Exit::Account),
            (Error::Deadline, Exit::Network),
            (Error::Unsynced { count: 1 }, Exit::Account),
            (Error::Closed, Exit::Failed),
        ] {
            assert_eq!(Exit::of(&error), exit, "{error}");
        }
    }
}
