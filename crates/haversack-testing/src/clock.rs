//! A clock that a test moves.

use std::time::Duration;

use haversack::{Clock, ClockFuture, SystemClock, UnixMillis};
use tokio::sync::watch;

/// The clock of one device: it runs as the machine's does, and is moved by the test. What waits for a time that it is moved
/// past comes about at once.
#[derive(Debug)]
pub struct TestClock {
    ahead_ms: watch::Sender<i64>,
}

impl Default for TestClock {
    fn default() -> Self {
        Self { ahead_ms: watch::Sender::new(0) }
    }
}

impl TestClock {
    /// Lets time pass on this device, in whole milliseconds. The server's clock stays: to it, what the device did before
    /// was done that much earlier.
    pub fn advance(&self, by: Duration) {
        self.move_by(milliseconds(by));
    }

    /// Sets the clock back, as a person may, in whole milliseconds.
    pub fn set_back(&self, by: Duration) {
        self.move_by(-milliseconds(by));
    }

    fn move_by(&self, ms: i64) {
        self.ahead_ms.send_modify(|ahead| *ahead = ahead.saturating_add(ms));
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(SystemClock.now().0.saturating_add(*self.ahead_ms.borrow()))
    }

    fn until(&self, at: UnixMillis) -> ClockFuture<'_> {
        let mut moves = self.ahead_ms.subscribe();
        Box::pin(async move {
            while self.now() < at {
                let left = at.0.saturating_sub(self.now().0);
                let passed = SystemClock.until(UnixMillis(SystemClock.now().0.saturating_add(left)));
                tokio::select! {
                    () = passed => {}
                    // The sender lives as long as the clock.
                    _ = moves.changed() => {}
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// Says whether a wait is over at this moment.
    async fn is_over(wait: &mut ClockFuture<'_>) -> bool {
        tokio::select! {
            biased;
            () = wait => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn a_wait_ends_when_the_clock_is_moved_past_its_time_and_not_before() {
        let clock = TestClock::default();
        let at = clock.now().plus_ms(2 * 24 * 3600 * 1000);
        let mut wait = clock.until(at);
        clock.advance(DAY);
        assert!(!is_over(&mut wait).await, "a day is missing");
        clock.advance(DAY);
        assert!(is_over(&mut wait).await);
        assert!(clock.now() >= at);
        clock.set_back(DAY);
        assert!(clock.now() < at);
    }
}
