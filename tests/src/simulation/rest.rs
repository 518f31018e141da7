//! Coming to rest: faults stop, everybody syncs until nothing is left to do, and then everything is held against
//! everything else.

use std::collections::BTreeSet;

use haversack_core::Write;
use haversack_core::{Value, sync::Input};
use haversack_protocol::{FrameKind, PageBody, ProtocolRange, Role, SyncRequest};

use super::chance::Chance;
use super::ledger::{Breach, hold};
use super::phone::{Phone, is_stopped, unreadable};
use super::script::{Faults, PHONES};
use super::world::Simulated;
use crate::support::schema;

/// Rounds in which everybody syncs until nothing changes.
const ROUNDS_MAX: usize = 60;
/// Time that passes in a round: longer than any pause.
const ROUND_MS: i64 = 2 * 3600 * 1000;

impl Simulated {
    /// Lets faults stop and everybody sync until nothing is left to do.
    pub(crate) fn come_to_rest(&mut self, seed: u64) -> Result<(), Breach> {
        let mut chance = Chance::of(seed.rotate_left(32));
        self.network.record.say("faults stop".to_owned());
        while self.network.deliver_late()? {}
        self.network.faults = Faults::default();
        let mut before = None;
        for _ in 0..ROUNDS_MAX {
            self.network.now.0 += ROUND_MS;
            let mut is_idle = true;
            for who in 0..PHONES {
                self.sync(who, &mut chance)?;
                self.look(who)?;
                is_idle &= self.is_idle(who)?;
            }
            let rows = Some(self.network.proof().log_rows);
            if is_idle && rows == before {
                return Ok(());
            }
            before = rows;
        }
        let open: Vec<_> = self.phones.iter().map(|phone| (phone.phase(), phone.store().counts())).collect();
        Err(Breach::of("once faults stop, every outbox drains", format!("{open:?}")))
    }

    fn sync(&mut self, who: usize, chance: &mut Chance) -> Result<(), Breach> {
        let (network, phone) = (&mut self.network, &mut self.phones[who]);
        if !phone.is_online {
            phone.switch(true, network, chance);
        }
        phone.work_through(network, chance)?;
        phone.tell(Input::SyncNow, network, chance);
        phone.work_through(network, chance)?;
        let stopped = is_stopped(phone.phase());
        hold(stopped.is_none(), "an honest device is never stopped for good", || format!("{stopped:?}"))
    }

    /// Holds all replicas, the server and what was really done against each other.
    pub(crate) fn prove(&mut self, seed: u64) -> Result<(), Breach> {
        let reader = self.reader(seed)?;
        let server = self.network.proof();
        self.network.record.say(format!("at rest: {server:?}"));
        hold(
            server.from_rows == server.from_documents,
            "the server's rows are what its documents say",
            || format!("{server:?}"),
        )?;
        hold(server.temporary_ids == 0, "no temporary id is left at the server", || {
            server.temporary_ids.to_string()
        })?;
        for phone in self.phones.iter().chain([&reader]) {
            agrees(phone, &server.from_rows)?;
        }
        self.nothing_was_lost()?;
        self.everything_counted_once(&reader)?;
        let assigned = &self.network.ledger.assigned;
        for phone in self.phones.iter().chain([&reader]) {
            let ids = phone.store().server_ids().map_err(unreadable)?;
            hold(ids == *assigned, "every device has every server id", || {
                format!("phone {}: {} of {}", phone.who, ids.len(), assigned.len())
            })?;
        }
        Ok(())
    }

    /// A phone that was never there before and reads everything.
    fn reader(&mut self, seed: u64) -> Result<Phone, Breach> {
        let mut chance = Chance::of(seed.rotate_left(16));
        let folder = self.network.folder();
        let mut reader =
            Phone::new(PHONES, "reader", Role::Mentor, &folder, &schema(), &mut self.network, &mut chance)?;
        reader.work_through(&mut self.network, &mut chance)?;
        self.the_log_is_whole(&reader)?;
        Ok(reader)
    }

