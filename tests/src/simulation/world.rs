//! A simulated world: a server, a few phones, and one step after the other.

use std::collections::BTreeSet;

use haversack::Phase;
use haversack_core::Value;
use haversack_core::outbox::EntryState;
use haversack_core::sync::Input;
use haversack_core::{ChangeSet, Intent};
use haversack_protocol::{ChangeSetId, Code, RecordId, Role};
use haversack_store::{NoticeKind, StoreError};
use tempfile::TempDir;

use super::chance::Chance;
use super::edit::{Drawing, corrected};
use super::ledger::{Breach, hold};
use super::network::Network;
use super::phone::{Phone, Work, unreadable};
use super::script::{Act, COORDINATOR, PHONES, Script, Step};
use crate::support::{RULES, schema};

/// Names of the people, in the order of their phones.
const NAMES: [&str; PHONES] = ["ola", "kari", "per", "siv"];
const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;
/// Pauses a phone is left alone for, and how long each is: longer than most.
const PAUSES: u32 = 16;
const PAUSE_MS: i64 = 400_000;
/// Where stores lie that nobody will ask for again.
const MEMORY: &str = "/dev/shm";

/// Everything there is in one run.
pub(crate) struct Simulated {
    pub(crate) network: Network,
    pub(crate) phones: Vec<Phone>,
    backups: u32,
    /// Kept until the run ends; dropped last.
    _folder: TempDir,
}

impl Simulated {
    pub(crate) fn begin(script: &Script) -> Result<Self, Breach> {
        let folder = tempfile::Builder::new().prefix("haversack-simulation").tempdir_in(MEMORY);
        let folder = folder.or_else(|_| tempfile::tempdir()).expect("a folder");
        let schema = schema();
        let mut network = Network::over(folder.path(), script.seed, script.faults, schema.clone(), RULES);
        let mut chance = Chance::of(!script.seed);
        let mut phones = vec![];
        for (who, name) in NAMES.iter().enumerate() {
            let role = if who == COORDINATOR { Role::Coordinator } else { Role::Mentor };
            phones.push(Phone::new(who, name, role, folder.path(), &schema, &mut network, &mut chance)?);
        }
        Ok(Self { network, phones, backups: 0, _folder: folder })
    }

    /// Lets one thing happen and holds its phone to what must hold at any time.
    pub(crate) fn perform(&mut self, number: usize, step: Step) -> Result<(), Breach> {
        let mut chance = Chance::of(step.seed);
        self.network.now.0 += 1 + i64::try_from(chance.below(3_000)).expect("small");
        self.network.record.say(format!("{number}: phone {} {:?}", step.who, step.act));
        self.act(step, &mut chance)?;
        self.look(step.who)
    }

    fn act(&mut self, step: Step, chance: &mut Chance) -> Result<(), Breach> {
        let (network, phone) = (&mut self.network, &mut self.phones[step.who]);
        match step.act {
            Act::Correct => self.correct(step.who, chance),
            Act::Discard => self.discard(step.who, chance),
            Act::Acknowledge => self.acknowledge(step.who),
            Act::SyncNow => {
                phone.tell(Input::SyncNow, network, chance);
                phone.work_through(network, chance)
            }
            Act::Work => {
                for _ in 0..=chance.below(6) {
                    phone.advance(network, chance)?;
                }
                Ok(())
            }
            Act::Online | Act::Offline => {
                phone.switch(step.act == Act::Online, network, chance);
                Ok(())
            }
            Act::Reopen | Act::Crash => {
                phone.end(step.act == Act::Crash, network)?;
                phone.open(network, chance)
            }
            Act::ReadAnew => {
                if phone.store().cursor().map_err(unreadable)?.is_some() {
                    network.record.see("a read position was forgotten and everything came once more");
                }
                phone.store().reset_cursor().map_err(unreadable)
            }
            Act::Time => self.pass(chance),
            Act::Patience => self.wait(step.who, chance),
            Act::MoveClock => {
                let years = i64::try_from(chance.below(40)).expect("small") - 20;
                phone.ahead_ms = years * YEAR_MS + i64::try_from(chance.below(1_000_000)).expect("small");
                network.record.see("a clock jumped by years");
                Ok(())
            }
            Act::ChangeRole => {
                phone.role = if phone.role == Role::Mentor { Role::Coordinator } else { Role::Mentor };
                network.record.see("a role changed");
                Ok(())
            }
            Act::BackUp => {
                self.backups += 1;
                phone.back_up(network, &format!("backup-{}", self.backups))
            }
            Act::GoBack => self.go_back(step.who, chance),
            Act::DeliverLate => network.deliver_late().map(drop),
            Act::RestartServer => {
                network.record.see("a server was restarted");
                network.restart();
                Ok(())
            }
            act => self.edit(step.who, act, chance),
        }
    }

