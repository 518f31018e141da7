//! When a device opens its live connection, gives it up and asks for it again. Pure: clock and chance are arguments.
//!
//! A live connection only says "there is something to read". It is a comfort: whatever becomes of it, exchanges go on
//! as they would without it.

use haversack_protocol::UnixMillis;
use haversack_protocol::limits::{
    BACKOFF_MAX_MS, LIVE_ABSENT_PAUSE_MS, LIVE_FAILURES_FLOOR, LIVE_STEADY_MS, RETRY_AFTER_MAX_MS,
};

use super::backoff::full_jitter;

/// Why there is no live connection any more, or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveLoss {
    /// The server has none to offer, or something on the way does not let it through.
    Absent,
    /// The token was refused; an exchange finds out whether it must be renewed.
    Token,
    /// No connection, or it broke, fell silent or was closed.
    Broken {
        /// What the server asked for, in milliseconds.
        retry_after_ms: Option<u64>,
    },
}

/// What the driver tells about the live connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveInput {
    /// Exchanges with the server succeed, or do not; nothing is opened while they do not.
    InTouch(bool),
    /// The network or the server is given up; what is open is dropped.
    Severed,
    /// It stands.
    Opened,
    /// The server says how far its log reaches.
    Told(u64),
    /// It is gone.
    Lost(LiveLoss),
    /// The hour asked for by [`LiveEffect::WakeAt`] has come.
    Woken,
}

/// What the driver does for the live connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveEffect {
    /// Open it.
    Open,
    /// Drop it, or the attempt to open it.
    Drop,
    /// Give the engine [`Input::Poked`](super::Input::Poked).
    Poke,
    /// Say [`LiveInput::Woken`] at this time; replaces any earlier wish.
    WakeAt(UnixMillis),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Opening,
    Open { since: UnixMillis },
}

/// The live connection of one device.
#[derive(Clone, Debug)]
pub struct Live {
    state: State,
    is_in_touch: bool,
    failures: u32,
    waiting_until: Option<UnixMillis>,
    /// The pause is for a server that has no live connections: a network regained does not end it.
    is_absent: bool,
    /// Greatest position told since the server was connected.
    told: Option<u64>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            state: State::Closed,
            is_in_touch: false,
            failures: 0,
            waiting_until: None,
            is_absent: false,
            told: None,
        }
    }
}

/// No pause is longer; one that is was asked for before the clock was set back.
const PAUSE_MS_MAX: u64 = LIVE_ABSENT_PAUSE_MS + RETRY_AFTER_MAX_MS + BACKOFF_MAX_MS;

impl Live {
    /// Takes one input and says what to do. `entropy` is one fresh random number.
    pub fn step(&mut self, now: UnixMillis, input: LiveInput, entropy: u64) -> Vec<LiveEffect> {
        if self.waiting_until.is_some_and(|until| until > now.plus_ms(PAUSE_MS_MAX)) {
            self.waiting_until = None;
        }
        let mut effects = Vec::new();
        match input {
            LiveInput::InTouch(is_in_touch) => self.is_in_touch = is_in_touch,
            LiveInput::Severed => {
                if std::mem::replace(&mut self.state, State::Closed) != State::Closed {
                    effects.push(LiveEffect::Drop);
                }
                (self.is_in_touch, self.failures) = (false, 0);
                if !self.is_absent {
                    self.waiting_until = None;
                }
            }
            LiveInput::Opened => self.state = State::Open { since: now },
            LiveInput::Told(position) => {
                // After a loss the server repeats what was told before it; only news is worth a round trip.
                if self.told.replace(position) != Some(position) {
                    effects.push(LiveEffect::Poke);
                }
            }
            LiveInput::Lost(loss) => {
                if loss == LiveLoss::Token {
                    effects.push(LiveEffect::Poke);
                }
                self.lost(now, loss, entropy);
            }
            LiveInput::Woken => {}
        }
        effects.extend(self.next(now));
        effects
    }

    fn lost(&mut self, now: UnixMillis, loss: LiveLoss, entropy: u64) {
        if let State::Open { since } = self.state
            && now >= since.plus_ms(LIVE_STEADY_MS)
        {
            self.failures = 0;
        }
        self.state = State::Closed;
        let failures = self.failures.saturating_add(LIVE_FAILURES_FLOOR);
        self.failures = self.failures.saturating_add(1);
        self.is_absent = loss == LiveLoss::Absent;
        let retry_after_ms = match loss {
            LiveLoss::Absent => Some(LIVE_ABSENT_PAUSE_MS),
            LiveLoss::Token => None,
            LiveLoss::Broken { retry_after_ms } => retry_after_ms,
        };
        self.waiting_until = Some(now.plus_ms(full_jitter(failures, retry_after_ms, entropy)));
    }

