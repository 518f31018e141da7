//! What really happened, kept outside of stores and server: every edit that was made, every verdict that was told.

use std::collections::{BTreeMap, BTreeSet};

use haversack_core::{ChangeSet, Intent, Value};
use haversack_protocol::{ChangeSetId, Code, LogRow, PageBody, RecordId, ServerId};

use super::record::Record;

/// A claim that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) claim: &'static str,
    pub(crate) found: String,
}

impl Breach {
    pub(crate) fn of(claim: &'static str, found: impl ToString) -> Self {
        Self { claim, found: found.to_string() }
    }
}

/// Holds a claim against what was found.
pub(crate) fn hold(is_so: bool, claim: &'static str, found: impl FnOnce() -> String) -> Result<(), Breach> {
    if is_so { Ok(()) } else { Err(Breach { claim, found: found() }) }
}

/// An edit, and what its maker gave up of it.
pub(crate) struct Made {
    pub(crate) who: usize,
    /// Steps of counters.
    pub(crate) steps: Vec<(RecordId, i64)>,
    /// Texts that nobody else wrote.
    pub(crate) words: Vec<(RecordId, String)>,
    /// Its maker discarded it, sent another in its place, or went back to a time before it.
    pub(crate) is_given_up: bool,
}

/// Everything that was made and told.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) made: BTreeMap<ChangeSetId, Made>,
    pub(crate) records: Vec<(RecordId, &'static str)>,
    /// Accepted change sets with their position.
    pub(crate) accepted: BTreeMap<ChangeSetId, u64>,
    pub(crate) refused: BTreeSet<ChangeSetId>,
    positions: BTreeMap<u64, ChangeSetId>,
    pub(crate) assigned: BTreeMap<RecordId, ServerId>,
    holders: BTreeMap<ServerId, RecordId>,
}

impl Ledger {
    /// Enters an edit that was stored.
    pub(crate) fn make(&mut self, who: usize, change_set: &ChangeSet) {
        let (mut steps, mut words) = (vec![], vec![]);
        for part in &change_set.parts {
            for intent in &part.intents {
                match intent {
                    Intent::Increment { by, .. } => steps.push((part.record, *by)),
                    Intent::Set { field, value: Value::Text(text) } if field == "note" => {
                        words.push((part.record, text.clone()));
                    }
                    _ => {}
                }
            }
        }
        self.made.insert(change_set.id, Made { who, steps, words, is_given_up: false });
    }

    pub(crate) fn give_up(&mut self, id: ChangeSetId, is_given_up: bool) {
        if let Some(made) = self.made.get_mut(&id) {
            made.is_given_up = is_given_up;
        }
    }

    /// Reads a page that the server sent, whether it arrives or not.
    pub(crate) fn read(&mut self, page: &PageBody, record: &mut Record) -> Result<(), Breach> {
        let mut last = 0;
        for row in &page.rows {
            hold(row.position() > last, "rows of a page ascend", || format!("{}", row.position()))?;
            last = row.position();
            self.read_row(row, record)?;
        }
        Ok(())
    }

    fn read_row(&mut self, row: &LogRow, record: &mut Record) -> Result<(), Breach> {
        match row {
            LogRow::Accepted(row) => {
                let (id, position) = (row.origin.change_set, row.origin.position);
                let known = *self.accepted.entry(id).or_insert(position);
                let holder = *self.positions.entry(position).or_insert(id);
                let is_one = known == position && holder == id && !self.refused.contains(&id);
                hold(is_one, "a verdict never changes", || format!("{id} at {position} and {known}"))?;
                hold(self.made.contains_key(&id), "what is accepted was made", || id.to_string())?;
                for assignment in &row.assignments {
                    self.assign(assignment.record, &assignment.server_id)?;
                }
                if row.server_changes.iter().any(|change| !change.change.is_empty()) {
                    record.see("a reference was rewritten to a server id");
                }
            }
            LogRow::Rejected(row) => {
                let id = row.origin.change_set;
                hold(!self.accepted.contains_key(&id), "a verdict never changes", || {
                    format!("{id} was accepted and is refused")
                })?;
                if self.refused.insert(id) {
                    match row.rejection.code {
                        Code::Rule => record.see("an edit was refused by a rule"),
                        Code::Forbidden => record.see("an edit was refused for want of a role"),
                        Code::Withdrawn => record.see("a change set was withdrawn"),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn assign(&mut self, record: RecordId, server_id: &ServerId) -> Result<(), Breach> {
        let known = self.assigned.entry(record).or_insert_with(|| server_id.clone());
        let holder = *self.holders.entry(server_id.clone()).or_insert(record);
        hold(known == server_id && holder == record, "every record has one server id of its own", || {
            format!("{record}: {known} and {server_id}, held by {holder}")
        })
    }

    /// The sum of accepted steps by record.
    pub(crate) fn counters(&self) -> BTreeMap<RecordId, i64> {
        let mut sums = BTreeMap::new();
        for (id, made) in &self.made {
            for (record, by) in &made.steps {
                let counts = self.accepted.contains_key(id);
                *sums.entry(*record).or_default() += if counts { *by } else { 0 };
            }
        }
        sums
    }
}
