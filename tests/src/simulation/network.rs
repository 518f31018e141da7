//! The network of a simulation and the real server at its end, called in the same thread.

use std::path::{Path, PathBuf};
use std::time::Duration;

use haversack::carried::read_answer;
use haversack_core::Rules;
use haversack_protocol::{
    ChangeSetId, FrameKind, PageBody, PrincipalId, Role, Schema, SyncRequest, TenantId, UnixMillis,
    decode_frames, decode_only_frame,
};
use haversack_server::{Bearer, DeviceIds, InProcess, InProcessConfig, StateProof, prove_state};

use super::chance::Chance;
use super::ledger::{Breach, Ledger};
use super::record::Record;
use super::script::Faults;

/// One in so many requests meets a fault that is on.
const MEETS: usize = 6;
/// One in so many change sets is one that a proxy chokes on.
const CHOKES_ON: u8 = 24;
const RETRY_AFTER: Duration = Duration::from_secs(7);

/// Which request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Register,
    Sync,
}

/// A request on its way.
#[derive(Clone)]
pub(crate) struct Parcel {
    pub(crate) verb: Verb,
    pub(crate) bearer: Bearer,
    pub(crate) body: Vec<u8>,
}

/// What comes back: status, pause asked for, body.
pub(crate) type Answered = (u16, Option<Duration>, Vec<u8>);

/// What a run works with beside the phones.
pub(crate) struct Network {
    config: InProcessConfig,
    server: Option<InProcess>,
    /// The time of the world; the server's clock is right.
    pub(crate) now: UnixMillis,
    pub(crate) faults: Faults,
    late: Vec<Parcel>,
    pub(crate) ledger: Ledger,
    pub(crate) record: Record,
}

impl Network {
    pub(crate) fn over(folder: &Path, seed: u64, faults: Faults, schema: Schema, rules: &str) -> Self {
        let rules = Rules::from_json(rules, &schema).expect("sound rules");
        let config = InProcessConfig {
            database: folder.join("server.db"),
            tenant: TenantId::new("north").expect("plain"),
            schema,
            rules,
            device_ids: DeviceIds::Seeded(seed),
        };
        let mut network = Self {
            config,
            server: None,
            now: UnixMillis(1_800_000_000_000),
            faults,
            late: vec![],
            ledger: Ledger::default(),
            record: Record::begin(),
        };
        network.restart();
        network
    }

    /// Closes the server and opens it again.
    pub(crate) fn restart(&mut self) {
        self.server = None;
        self.server = Some(InProcess::open(self.config.clone()).expect("a database of its own"));
    }

    pub(crate) fn proof(&self) -> StateProof {
        prove_state(&self.config.database, &self.config.schema).expect("provable")
    }

    pub(crate) fn bearer(principal: &PrincipalId, role: Role) -> Bearer {
        Bearer { principal: principal.clone(), role }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.config.database.parent().expect("in a folder").to_owned()
    }

    /// Carries a request and brings what comes back; nothing when it never does.
    pub(crate) fn carry(&mut self, parcel: &Parcel, chance: &mut Chance) -> Result<Option<Answered>, Breach> {
        let faults = self.faults;
        let mut meets = |is_on: bool| is_on && chance.one_in(MEETS);
        if meets(faults.loses_requests) {
            self.record.see("a request was lost");
            return Ok(None);
        }
        let (is_doubled, is_late) = (meets(faults.doubles_requests), meets(faults.delivers_late));
        let (is_lost, is_cut) = (meets(faults.loses_replies), meets(faults.cuts_replies));
        let is_replaced = meets(faults.replaces_replies);
        if self.chokes_on(parcel) {
            self.record.see("a proxy choked on a change set");
            return Ok(Some((502, None, b"<html>bad gateway</html>".to_vec())));
        }
        if is_replaced && chance.one_in(2) {
            return Ok(Some(self.replacement(chance)));
        }
        if is_late {
            self.late.push(parcel.clone());
        }
        if is_doubled {
            self.record.see("a request arrived twice");
            self.deliver(parcel)?;
        }
        let (status, retry_after, mut body) = self.deliver(parcel)?;
        if is_lost {
            self.record.see("a reply was lost");
            return Ok(None);
        }
        if is_replaced {
            return Ok(Some(self.replacement(chance)));
        }
        if is_cut {
            self.record.see("a reply was cut");
            body.truncate(chance.below(body.len()));
        }
        Ok(Some((status, retry_after, body)))
    }

    fn replacement(&mut self, chance: &mut Chance) -> Answered {
        let page = b"<html>Welcome to the hotel</html>".to_vec();
        let (sight, status, retry_after) = match chance.below(6) {
            0 => ("a captive portal answered", 200, None),
            1 => ("a token was refused", 401, None),
            2 => ("a request was called too large", 413, None),
            3 => ("a server asked for patience", 429, Some(RETRY_AFTER)),
            4 => ("a server asked for patience", 503, Some(RETRY_AFTER)),
            _ => ("a gateway failed", 500, None),
        };
        self.record.see(sight);
        (status, retry_after, page)
    }

    fn chokes_on(&self, parcel: &Parcel) -> bool {
        if !self.faults.chokes || parcel.verb != Verb::Sync {
            return false;
        }
        let request: SyncRequest =
            decode_only_frame(&parcel.body).expect("a frame").read().expect("a request of ours");
        let is_choking = |id: &ChangeSetId| id.as_bytes()[15].is_multiple_of(CHOKES_ON);
        request.push.iter().any(|change_set| is_choking(&change_set.id))
    }

    /// Lets the server answer, and notes what it says.
    fn deliver(&mut self, parcel: &Parcel) -> Result<Answered, Breach> {
        let server = self.server.as_mut().expect("running");
        let reply = match parcel.verb {
            Verb::Register => server.register(parcel.bearer.clone(), &parcel.body),
            Verb::Sync => server.sync(parcel.bearer.clone(), &parcel.body, self.now),
        };
        let retry_after = reply.retry_after_s.map(|seconds| Duration::from_secs(seconds.into()));
        let frames = decode_frames(&reply.frames)
            .map_err(|refusal| Breach::of("the server answers in whole frames", refusal))?;
        if let Err(haversack::TransportError::Refused { code, .. }) =
            read_answer(reply.status, retry_after, &reply.frames)
        {
            self.record.say(format!("  the server refuses the request: {code}"));
        }
        for frame in frames.iter().filter(|frame| frame.kind == FrameKind::Page) {
            let page: PageBody = frame.read().map_err(|refusal| Breach::of("a page reads back", refusal))?;
            self.ledger.read(&page, &mut self.record)?;
        }
        Ok((reply.status, retry_after, reply.frames))
    }

    /// Delivers the request that waits longest.
    pub(crate) fn deliver_late(&mut self) -> Result<bool, Breach> {
        if self.late.is_empty() {
            return Ok(false);
        }
        let parcel = self.late.remove(0);
        self.record.see("an old request arrived late");
        self.deliver(&parcel).map(|_| true)
    }
}
