//! The state machine of one device's sync. Pure: the clock and chance are arguments.
//!
//! Single flight: at most one exchange is under way. Work found meanwhile starts the next one; nothing waits for a new
//! edit to be sent.

use haversack_protocol::limits::{
    BACKOFF_MAX_MS, CHANGE_SETS_PER_PUSH_MAX, FAILURES_BEFORE_SPLIT, RETRY_AFTER_MAX_MS,
};
use haversack_protocol::{ChangeSetId, Class, Code, UnixMillis};

use super::backoff::full_jitter;
use super::suspicion::{Finding, Suspicion};

/// Why an exchange brought no verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, a timeout, a cut or damaged reply, a captive portal, or a code to retry.
    Transient {
        /// What the server asked for, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// A whole answer that decided nothing of what was sent: it waits for something else.
    Undecided,
    /// The token was refused; the provider is asked once before waiting.
    Token,
    /// Nothing more can be sent until the app acts.
    Blocked(Code),
}

impl Failure {
    /// The failure a refused request stands for.
    pub fn of(code: Code, retry_after_ms: Option<u64>) -> Self {
        match code.class() {
            Class::Auth => Self::Token,
            Class::Blocked => Self::Blocked(code),
            _ => Self::Transient { retry_after_ms },
        }
    }
}

/// What became of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A whole reply was applied.
    Applied {
        /// Verdicts settled by it.
        settled: usize,
        /// More rows wait at the server.
        more_to_read: bool,
        /// Entries wait in the outbox that may be sent now.
        more_to_send: bool,
    },
    /// It failed; what was applied before the failure stays.
    Failed {
        /// Why.
        failure: Failure,
        /// What it carried.
        sent: Sent,
    },
}

/// What a request carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sent {
    /// No change set.
    #[default]
    Nothing,
    /// One change set.
    One(ChangeSetId),
    /// That many, more than one.
    Many(usize),
}

impl Sent {
    /// What a push of these change sets is.
    pub fn of(push: &[ChangeSetId]) -> Self {
        match push {
            [] => Self::Nothing,
            [one] => Self::One(*one),
            many => Self::Many(many.len()),
        }
    }

    fn count(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(_) => 1,
            Self::Many(count) => count,
        }
    }
}

/// What the driver tells the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// Connected to a server; `registered` when the store has a device id.
    Connected {
        /// The store has a device id.
        registered: bool,
    },
    /// The network came or went.
    Online(bool),
    /// A local edit was committed.
    LocalWork,
    /// The server says that there is something to read.
    Poked,
    /// The app asks for a round trip now.
    SyncNow,
    /// The hour asked for by [`Effect::WakeAt`] has come.
    Woken,
    /// Registration ended.
    Registered(Result<(), Failure>),
    /// The exchange ended.
    Exchanged(Outcome),
    /// The token provider was asked and has a token.
    TokenRenewed(bool),
    /// The app asks to forget the connection.
    Disconnected,
}

/// What the driver does for the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Ask the token provider for a fresh token.
    RenewToken,
    /// Register the device.
    Register,
    /// Lease at most this many entries, send them, read pages, apply them.
    Exchange {
        /// Change sets in the push; 0 only reads.
        change_sets_max: usize,
        /// A change set to take back.
        withdraw: Option<ChangeSetId>,
    },
    /// Say [`Input::Woken`] at this time; replaces any earlier wish.
    WakeAt(UnixMillis),
}

/// What the engine is doing, for status displays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// No server yet.
    Disconnected,
    /// No network.
    Offline,
    /// Nothing to do.
    Idle,
    /// A request is under way.
    Busy,
    /// Waiting before the next try.
    Waiting {
        /// Until then.
        until: UnixMillis,
    },
    /// Stopped until the app acts.
    Blocked(Code),
}

