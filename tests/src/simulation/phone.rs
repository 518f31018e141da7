//! A phone of a simulation: the real store and the real engine; what the driver does for them over HTTP happens here one
//! stage at a time, over the simulated network.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use haversack::carried::{
    Applying, Asking, Exchanged, Outgoing, Reply, bind, note_failure, read_answer, read_registration, told,
};
use haversack::{Phase, TransportError};
use haversack_core::sync::{Effect, Engine, Failure, Input, Outcome};
use haversack_protocol::limits::CHANGE_SETS_PER_PUSH_MAX;
use haversack_protocol::{
    ChangeSetId, Code, DeviceReply, DeviceRequest, FrameKind, PrincipalId, ProtocolRange, Role, Schema,
    UnixMillis, encode_frame,
};
use haversack_store::{HostKey, Store, StoreKey};

use super::chance::Chance;
use super::ledger::{Breach, hold};
use super::network::{Answered, Network, Parcel, Verb};

/// What stores call the server.
const SERVER: &str = "simulated#north";
/// Stages a whole synchronisation takes at most, faults and pauses left out.
const STAGES_MAX: usize = 200;

/// What is under way. A phone may be killed, or lose its network, between any two stages.
pub(crate) enum Work {
    Nothing,
    RenewToken,
    Register,
    Bind(Box<DeviceReply>),
    Lease { change_sets_max: usize, withdraw: Option<ChangeSetId> },
    Send { outgoing: Box<Outgoing> },
    Apply { applying: Box<Applying>, pushed: Vec<ChangeSetId> },
}

/// A phone and who holds it.
pub(crate) struct Phone {
    pub(crate) who: usize,
    pub(crate) principal: PrincipalId,
    /// The role the server gives its holder.
    pub(crate) role: Role,
    folder: PathBuf,
    keys: HostKey,
    schema: Arc<Schema>,
    store: Option<Store>,
    engine: Engine,
    /// Its clock minus the world's.
    pub(crate) ahead_ms: i64,
    wake_at: Option<UnixMillis>,
    pub(crate) is_online: bool,
    pub(crate) work: Work,
    echo_in_full: bool,
    /// The newest backup, with what waited in the outbox then.
    pub(crate) backup: Option<(PathBuf, BTreeSet<ChangeSetId>)>,
}

impl Phone {
    pub(crate) fn new(
        who: usize,
        name: &str,
        role: Role,
        folder: &Path,
        schema: &Schema,
        network: &mut Network,
        chance: &mut Chance,
    ) -> Result<Self, Breach> {
        let key = u8::try_from(who).expect("a few phones") + 1;
        let mut phone = Self {
            who,
            principal: PrincipalId::new(name).expect("plain"),
            role,
            folder: folder.join(name),
            keys: HostKey::new(StoreKey::from_bytes([key; 32])),
            schema: Arc::new(schema.clone()),
            store: None,
            engine: Engine::default(),
            ahead_ms: 0,
            wake_at: None,
            is_online: true,
            work: Work::Nothing,
            echo_in_full: false,
            backup: None,
        };
        phone.open(network, chance)?;
        Ok(phone)
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().expect("open between steps")
    }

    pub(crate) fn now(&self, network: &Network) -> UnixMillis {
        UnixMillis(network.now.0.saturating_add(self.ahead_ms))
    }

    pub(crate) fn phase(&self) -> Phase {
        self.engine.phase()
    }

    /// Opens the store as an app does when it starts, and connects.
    pub(crate) fn open(&mut self, network: &mut Network, chance: &mut Chance) -> Result<(), Breach> {
        let opened = Store::open(&self.folder, self.schema.clone(), &self.keys);
        let store = opened.map_err(|error| Breach::of("a store opens after anything", error))?;
        let identity = store.identity().map_err(unreadable)?;
        self.store = Some(store);
        (self.engine, self.work, self.wake_at, self.echo_in_full) =
            (Engine::default(), Work::Nothing, None, false);
        if !self.is_online {
            self.tell(Input::Online(false), network, chance);
        }
        let registered = identity.device.is_some() && identity.server.as_deref() == Some(SERVER);
        self.tell(Input::Connected { registered }, network, chance);
        Ok(())
    }

