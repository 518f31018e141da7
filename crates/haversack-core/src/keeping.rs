//! How long a device keeps what is settled.

use haversack_protocol::UnixMillis;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Says whether a record that was edited last at this moment has been kept for longer than so many days.
pub fn is_past_keeping(keep_days: u32, changed_at: UnixMillis, now: UnixMillis) -> bool {
    now.0.saturating_sub(changed_at.0) > i64::from(keep_days) * DAY_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_kept_to_the_end_of_its_last_day_and_whatever_clocks_say() {
        let edited = UnixMillis(5);
        let at = |ms| is_past_keeping(30, edited, UnixMillis(ms));
        assert!(!at(5 + 30 * DAY_MS) && at(6 + 30 * DAY_MS));
        assert!(!at(-1) && !at(i64::MIN));
        assert!(is_past_keeping(u32::MAX, UnixMillis(i64::MIN), UnixMillis(i64::MAX)));
    }
}