/// The engine.
#[derive(Clone, Debug)]
pub struct Engine {
    is_connected: bool,
    is_registered: bool,
    is_online: bool,
    is_busy: bool,
    has_work: bool,
    wants_token: bool,
    token_failures: u32,
    failures: u32,
    change_sets_max: usize,
    waiting_until: Option<UnixMillis>,
    /// The pause is for what waits, not for the server: new work need not wait with it.
    is_pause_soft: bool,
    /// Registered anew since the last exchange that succeeded.
    has_registered_anew: bool,
    blocked: Option<Code>,
    /// The last exchange over this connection and network succeeded.
    is_in_touch: bool,
    suspicion: Suspicion,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            is_connected: false,
            is_registered: false,
            is_online: true,
            is_busy: false,
            has_work: false,
            wants_token: false,
            token_failures: 0,
            failures: 0,
            change_sets_max: CHANGE_SETS_PER_PUSH_MAX,
            waiting_until: None,
            is_pause_soft: false,
            has_registered_anew: false,
            blocked: None,
            is_in_touch: false,
            suspicion: Suspicion::default(),
        }
    }
}

/// No pause is longer; one that is was asked for before the clock was set back.
const PAUSE_MS_MAX: u64 = RETRY_AFTER_MAX_MS + BACKOFF_MAX_MS;

impl Engine {
    /// Takes one input and says what to do next. `entropy` is one fresh random number.
    pub fn step(&mut self, now: UnixMillis, input: Input, entropy: u64) -> Vec<Effect> {
        if self.waiting_until.is_some_and(|until| until > now.plus_ms(PAUSE_MS_MAX)) {
            (self.waiting_until, self.has_work) = (None, true);
        }
        match input {
            Input::Connected { registered } => {
                *self = Self { is_online: self.is_online, ..Self::default() };
                (self.is_connected, self.is_registered, self.has_work) = (true, registered, true);
                // Pages of an earlier connection may still be under way; their end is then told as usual.
            }
            Input::Disconnected => *self = Self { is_online: self.is_online, ..Self::default() },
            Input::Online(is_online) => {
                // Connectivity regained tries at once, whatever the pause was.
                if is_online && !self.is_online {
                    (self.waiting_until, self.failures, self.has_work) = (None, 0, true);
                }
                // The driver drops what was under way on the network that went.
                if !is_online && self.is_busy {
                    (self.is_busy, self.has_work) = (false, true);
                    self.suspicion.interrupted();
                }
                self.is_in_touch &= is_online;
                self.is_online = is_online;
            }
            // What waits for something else may find it in what there is to read.
            Input::LocalWork | Input::Poked => {
                self.has_work = true;
                if std::mem::take(&mut self.is_pause_soft) {
                    self.waiting_until = None;
                }
            }
            Input::SyncNow => (self.has_work, self.waiting_until, self.blocked) = (true, None, None),
            Input::Woken => {
                if self.waiting_until.is_some_and(|until| until <= now) {
                    self.waiting_until = None;
                    self.has_work = true;
                }
            }
            Input::Registered(Ok(())) => {
                (self.is_busy, self.is_registered) = (false, true);
                self.succeeded();
            }
            Input::Registered(Err(failure)) => self.failed(now, &failure, Sent::Nothing, entropy),
            Input::Exchanged(Outcome::Applied { more_to_read, more_to_send, .. }) => {
                (self.is_busy, self.has_registered_anew, self.is_in_touch) = (false, false, true);
                self.has_work |= more_to_read || more_to_send;
                match self.suspicion.answered() {
                    Finding::Fine => self.succeeded(),
                    Finding::Doubt { is_fresh } => {
                        self.has_work = true;
                        if is_fresh {
                            self.failures = 0;
                        }
                    }
                }
            }
            Input::Exchanged(Outcome::Failed { failure, sent }) => {
                // A server that asks for patience, or refuses the token, says nothing about what was sent.
                if failure == (Failure::Transient { retry_after_ms: None }) {
                    if self.failures >= FAILURES_BEFORE_SPLIT {
                        self.suspicion.arouse();
                    }
                    self.suspicion.failed(sent);
                } else {
                    self.suspicion.interrupted();
                }
                self.failed(now, &failure, sent, entropy);
            }
            Input::TokenRenewed(has_token) => {
                (self.is_busy, self.wants_token) = (false, false);
                if !has_token {
                    self.wait(now, None, entropy);
                }
            }
        }
        self.next()
    }