    /// A minute at most passes; who waited for it wakes.
    fn pass(&mut self, chance: &mut Chance) -> Result<(), Breach> {
        self.network.now.0 += i64::try_from(chance.below(60_000)).expect("small");
        for phone in &mut self.phones {
            phone.wake(&mut self.network, chance);
        }
        Ok(())
    }

    /// A phone is left alone for hours: it tries again whenever its pause is over.
    fn wait(&mut self, who: usize, chance: &mut Chance) -> Result<(), Breach> {
        for _ in 0..PAUSES {
            self.network.now.0 += PAUSE_MS;
            let (network, phone) = (&mut self.network, &mut self.phones[who]);
            phone.wake(network, chance);
            phone.work_through(network, chance)?;
        }
        Ok(())
    }

    /// Records that are on a phone, of those there are.
    fn known(&self, who: usize) -> Result<Vec<(RecordId, &'static str)>, Breach> {
        let mut known = vec![];
        for (record, collection) in &self.network.ledger.records {
            if self.phones[who].store().get(*record).map_err(unreadable)?.is_some() {
                known.push((*record, *collection));
            }
        }
        Ok(known)
    }

    fn edit(&mut self, who: usize, act: Act, chance: &mut Chance) -> Result<(), Breach> {
        let known = self.known(who)?;
        let phone = &self.phones[who];
        let by = (&phone.principal, phone.role, phone.now(&self.network));
        let breaks_rules = self.network.faults.breaks_rules;
        let drawn = Drawing { chance, by, known: &known, breaks_rules }.draw(act);
        let Some(change_set) = drawn else { return Ok(()) };
        self.write(who, change_set, None, chance)
    }

    /// Stores an edit, in the place of another where one is named.
    fn write(
        &mut self,
        who: usize,
        change_set: ChangeSet,
        instead: Option<ChangeSetId>,
        chance: &mut Chance,
    ) -> Result<(), Breach> {
        let (network, phone) = (&mut self.network, &mut self.phones[who]);
        let written = match instead {
            Some(refused) => phone.store().resubmit(vec![(refused, change_set.clone())]),
            None => phone.store().local_write(change_set.clone()),
        };
        match written {
            Ok(_) => {}
            Err(StoreError::Edit(refusal)) => {
                network.record.see("an edit was refused on the spot");
                network.record.say(format!("  refused on the spot: {refusal}"));
                return Ok(());
            }
            Err(error) => return Err(unreadable(error)),
        }
        network.record.say(format!("  makes {}", change_set.id));
        if let Some(refused) = instead {
            network.ledger.give_up(refused, true);
            network.record.see("a refused edit was corrected");
        }
        network.ledger.make(who, &change_set);
        for part in change_set.parts.iter().filter(|part| part.creates) {
            let collection = ["team", "person", "activity", "alarm"];
            let collection =
                collection.into_iter().find(|name| *name == part.collection).expect("one of them");
            if !network.ledger.records.contains(&(part.record, collection)) {
                network.ledger.records.push((part.record, collection));
            }
        }
        shows(phone, &change_set)?;
        phone.tell(Input::LocalWork, network, chance);
        Ok(())
    }

    /// One of the entries that were set aside.
    fn set_aside(&self, who: usize, chance: &mut Chance) -> Result<Option<ChangeSet>, Breach> {
        let mut entries = self.phones[who].store().set_aside().map_err(unreadable)?;
        let at = chance.below(entries.len());
        Ok((!entries.is_empty()).then(|| entries.swap_remove(at).change_set))
    }

    fn correct(&mut self, who: usize, chance: &mut Chance) -> Result<(), Breach> {
        let Some(refused) = self.set_aside(who, chance)? else { return Ok(()) };
        let (old, id) = (refused.id, ChangeSetId::from_bytes(chance.id()));
        let at = self.phones[who].now(&self.network);
        self.write(who, corrected(refused, id, at), Some(old), chance)
    }

    fn discard(&mut self, who: usize, chance: &mut Chance) -> Result<(), Breach> {
        let Some(refused) = self.set_aside(who, chance)? else { return Ok(()) };
        self.phones[who].store().discard(refused.id).map_err(unreadable)?;
        self.network.ledger.give_up(refused.id, true);
        self.network.record.see("a refused edit was discarded");
        Ok(())
    }

