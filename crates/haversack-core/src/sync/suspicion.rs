//! Whether a change set itself is why pushes fail, told apart from a server or a line that fails by asking without it.
//!
//! A phone in a cellar fails to send for weeks, and nothing of what it holds may be set aside for that: only a failure
//! after which the same server answers a request without content counts against what was sent.

use haversack_protocol::ChangeSetId;
use haversack_protocol::limits::FAILURES_ALONE_MAX;

use super::engine::Sent;

/// What an answer tells about the push that failed before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing was in doubt.
    Fine,
    /// What was sent is in doubt.
    Doubt {
        /// For the first time: pauses begin anew.
        is_fresh: bool,
    },
}

/// What speaks against the content of the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Suspicion {
    /// Pushes failed too often in a row to be chance: each further failure is checked.
    is_aroused: bool,
    /// The failed push that is being checked.
    checked: Sent,
    /// The change set that failed alone, and how often.
    alone: Option<(ChangeSetId, u32)>,
    /// The change set to take back.
    withdrawn: Option<ChangeSetId>,
}

impl Suspicion {
    /// What the next exchange carries: change sets at most, and a change set to take back.
    pub(super) fn next(&self, change_sets_max: usize) -> (usize, Option<ChangeSetId>) {
        let is_empty = self.withdrawn.is_some() || self.checked != Sent::Nothing;
        (if is_empty { 0 } else { change_sets_max }, self.withdrawn)
    }

    /// Failures are no chance any more.
    pub(super) fn arouse(&mut self) {
        self.is_aroused = true;
    }

    pub(super) fn is_aroused(&self) -> bool {
        self.is_aroused
    }

    /// An exchange failed in a way its content may be the reason of. A check that fails proves nothing.
    pub(super) fn failed(&mut self, sent: Sent) {
        self.checked = if self.is_aroused { sent } else { Sent::Nothing };
    }

    /// An exchange failed for a reason of its own, or never came to an end.
    pub(super) fn interrupted(&mut self) {
        self.checked = Sent::Nothing;
    }

    /// An exchange succeeded.
    pub(super) fn answered(&mut self) -> Finding {
        if self.withdrawn.take().is_some() {
            self.alone = None;
            return Finding::Fine;
        }
        match std::mem::take(&mut self.checked) {
            Sent::Nothing => {
                self.alone = None;
                Finding::Fine
            }
            Sent::Many(_) => Finding::Doubt { is_fresh: true },
            Sent::One(id) => {
                let before = self.alone.filter(|(known, _)| *known == id).map_or(0, |(_, failures)| failures);
                self.alone = Some((id, before + 1));
                if before + 1 >= FAILURES_ALONE_MAX {
                    self.withdrawn = Some(id);
                }
                Finding::Doubt { is_fresh: before == 0 }
            }
        }
    }
}
