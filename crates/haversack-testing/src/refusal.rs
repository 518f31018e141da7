//! Refusals that a script orders: the server really refuses and remembers, and the reason it gives is exchanged on its way.
//!
//! The change set's first change is spoilt before it arrives, so the server decides as on any change set it must refuse:
//! verdict, log row, rollback, what stands behind it and what needs it are the real thing. Only the reason is the
//! script's, in this reply and in every later one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use haversack::{ChangeSetId, Rejection};
use haversack_protocol::{LogRow, SyncRequest};

use crate::answer::Answer;

/// Bytes that are no change.
const NO_CHANGE: [u8; 1] = [0];

/// Refusals to come and refusals told.
#[derive(Default)]
pub(crate) struct Refusals {
    next: VecDeque<Rejection>,
    handed_on: BTreeSet<ChangeSetId>,
    told: BTreeMap<ChangeSetId, Rejection>,
}

impl Refusals {
    /// Orders the refusal of one more change set.
    pub(crate) fn order(&mut self, rejection: Rejection) {
        self.next.push_back(rejection);
    }

    /// Forgets what was ordered and did not happen yet.
    pub(crate) fn cancel(&mut self) {
        self.next.clear();
    }

    /// Spoils what is to be refused; true when something was. What the server may have decided already is left alone.
    pub(crate) fn spoil(&mut self, request: &mut SyncRequest) -> bool {
        let mut has_spoilt = false;
        for set in &mut request.push {
            let is_new = self.handed_on.insert(set.id);
            if let Some(rejection) = is_new.then(|| self.next.pop_front()).flatten() {
                self.told.insert(set.id, rejection);
            }
            // Sent again, it is spoilt again: the server may never have had it.
            if let (Some(part), true) = (set.parts.first_mut(), self.told.contains_key(&set.id)) {
                part.change = NO_CHANGE.to_vec();
                has_spoilt = true;
            }
        }
        has_spoilt
    }

    /// Exchanges the reasons in a reply; `None` when there is nothing to exchange.
    pub(crate) fn retell(&self, reply: &[u8]) -> Option<Vec<u8>> {
        if self.told.is_empty() {
            return None;
        }
        let mut answer = Answer::read(reply)?;
        for row in answer.rows_mut() {
            if let LogRow::Rejected(row) = row
                && let Some(rejection) = self.told.get(&row.origin.change_set)
            {
                row.rejection = rejection.clone();
            }
        }
        Some(answer.write())
    }
}