    /// Ends the app: in order, or by killing it. What was under way is gone.
    pub(crate) fn end(&mut self, is_killed: bool, network: &mut Network) -> Result<(), Breach> {
        match std::mem::replace(&mut self.work, Work::Nothing) {
            Work::Send { .. } if is_killed => network.record.see("a device crashed with a request under way"),
            Work::Apply { .. } if is_killed => {
                network.record.see("a device crashed between two pages or before the end of a reply");
            }
            _ => {}
        }
        let store = self.store.take().expect("open between steps");
        if is_killed {
            drop(store);
            return Ok(());
        }
        store.close().map_err(unreadable)
    }

    /// Puts the newest backup in the place of the store. Returns what waited in it.
    pub(crate) fn go_back(&mut self, network: &mut Network) -> Result<Option<BTreeSet<ChangeSetId>>, Breach> {
        let Some((backup, waited)) = self.backup.clone() else { return Ok(None) };
        self.end(true, network)?;
        let report = haversack_store::restore(&backup, &self.folder, &self.keys).map_err(unreadable)?;
        if let Some(aside) = report.aside {
            std::fs::remove_dir_all(aside)
                .map_err(|error| Breach::of("the store put aside is there", error))?;
        }
        Ok(Some(waited))
    }

    /// Backs the store up under a new name.
    pub(crate) fn back_up(&mut self, network: &Network, name: &str) -> Result<(), Breach> {
        let to = network.folder().join(name);
        self.store().back_up(&to).map_err(unreadable)?;
        let entries = self.store().outbox().map_err(unreadable)?;
        self.backup = Some((to, entries.into_iter().map(|entry| entry.change_set.id).collect()));
        Ok(())
    }

    /// Gives the engine one input and begins what it asks for.
    pub(crate) fn tell(&mut self, input: Input, network: &mut Network, chance: &mut Chance) {
        let effects = self.engine.step(self.now(network), input, chance.next());
        for effect in effects {
            self.work = match effect {
                Effect::WakeAt(at) => {
                    self.wake_at = Some(at);
                    continue;
                }
                Effect::RenewToken => Work::RenewToken,
                Effect::Register => Work::Register,
                Effect::Exchange { change_sets_max, withdraw } => {
                    if change_sets_max > 0 && change_sets_max < CHANGE_SETS_PER_PUSH_MAX {
                        network.record.see("a batch was split");
                    }
                    Work::Lease { change_sets_max, withdraw }
                }
                _ => continue,
            };
        }
    }

    /// The network comes or goes; what was under way goes with it.
    pub(crate) fn switch(&mut self, is_online: bool, network: &mut Network, chance: &mut Chance) {
        if !is_online && !matches!(std::mem::replace(&mut self.work, Work::Nothing), Work::Nothing) {
            network.record.see("a network went while a request was under way");
        }
        self.is_online = is_online;
        self.tell(Input::Online(is_online), network, chance);
    }

    /// Tells the engine that its hour has come, when it has.
    pub(crate) fn wake(&mut self, network: &mut Network, chance: &mut Chance) -> bool {
        let is_due = self.wake_at.is_some_and(|at| at <= self.now(network));
        if is_due {
            self.wake_at = None;
            self.tell(Input::Woken, network, chance);
        }
        is_due
    }

    /// Works until nothing is under way.
    pub(crate) fn work_through(&mut self, network: &mut Network, chance: &mut Chance) -> Result<(), Breach> {
        for _ in 0..STAGES_MAX {
            if !self.advance(network, chance)? {
                return Ok(());
            }
        }
        Err(Breach::of("a synchronisation comes to an end", format!("not in {STAGES_MAX} stages")))
    }

    /// Does one stage of what is under way. False when nothing is.
    pub(crate) fn advance(&mut self, network: &mut Network, chance: &mut Chance) -> Result<bool, Breach> {
        let input = match std::mem::replace(&mut self.work, Work::Nothing) {
            Work::Nothing => return Ok(false),
            Work::RenewToken => Input::TokenRenewed(true),
            Work::Register => match self.register(network, chance)? {
                Ok(reply) => {
                    self.work = Work::Bind(Box::new(reply));
                    return Ok(true);
                }
                Err(error) => Input::Registered(Err(Failure::from(error))),
            },
            Work::Bind(reply) => {
                let bound = bind(self.store(), SERVER, &self.principal, &reply);
                Input::Registered(bound.map(drop).map_err(Failure::from))
            }
            Work::Lease { change_sets_max, withdraw } => match self.lease(network, change_sets_max, withdraw)
            {
                Ok(outgoing) => {
                    self.work = Work::Send { outgoing: Box::new(outgoing) };
                    return Ok(true);
                }
                Err(error) => self.told(Err(error), &[])?,
            },
            Work::Send { outgoing } => match self.send(&outgoing, network, chance)? {
                Ok(reply) => {
                    let pushed = outgoing.pushed();
                    let applying = Applying::new(reply, &outgoing.request);
                    self.work = Work::Apply { applying: Box::new(applying), pushed };
                    return Ok(true);
                }
                Err(error) => self.told(Err(error), &outgoing.pushed())?,
            },
            Work::Apply { mut applying, pushed } => {
                applying
                    .step(self.store())
                    .map_err(|error| Breach::of("what an honest server says can be stored", error))?;
                self.echo_in_full = applying.echo_in_full();
                let Some(exchanged) = applying.done() else {
                    self.work = Work::Apply { applying, pushed };
                    return Ok(true);
                };
                self.told(Ok(exchanged), &pushed)?
            }
        };
        network.record.say(format!("  phone {} is told {}", self.who, word(&input)));
        self.tell(input, network, chance);
        Ok(true)
    }