    /// The next effects, if anything may be done now.
    fn next(&mut self) -> Vec<Effect> {
        let may_act = self.is_connected && self.is_online && !self.is_busy && self.blocked.is_none();
        if !may_act {
            return vec![];
        }
        if let Some(until) = self.waiting_until {
            return vec![Effect::WakeAt(until)];
        }
        if !self.has_work {
            return vec![];
        }
        self.is_busy = true;
        if self.wants_token {
            return vec![Effect::RenewToken];
        }
        if !self.is_registered {
            return vec![Effect::Register];
        }
        self.has_work = false;
        let (change_sets_max, withdraw) = self.suspicion.next(self.change_sets_max);
        vec![Effect::Exchange { change_sets_max, withdraw }]
    }

    fn succeeded(&mut self) {
        (self.failures, self.token_failures, self.is_pause_soft) = (0, 0, false);
        self.change_sets_max = (self.change_sets_max * 2).min(CHANGE_SETS_PER_PUSH_MAX);
        if self.change_sets_max == CHANGE_SETS_PER_PUSH_MAX {
            self.suspicion = Suspicion::default();
        }
    }

    fn failed(&mut self, now: UnixMillis, failure: &Failure, sent: Sent, entropy: u64) {
        (self.is_busy, self.has_work, self.is_pause_soft) = (false, true, false);
        self.is_in_touch &= *failure == Failure::Undecided;
        match failure {
            Failure::Undecided => {
                self.wait(now, None, entropy);
                self.is_pause_soft = true;
            }
            Failure::Transient { retry_after_ms } => {
                if self.failures >= FAILURES_BEFORE_SPLIT || self.suspicion.is_aroused() {
                    let carried = if sent == Sent::Nothing { usize::MAX } else { sent.count() };
                    self.change_sets_max = (self.change_sets_max.min(carried) / 2).max(1);
                }
                self.wait(now, *retry_after_ms, entropy);
            }
            // An expired token is renewed at once, and never counts as an attempt; a useless one waits.
            Failure::Token => {
                self.wants_token = true;
                self.token_failures += 1;
                if self.token_failures > 1 {
                    self.wait(now, None, entropy);
                }
            }
            // The server may be another than the one that registered the device: asked once, then believed.
            Failure::Blocked(Code::DeviceRevoked) if self.is_registered && !self.has_registered_anew => {
                (self.is_registered, self.has_registered_anew) = (false, true);
            }
            Failure::Blocked(code) => self.blocked = Some(*code),
        }
    }

    fn wait(&mut self, now: UnixMillis, retry_after_ms: Option<u64>, entropy: u64) {
        let pause = full_jitter(self.failures, retry_after_ms, entropy);
        self.failures = self.failures.saturating_add(1);
        self.waiting_until = Some(now.plus_ms(pause));
    }

    /// Says whether the server was reached, and nothing has failed since.
    pub fn is_in_touch(&self) -> bool {
        self.is_in_touch
    }

