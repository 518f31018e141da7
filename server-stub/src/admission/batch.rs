//! One push inside its transaction: every change set is answered, none takes another along.

use std::panic::{AssertUnwindSafe, catch_unwind};

use haversack_core::Author;
use haversack_protocol::{
    AcceptedRow, ChangeSetId, Code, DeviceId, HintBody, LogRow, PrincipalId, PushedChangeSet, RejectedRow,
    Rejection, Role, RowOrigin, UnixMillis,
};

use super::decide::{Acceptance, Deciding, Decision, Failed};
use super::{Law, Loaded};
use crate::store::{PushTransaction, StoreRefusal, StoredVerdict};

/// A push as its request states it, its sender already known to be who it says.
pub(crate) struct PushJob {
    pub(crate) device: DeviceId,
    pub(crate) principal: PrincipalId,
    pub(crate) role: Role,
    pub(crate) push_ordinal: u64,
    /// Device clock at the push.
    pub(crate) device_now: UnixMillis,
    /// Server clock minus device clock, in milliseconds.
    pub(crate) skew_ms: i64,
    pub(crate) push: Vec<PushedChangeSet>,
    pub(crate) withdraw: Vec<ChangeSetId>,
}

/// One push on its way through a transaction.
pub(super) struct Batch<'a, 'c> {
    pub(super) law: &'a Law,
    pub(super) transaction: &'a mut PushTransaction<'c>,
    pub(super) loaded: &'a mut Loaded,
    pub(super) job: &'a PushJob,
}

impl Batch<'_, '_> {
    /// Answers everything in the push.
    pub(super) fn run(mut self) -> Result<HintBody, StoreRefusal> {
        let mut answers = HintBody::default();
        self.transaction.remember_ordinal(self.job.device, self.job.push_ordinal)?;
        for &id in &self.job.withdraw {
            let position = match self.settled(id)? {
                Some(verdict) => verdict.position,
                None => self.reject(id, self.job.device_now, Rejection::of(Code::Withdrawn))?,
            };
            answers.settled.push((id, position));
        }
        let mut failed = Failed::default();
        for set in &self.job.push {
            self.answer(set, &mut failed, &mut answers)?;
        }
        Ok(answers)
    }

    fn answer(
        &mut self,
        set: &PushedChangeSet,
        failed: &mut Failed,
        answers: &mut HintBody,
    ) -> Result<(), StoreRefusal> {
        if let Some(verdict) = self.settled(set.id)? {
            if !verdict.is_accepted {
                failed.add(set);
            }
            answers.settled.push((set.id, verdict.position));
            return Ok(());
        }
        match self.decide(set, failed)? {
            Decision::Accepted(acceptance) => {
                let position = self.accept(set, acceptance)?;
                answers.settled.push((set.id, position));
            }
            Decision::Rejected(rejection) => {
                failed.add(set);
                let position = self.reject(set.id, set.at, rejection)?;
                answers.settled.push((set.id, position));
            }
            Decision::Hinted(hint) => {
                failed.add(set);
                answers.hints.push(hint);
            }
        }
        Ok(())
    }

    /// Decides; a panic is the answer to this change set alone, for good, or it would come again for ever.
    fn decide(&mut self, set: &PushedChangeSet, failed: &Failed) -> Result<Decision, StoreRefusal> {
        let author = Author { device: self.job.device, principal: &self.job.principal, role: self.job.role };
        let deciding = Deciding { law: self.law, transaction: self.transaction, author, failed, set };
        let loaded = &mut *self.loaded;
        catch_unwind(AssertUnwindSafe(|| deciding.decide(loaded))).unwrap_or_else(|_| {
            tracing::error!(change_set = %set.id, device = %self.job.device, "deciding panicked");
            self.loaded.forget();
            Ok(Decision::Rejected(Rejection::of(Code::Malformed)))
        })
    }

    fn origin(&self, change_set: ChangeSetId, at: UnixMillis) -> RowOrigin {
        RowOrigin {
            position: self.transaction.next_position(),
            change_set,
            device: self.job.device,
            at,
            skew_ms: self.job.skew_ms,
        }
    }

    /// The stored verdict. A refusal is told to each device in a row of its own, for only that device may see it.
    fn settled(&mut self, id: ChangeSetId) -> Result<Option<StoredVerdict>, StoreRefusal> {
        let Some(verdict) = self.transaction.verdict(id)? else { return Ok(None) };
        if verdict.is_accepted || verdict.device == self.job.device {
            return Ok(Some(verdict));
        }
        let position = match self.transaction.refusal_position(id, self.job.device)? {
            Some(position) => position,
            None => {
                let rejection = self.transaction.rejection_at(verdict.position)?;
                let origin = self.origin(id, self.job.device_now);
                let row = LogRow::Rejected(RejectedRow { origin, rejection });
                self.transaction.append(&row, self.job.device, Some(id))?
            }
        };
        Ok(Some(StoredVerdict { position, ..verdict }))
    }

    fn reject(&mut self, id: ChangeSetId, at: UnixMillis, rejection: Rejection) -> Result<u64, StoreRefusal> {
        tracing::info!(change_set = %id, device = %self.job.device, code = %rejection.code, "rejected");
        let row = LogRow::Rejected(RejectedRow { origin: self.origin(id, at), rejection });
        self.settle(id, &row, false)
    }

    fn accept(&mut self, set: &PushedChangeSet, acceptance: Acceptance) -> Result<u64, StoreRefusal> {
        let row = LogRow::Accepted(AcceptedRow {
            origin: self.origin(set.id, set.at),
            parts: acceptance.parts,
            server_changes: acceptance.server_changes,
            assignments: acceptance.assignments,
            shadowed: acceptance.shadowed,
        });
        let position = self.settle(set.id, &row, true)?;
        for admission in acceptance.records {
            let (id, record) = (admission.id, admission.record);
            self.transaction.put_record(id, &record, &admission.saved, &admission.row, position)?;
            self.loaded.keep(id, record);
        }
        for (prefix, next) in acceptance.counters {
            self.transaction.put_next_number(&prefix, next)?;
        }
        Ok(position)
    }

    fn settle(&mut self, id: ChangeSetId, row: &LogRow, is_accepted: bool) -> Result<u64, StoreRefusal> {
        let device = self.job.device;
        let position = self.transaction.append(row, device, Some(id))?;
        self.transaction.put_verdict(id, StoredVerdict { position, device, is_accepted })?;
        Ok(position)
    }
}