    fn next(&mut self, now: UnixMillis) -> Option<LiveEffect> {
        if self.state != State::Closed || !self.is_in_touch {
            return None;
        }
        if let Some(until) = self.waiting_until.filter(|until| *until > now) {
            return Some(LiveEffect::WakeAt(until));
        }
        (self.state, self.waiting_until) = (State::Opening, None);
        Some(LiveEffect::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    const NOW: UnixMillis = UnixMillis(1_000_000);
    const BROKEN: LiveInput = LiveInput::Lost(LiveLoss::Broken { retry_after_ms: None });

    fn opened() -> Live {
        let mut live = Live::default();
        assert_eq!(live.step(NOW, LiveInput::InTouch(true), 0), [LiveEffect::Open]);
        assert_eq!(live.step(NOW, LiveInput::Opened, 0), []);
        live
    }

    #[test]
    fn nothing_is_opened_before_an_exchange_succeeded_and_nothing_twice() {
        let mut live = Live::default();
        assert_eq!(live.step(NOW, LiveInput::InTouch(false), 0), []);
        assert_eq!(live.step(NOW, LiveInput::InTouch(true), 0), [LiveEffect::Open]);
        assert_eq!(live.step(NOW, LiveInput::InTouch(true), 0), []);
    }

    #[test]
    fn failing_exchanges_leave_an_open_connection_alone() {
        let mut live = opened();
        assert_eq!(live.step(NOW, LiveInput::InTouch(false), 0), []);
        assert_eq!(live.step(NOW, LiveInput::Told(3), 0), [LiveEffect::Poke]);
    }

    #[test]
    fn a_position_told_again_after_a_loss_is_no_news() {
        let mut live = opened();
        assert_eq!(live.step(NOW, LiveInput::Told(3), 0), [LiveEffect::Poke]);
        let effects = live.step(NOW, BROKEN, 5);
        assert_eq!(effects, [LiveEffect::WakeAt(NOW.plus_ms(5))]);
        assert_eq!(live.step(NOW.plus_ms(5), LiveInput::Woken, 0), [LiveEffect::Open]);
        live.step(NOW, LiveInput::Opened, 0);
        assert_eq!(live.step(NOW, LiveInput::Told(3), 0), []);
        assert_eq!(live.step(NOW, LiveInput::Told(4), 0), [LiveEffect::Poke]);
    }

    #[test]
    fn a_refused_token_is_left_to_an_exchange() {
        let mut live = opened();
        let effects = live.step(NOW, LiveInput::Lost(LiveLoss::Token), 9);
        assert_eq!(effects, [LiveEffect::Poke, LiveEffect::WakeAt(NOW.plus_ms(9))]);
    }

    #[test]
    fn a_network_that_goes_takes_the_connection_along_and_its_return_ends_the_pause() {
        let mut live = opened();
        assert_eq!(live.step(NOW, LiveInput::Severed, 0), [LiveEffect::Drop]);
        assert_eq!(live.step(NOW, LiveInput::Severed, 0), []);
        assert_eq!(live.step(NOW, LiveInput::InTouch(true), 0), [LiveEffect::Open]);
        assert!(matches!(live.step(NOW, BROKEN, u64::MAX)[..], [LiveEffect::WakeAt(_)]));
        live.step(NOW, LiveInput::Severed, 0);
        assert_eq!(live.step(NOW, LiveInput::InTouch(true), 0), [LiveEffect::Open]);
    }

    #[test]
    fn a_server_without_live_connections_is_asked_hourly_however_often_the_network_comes_back() {
        let mut live = Live::default();
        live.step(NOW, LiveInput::InTouch(true), 0);
        let later = NOW.plus_ms(LIVE_ABSENT_PAUSE_MS);
        assert_eq!(live.step(NOW, LiveInput::Lost(LiveLoss::Absent), 0), [LiveEffect::WakeAt(later)]);
        for _ in 0..100 {
            live.step(NOW, LiveInput::Severed, 0);
            assert_eq!(live.step(NOW, LiveInput::InTouch(true), 0), [LiveEffect::WakeAt(later)]);
        }
        assert_eq!(live.step(later, LiveInput::Woken, 0), [LiveEffect::Open]);
    }

    #[test]
    fn a_connection_that_lasted_makes_its_loss_the_first_one() {
        let mut live = opened();
        for _ in 0..8 {
            live.step(NOW, BROKEN, 0);
            live.step(NOW, LiveInput::Opened, 0);
        }
        assert_eq!(live.failures, 8);
        live.step(NOW.plus_ms(LIVE_STEADY_MS), BROKEN, 0);
        assert_eq!(live.failures, 1);
    }

    quickcheck! {
        /// However a server treats it, a device asks for no second connection before the pause it drew is over.
        fn a_server_that_drops_every_connection_is_asked_ever_more_rarely(entropies: Vec<u64>) -> bool {
            let (mut live, mut now) = (opened(), NOW);
            entropies.iter().enumerate().all(|(losses, entropy)| {
                let effects = live.step(now, BROKEN, *entropy);
                let ceiling = full_jitter(losses as u32 + LIVE_FAILURES_FLOOR, None, *entropy);
                let pause = now.plus_ms(ceiling);
                let is_as_drawn = if ceiling == 0 {
                    effects == [LiveEffect::Open]
                } else {
                    effects == [LiveEffect::WakeAt(pause)]
                        && live.step(pause, LiveInput::Woken, 0) == [LiveEffect::Open]
                };
                now = pause;
                live.step(now, LiveInput::Opened, 0);
                is_as_drawn
            })
        }
    }
}
