//! Progress of long commands, on the standard error and only where a person watches it.

use std::io::{self, IsTerminal, Write};

use crate::present::Screen;

/// Goes back to the beginning of the line and clears it.
const AGAIN: &str = "\r\u{1b}[K";

/// A line that says how far a command has come.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    is_watched: bool,
}

impl Progress {
    /// Progress counted in `what`; silent unless the standard error is a terminal and a person reads the outcome.
    pub(crate) fn of(what: &'static str, screen: Screen) -> Self {
        Self { what, is_watched: !screen.is_json && io::stderr().is_terminal() }
    }

    /// Shows how far it has come.
    pub(crate) fn at(&self, count: u64) {
        if self.is_watched {
            // Nobody reading progress is fine.
            let _ = write!(io::stderr(), "{AGAIN}{count} {}", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_watched {
            let _ = write!(io::stderr(), "{AGAIN}");
        }
    }
}