    /// Reads the whole log as one device may see it: every accepted change set once.
    fn the_log_is_whole(&mut self, reader: &Phone) -> Result<(), Breach> {
        let device = reader.store().identity().map_err(unreadable)?.device;
        let mut request = SyncRequest {
            protocol: ProtocolRange::OURS,
            device: device.ok_or_else(|| Breach::of("a new device is registered", "no id"))?,
            principal: reader.principal.clone(),
            push_ordinal: 0,
            now: self.network.now,
            schema_version: 1,
            cursor: None,
            page_bytes_max: 20_000,
            echo_in_full: true,
            push: vec![],
            withdraw: vec![],
            erased_position: None,
        };
        let mut seen = BTreeSet::new();
        loop {
            let pages = self.network.pages(&request, reader)?;
            let Some(last) = pages.last() else { break };
            request.cursor = Some(last.cursor_after.clone());
            for row in pages.iter().flat_map(|page| &page.rows) {
                if let haversack_protocol::LogRow::Accepted(row) = row {
                    let id = row.origin.change_set;
                    hold(seen.insert(id), "no change set stands in the log twice", || id.to_string())?;
                }
            }
        }
        let accepted: BTreeSet<_> = self.network.ledger.accepted.keys().copied().collect();
        hold(accepted == seen, "what was accepted once stands in the log for good", || {
            format!("{} told, {} there", accepted.len(), seen.len())
        })
    }

    /// Every edit has its fate: accepted and settled, or refused with its input kept, or given up by its maker.
    fn nothing_was_lost(&self) -> Result<(), Breach> {
        let ledger = &self.network.ledger;
        for phone in &self.phones {
            let aside = phone.store().set_aside().map_err(unreadable)?;
            let aside: BTreeSet<_> = aside.into_iter().map(|entry| entry.change_set.id).collect();
            for (id, made) in ledger.made.iter().filter(|(_, made)| made.who == phone.who) {
                let is_accepted = ledger.accepted.contains_key(id);
                let is_sound = made.is_given_up || is_accepted != aside.contains(id);
                hold(is_sound, "every edit was accepted, or is kept with its refusal", || {
                    format!("{id} of phone {}: accepted: {is_accepted}", phone.who)
                })?;
            }
        }
        Ok(())
    }

    /// Counters show the sum of accepted steps, and histories hold every accepted text.
    fn everything_counted_once(&self, reader: &Phone) -> Result<(), Breach> {
        let ledger = &self.network.ledger;
        for (record, sum) in ledger.counters() {
            let found = reader.store().get(record).map_err(unreadable)?;
            let shown = found.and_then(|found| {
                found
                    .row
                    .fields
                    .into_iter()
                    .find(|(name, _)| name.as_str() == "calls")
                    .map(|(_, value)| value)
            });
            let is_exact = shown == Some(Value::Counter(sum)) || (shown.is_none() && sum == 0);
            hold(is_exact, "a counter shows every accepted step once", || {
                format!("{record}: {shown:?}, not {sum}")
            })?;
        }
        for (id, made) in ledger.made.iter().filter(|(id, _)| ledger.accepted.contains_key(id)) {
            for (record, words) in &made.words {
                let history = reader.store().history(*record, Some("note")).map_err(unreadable)?;
                let is_it = |write: &Write| matches!(write, Write::Register { value: Some(Value::Text(text)), .. } if text == words);
                let times = history.iter().filter(|entry| is_it(&entry.write)).count();
                hold(times == 1, "a history holds every accepted write once", || {
                    format!("{id} on {record}: {times} times")
                })?;
            }
        }
        Ok(())
    }
}

fn agrees(phone: &Phone, state: &str) -> Result<(), Breach> {
    let store = phone.store();
    let findings = store.check().map_err(unreadable)?;
    hold(findings.is_empty(), "rows are what documents and waiting edits make of them", || {
        findings.join("; ")
    })?;
    let rows = store.digest_from_rows().map_err(unreadable)?.finish();
    let documents = store.digest_from_documents().map_err(unreadable)?.finish();
    hold(rows == state && documents == state, "all devices and the server hold the same", || {
        format!("phone {}: rows {rows}, documents {documents}, server {state}", phone.who)
    })?;
    let temporary = store.temporary_ids().map_err(unreadable)?;
    hold(temporary == 0, "no temporary id is left on a device", || {
        format!("phone {}: {temporary}", phone.who)
    })
}

impl super::network::Network {
    /// Pages of the log behind a request, without any fault.
    fn pages(&mut self, request: &SyncRequest, reader: &Phone) -> Result<Vec<PageBody>, Breach> {
        let mut body = Vec::new();
        haversack_protocol::encode_frame(FrameKind::SyncRequest, request, &mut body).expect("small");
        let bearer = Self::bearer(&reader.principal, reader.role);
        let parcel = super::network::Parcel { verb: super::network::Verb::Sync, bearer, body };
        let answered = self.carry(&parcel, &mut Chance::of(0))?.expect("without faults");
        let frames = haversack::carried::read_answer(answered.0, answered.1, &answered.2);
        let reply = frames.and_then(|frames| haversack::carried::Reply::read(&frames));
        Ok(reply.map_err(|error| Breach::of("an honest reader is answered", error))?.pages)
    }
}