    fn acknowledge(&mut self, who: usize) -> Result<(), Breach> {
        let store = self.phones[who].store();
        let notices = store.notices().map_err(unreadable)?;
        let Some(notice) = notices.first() else { return Ok(()) };
        let is_known = store.acknowledge_notice(notice.id).map_err(unreadable)?;
        hold(is_known, "a notice that is listed can be acknowledged", || notice.id.to_string())
    }

    fn go_back(&mut self, who: usize, chance: &mut Chance) -> Result<(), Breach> {
        let (network, phone) = (&mut self.network, &mut self.phones[who]);
        let Some(waited) = phone.go_back(network)? else { return Ok(()) };
        network.record.see("a store went back to a backup");
        phone.open(network, chance)?;
        let there = self.outbox_ids(who)?;
        hold(waited == there, "a backup holds what waited when it was made", || {
            format!("{} waited, {} are there", waited.len(), there.len())
        })?;
        let ledger = &mut self.network.ledger;
        let (mut is_one_back, made) = (false, &mut ledger.made);
        for (id, made) in made.iter_mut().filter(|(_, made)| made.who == who) {
            let is_accepted = ledger.accepted.contains_key(id);
            made.is_given_up = !there.contains(id) && !is_accepted;
            is_one_back |= is_accepted && !waited.contains(id);
        }
        if is_one_back {
            self.network.record.see("what was lost with a backup came back from the log");
        }
        Ok(())
    }

    fn outbox_ids(&self, who: usize) -> Result<BTreeSet<ChangeSetId>, Breach> {
        let entries = self.phones[who].store().outbox().map_err(unreadable)?;
        Ok(entries.into_iter().map(|entry| entry.change_set.id).collect())
    }

    /// What must hold at any time, of one phone.
    pub(crate) fn look(&mut self, who: usize) -> Result<(), Breach> {
        let store = self.phones[who].store();
        let entries = store.outbox().map_err(unreadable)?;
        let waiting: BTreeSet<_> = entries.iter().map(|entry| entry.change_set.id).collect();
        let Network { ledger, record, .. } = &mut self.network;
        for (id, _) in ledger.made.iter().filter(|(_, made)| made.who == who && !made.is_given_up) {
            let is_kept = waiting.contains(id) || ledger.accepted.contains_key(id);
            hold(is_kept, "an edit waits, was accepted, or is kept with its refusal", || id.to_string())?;
        }
        for entry in &entries {
            match &entry.state {
                EntryState::Rejected(rejection) if rejection.code == Code::DependencyRejected => {
                    record.see("a refusal took dependants along");
                }
                EntryState::Parked(_) => record.see("a change set was parked"),
                _ => {}
            }
        }
        let counts = store.counts().map_err(unreadable)?;
        if counts.conflicts > 0 {
            record.see("concurrent values were kept as a conflict");
        }
        for notice in store.notices().map_err(unreadable)? {
            let names_edit = notice.change_set.is_none_or(|id| ledger.made.contains_key(&id));
            let names_record =
                notice.record.is_none_or(|id| ledger.records.iter().any(|(record, _)| *record == id));
            hold(names_edit && names_record, "a notice points to something", || format!("{notice:?}"))?;
            hold(notice.kind != NoticeKind::Quarantined, "nothing honest is quarantined", || {
                format!("{notice:?}")
            })?;
            if notice.kind == NoticeKind::Shadowed {
                record.see("an override stood over a later value");
            }
        }
        let phase = self.phones[who].phase();
        record.say(format!("  {counts:?} {phase:?}"));
        Ok(())
    }

    /// Says whether a phone has nothing left to do.
    pub(crate) fn is_idle(&self, who: usize) -> Result<bool, Breach> {
        let phone = &self.phones[who];
        let counts = phone.store().counts().map_err(unreadable)?;
        let is_still = matches!(phone.work, Work::Nothing) && phone.phase() == Phase::Idle;
        Ok(is_still && counts.pending + counts.sending == 0)
    }
}

/// Who makes an edit sees it at once.
fn shows(phone: &Phone, change_set: &ChangeSet) -> Result<(), Breach> {
    for part in &change_set.parts {
        let found = phone.store().get(part.record).map_err(unreadable)?;
        let claim = "who makes an edit sees it at once";
        let Some(found) = found else { return Err(Breach::of(claim, part.record)) };
        for intent in &part.intents {
            if let Intent::Set { field, value: value @ (Value::Text(_) | Value::Integer(_)) } = intent {
                let shown =
                    found.row.fields.iter().find(|(name, _)| name.as_str() == field).map(|(_, shown)| shown);
                hold(shown == Some(value), claim, || format!("{} {field}: {shown:?}", part.record))?;
            }
        }
    }
    Ok(())
}