    /// What the engine is doing.
    pub fn phase(&self) -> Phase {
        match (self.is_connected, self.blocked, self.is_online, self.is_busy, self.waiting_until) {
            (false, ..) => Phase::Disconnected,
            (_, Some(code), ..) => Phase::Blocked(code),
            (_, _, false, ..) => Phase::Offline,
            (_, _, _, true, _) => Phase::Busy,
            (.., Some(until)) => Phase::Waiting { until },
            _ => Phase::Idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);
    const NOTHING: Vec<Effect> = vec![];
    use haversack_protocol::limits::FAILURES_ALONE_MAX;

    fn connected() -> Engine {
        let mut engine = Engine::default();
        let effects = engine.step(NOW, Input::Connected { registered: true }, 0);
        assert_eq!(effects, [push(CHANGE_SETS_PER_PUSH_MAX)]);
        engine
    }

    const fn push(change_sets_max: usize) -> Effect {
        Effect::Exchange { change_sets_max, withdraw: None }
    }

    fn failed(failure: Failure, sent: Sent) -> Input {
        Input::Exchanged(Outcome::Failed { failure, sent })
    }

    fn applied(more_to_send: bool) -> Input {
        Input::Exchanged(Outcome::Applied { settled: 1, more_to_read: false, more_to_send })
    }

    fn transient() -> Input {
        failed(Failure::Transient { retry_after_ms: None }, Sent::Nothing)
    }

    #[test]
    fn a_new_device_registers_before_it_exchanges() {
        let mut engine = Engine::default();
        assert_eq!(engine.step(NOW, Input::Connected { registered: false }, 0), [Effect::Register]);
        let effects = engine.step(NOW, Input::Registered(Ok(())), 0);
        assert_eq!(effects, [push(CHANGE_SETS_PER_PUSH_MAX)]);
    }

    #[test]
    fn one_exchange_is_under_way_at_a_time_and_work_found_meanwhile_follows() {
        let mut engine = connected();
        assert_eq!(engine.step(NOW, Input::LocalWork, 0), NOTHING);
        assert_eq!(engine.step(NOW, applied(false), 0).len(), 1);
        assert_eq!(engine.step(NOW, applied(false), 0), NOTHING);
        assert_eq!(engine.phase(), Phase::Idle);
    }

    #[test]
    fn a_flood_of_pokes_is_one_exchange_more_and_breaks_no_pause() {
        let mut engine = connected();
        for _ in 0..100 {
            assert_eq!(engine.step(NOW, Input::Poked, 0), NOTHING);
        }
        assert_eq!(engine.step(NOW, applied(false), 0).len(), 1);
        assert_eq!(engine.step(NOW, applied(false), 0), NOTHING);
        engine.step(NOW, Input::Poked, 0);
        let effects = engine.step(NOW, transient(), 7);
        assert_eq!(engine.step(NOW, Input::Poked, 0), effects, "a failing server is not asked more often");
    }

    #[test]
    fn a_device_is_in_touch_from_a_success_until_a_failure_or_the_loss_of_the_network() {
        let mut engine = connected();
        assert!(!engine.is_in_touch());
        for end in [Input::Online(false), transient(), Input::Disconnected] {
            engine.step(NOW, Input::Online(true), 0);
            engine.step(NOW, applied(false), 0);
            assert!(engine.is_in_touch());
            engine.step(NOW, end, 0);
            assert!(!engine.is_in_touch());
        }
    }

    #[test]
    fn a_failed_exchange_is_tried_again_without_a_new_edit() {
        let mut engine = connected();
        let effects = engine.step(NOW, transient(), 7);
        let [Effect::WakeAt(at)] = effects[..] else { panic!("waits: {effects:?}") };
        assert_eq!(
            engine.step(NOW, Input::LocalWork, 0),
            [Effect::WakeAt(at)],
            "an edit does not break the pause"
        );
        assert!(matches!(engine.step(at, Input::Woken, 0)[..], [Effect::Exchange { .. }]));
    }

    #[test]
    fn connectivity_regained_tries_at_once() {
        let mut engine = connected();
        engine.step(NOW, transient(), u64::MAX);
        engine.step(NOW, Input::Online(false), 0);
        assert_eq!(engine.phase(), Phase::Offline);
        assert!(matches!(engine.step(NOW, Input::Online(true), 0)[..], [Effect::Exchange { .. }]));
    }

    #[test]
    fn retry_after_wins_over_the_drawn_pause() {
        let mut engine = connected();
        let failure = Failure::Transient { retry_after_ms: Some(90_000) };
        let effects = engine.step(NOW, failed(failure, Sent::Many(9)), 3);
        assert_eq!(effects, [Effect::WakeAt(NOW.plus_ms(90_003))]);
    }

    #[test]
    fn a_batch_that_keeps_failing_is_halved_down_to_one_change_set() {
        let mut engine = connected();
        for _ in 0..40 {
            engine.step(NOW, transient(), 0);
            engine.step(NOW, Input::SyncNow, 0);
        }
        assert_eq!(engine.change_sets_max, 1);
    }

    #[test]
    fn an_expired_token_is_renewed_at_once_and_a_useless_one_waits() {
        let mut engine = connected();
        let refused = || failed(Failure::Token, Sent::Many(9));
        assert_eq!(engine.step(NOW, refused(), 0), [Effect::RenewToken]);
        assert!(matches!(engine.step(NOW, Input::TokenRenewed(true), 0)[..], [Effect::Exchange { .. }]));
        assert!(matches!(engine.step(NOW, refused(), 5)[..], [Effect::WakeAt(_)]));
        assert_eq!(engine.failures, 1);
    }

    #[test]
    fn what_waits_for_something_else_neither_shrinks_batches_nor_holds_new_work_up() {
        let mut engine = connected();
        let undecided = || failed(Failure::Undecided, Sent::Many(9));
        for _ in 0..30 {
            assert!(matches!(engine.step(NOW, undecided(), 9)[..], [Effect::WakeAt(_)]));
            let effects = engine.step(NOW, Input::LocalWork, 0);
            assert_eq!(effects, [push(CHANGE_SETS_PER_PUSH_MAX)]);
        }
    }

    /// Exchanges under a server that answers everything but pushes that carry `culprit`, until it is taken back.
    /// Returns what was taken back, the pushes that carried it, and how many of the others arrived.
    fn exchange_around(culprit: usize, entries: usize) -> (Option<ChangeSetId>, u32, usize) {
        let ids: Vec<_> = (0..entries).map(|n| ChangeSetId::from_bytes([n as u8; 16])).collect();
        let mut outbox: Vec<_> = ids.clone();
        let (mut engine, mut now, mut carried) = (Engine::default(), NOW, 0);
        let mut effects = engine.step(now, Input::Connected { registered: true }, 1);
        for _ in 0..200 {
            let input = match effects[..] {
                [Effect::WakeAt(at)] => {
                    now = at;
                    Input::Woken
                }
                [Effect::Exchange { withdraw: Some(id), .. }] => {
                    return (Some(id), carried, entries - outbox.len());
                }
                [Effect::Exchange { change_sets_max, .. }] => {
                    let sent: Vec<_> = outbox.iter().take(change_sets_max).copied().collect();
                    if sent.contains(&ids[culprit]) {
                        carried += 1;
                        failed(Failure::Transient { retry_after_ms: None }, Sent::of(&sent))
                    } else {
                        outbox.retain(|id| !sent.contains(id));
                        applied(!outbox.is_empty())
                    }
                }
                _ => panic!("goes on: {effects:?}"),
            };
            effects = engine.step(now, input, 1);
        }
        (None, carried, entries - outbox.len())
    }

    #[test]
    fn the_change_set_that_no_push_survives_is_found_and_taken_back_and_those_before_it_arrive() {
        for (culprit, entries) in [(0, 1), (0, 200), (77, 200), (199, 200)] {
            let (taken_back, carried, arrived) = exchange_around(culprit, entries);
            assert_eq!(taken_back, Some(ChangeSetId::from_bytes([culprit as u8; 16])));
            assert_eq!(arrived, culprit, "everything before it, and nothing behind");
            assert!(carried <= 4 + 1 + 9 * 2 + FAILURES_ALONE_MAX, "{carried} pushes");
        }
    }

    #[test]
    fn weeks_without_a_server_speak_against_no_change_set() {
        let mut engine = connected();
        let id = ChangeSetId::from_bytes([1; 16]);
        let mut sent = Sent::One(id);
        for _ in 0..500 {
            engine.step(NOW, failed(Failure::Transient { retry_after_ms: None }, sent), 0);
            let effects = engine.step(NOW, Input::SyncNow, 0);
            let [Effect::Exchange { change_sets_max, withdraw: None }] = effects[..] else {
                panic!("nothing is taken back: {effects:?}");
            };
            sent = if change_sets_max == 0 { Sent::Nothing } else { Sent::One(id) };
        }
    }

    #[test]
    fn a_server_that_asks_for_patience_speaks_against_no_change_set() {
        let mut engine = connected();
        let sent = Sent::One(ChangeSetId::from_bytes([1; 16]));
        for _ in 0..100 {
            engine.step(NOW, failed(Failure::Transient { retry_after_ms: Some(1) }, sent), 0);
            assert_eq!(engine.step(NOW, Input::SyncNow, 0).len(), 1);
            assert!(matches!(engine.step(NOW, Input::SyncNow, 0)[..], []));
        }
        assert_eq!(engine.suspicion, Suspicion::default());
    }

    #[test]
    fn a_withdrawal_that_fails_is_tried_again_and_carries_nothing_else() {
        let mut engine = connected();
        let id = ChangeSetId::from_bytes([1; 16]);
        engine.suspicion.arouse();
        for _ in 0..FAILURES_ALONE_MAX {
            engine.step(NOW, failed(Failure::Transient { retry_after_ms: None }, Sent::One(id)), 0);
            engine.step(NOW, Input::SyncNow, 0);
            engine.step(NOW, applied(true), 0);
        }
        let withdrawal = [Effect::Exchange { change_sets_max: 0, withdraw: Some(id) }];
        engine.step(NOW, transient(), 0);
        assert_eq!(engine.step(NOW, Input::SyncNow, 0), withdrawal);
        let [Effect::Exchange { change_sets_max, withdraw: None }] = engine.step(NOW, applied(true), 0)[..]
        else {
            panic!("goes on without it");
        };
        assert!(change_sets_max > 0);
    }

    #[test]
    fn a_clock_set_back_does_not_stretch_a_pause() {
        let mut engine = connected();
        engine.step(NOW, transient(), u64::MAX);
        let year_ago = UnixMillis(NOW.0 - 365 * 86_400_000);
        assert!(matches!(engine.step(year_ago, Input::Woken, 0)[..], [Effect::Exchange { .. }]));
    }

    #[test]
    fn a_network_that_goes_takes_the_request_under_way_with_it() {
        let mut engine = connected();
        assert_eq!(engine.step(NOW, Input::Online(false), 0), NOTHING);
        assert!(matches!(engine.step(NOW, Input::Online(true), 0)[..], [Effect::Exchange { .. }]));
    }

    #[test]
    fn a_device_the_server_does_not_know_registers_anew_once() {
        let mut engine = connected();
        let unknown = || failed(Failure::Blocked(Code::DeviceRevoked), Sent::Nothing);
        assert_eq!(engine.step(NOW, unknown(), 0), [Effect::Register]);
        assert!(matches!(engine.step(NOW, Input::Registered(Ok(())), 0)[..], [Effect::Exchange { .. }]));
        assert_eq!(engine.step(NOW, unknown(), 0), NOTHING);
        assert_eq!(engine.phase(), Phase::Blocked(Code::DeviceRevoked));
    }

    #[test]
    fn a_blocked_device_sends_nothing_until_the_app_asks() {
        let mut engine = connected();
        let blocked = failed(Failure::Blocked(Code::Upgrade), Sent::Nothing);
        assert_eq!(engine.step(NOW, blocked, 0), NOTHING);
        assert_eq!(engine.step(NOW, Input::LocalWork, 0), NOTHING);
        assert_eq!(engine.phase(), Phase::Blocked(Code::Upgrade));
        assert!(matches!(engine.step(NOW, Input::SyncNow, 0)[..], [Effect::Exchange { .. }]));
    }
}