    fn told(
        &self,
        exchanged: Result<Exchanged, TransportError>,
        pushed: &[ChangeSetId],
    ) -> Result<Input, Breach> {
        let (input, error) = told(exchanged, pushed);
        if let Some(error) = error {
            hold(error != TransportError::NotStored, "a store stores", || error.to_string())?;
            note_failure(self.store(), pushed, &error)
                .map_err(|error| Breach::of("a store stores", error))?;
        }
        Ok(input)
    }

    fn register(
        &self,
        network: &mut Network,
        chance: &mut Chance,
    ) -> Result<Result<DeviceReply, TransportError>, Breach> {
        let installation = self.store().identity().map_err(unreadable)?.installation;
        let request = DeviceRequest { protocol: ProtocolRange::OURS, installation };
        let answered = self.carry(Verb::Register, FrameKind::DeviceRequest, &request, network, chance)?;
        Ok(answered.and_then(|answered| read_registration(&read(&answered)?)))
    }

    fn lease(
        &self,
        network: &Network,
        change_sets_max: usize,
        withdraw: Option<ChangeSetId>,
    ) -> Result<Outgoing, TransportError> {
        let asking = Asking {
            principal: &self.principal,
            now: self.now(network),
            echo_in_full: self.echo_in_full,
            change_sets_max,
            withdraw,
        };
        Outgoing::lease(self.store(), asking)
    }

    fn send(
        &self,
        outgoing: &Outgoing,
        network: &mut Network,
        chance: &mut Chance,
    ) -> Result<Result<Reply, TransportError>, Breach> {
        let answered = self.carry(Verb::Sync, FrameKind::SyncRequest, &outgoing.request, network, chance)?;
        Ok(answered.and_then(|answered| Reply::read(&read(&answered)?)))
    }

    fn carry<T: minicbor::Encode<()>>(
        &self,
        verb: Verb,
        kind: FrameKind,
        request: &T,
        network: &mut Network,
        chance: &mut Chance,
    ) -> Result<Result<Answered, TransportError>, Breach> {
        let mut body = Vec::new();
        encode_frame(kind, request, &mut body)
            .map_err(|refusal| Breach::of("a request fits its frame", refusal))?;
        let parcel = Parcel { verb, bearer: Network::bearer(&self.principal, self.role), body };
        Ok(network.carry(&parcel, chance)?.ok_or(TransportError::Unreachable))
    }
}

fn read((status, retry_after, body): &Answered) -> Result<Vec<haversack_protocol::Frame>, TransportError> {
    read_answer(*status, *retry_after, body)
}

pub(crate) fn unreadable(error: haversack_store::StoreError) -> Breach {
    Breach::of("a store can be used", error)
}

/// An input in a word, without what a second run would draw anew.
fn word(input: &Input) -> String {
    match input {
        Input::Registered(Ok(())) => "that it is registered".to_owned(),
        Input::Registered(Err(failure)) => format!("that it is not registered: {failure:?}"),
        Input::Exchanged(Outcome::Applied { settled, more_to_read, more_to_send }) => {
            format!("of {settled} verdicts, more to read: {more_to_read}, to send: {more_to_send}")
        }
        Input::Exchanged(Outcome::Failed { failure, sent }) => {
            format!("of a failure: {failure:?}, sent {sent:?}")
        }
        other => format!("{other:?}"),
    }
}

/// Says whether the engine was stopped by something only a person can mend.
pub(crate) fn is_stopped(phase: Phase) -> Option<Code> {
    match phase {
        Phase::Blocked(code) => Some(code),
        _ => None,
    }
}
