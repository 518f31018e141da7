//! How long to wait after a failure.

use haversack_protocol::limits::{BACKOFF_BASE_MS, BACKOFF_MAX_MS, RETRY_AFTER_MAX_MS};

/// Full jitter: a pause drawn evenly from zero to the doubled base, so that a fleet does not return at once.
/// A `Retry-After` is a floor, never shortened, believed up to an hour.
pub fn full_jitter(failures: u32, retry_after_ms: Option<u64>, entropy: u64) -> u64 {
    let ceiling = BACKOFF_BASE_MS.saturating_mul(1 << failures.min(20)).min(BACKOFF_MAX_MS);
    let drawn = entropy % (ceiling + 1);
    match retry_after_ms {
        Some(asked) => asked.min(RETRY_AFTER_MAX_MS).saturating_add(drawn.min(BACKOFF_BASE_MS)),
        None => drawn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn a_pause_stays_within_its_bounds(failures: u32, entropy: u64) -> bool {
            full_jitter(failures, None, entropy) <= BACKOFF_MAX_MS
        }

        fn retry_after_is_never_shortened(failures: u32, asked: u32, entropy: u64) -> bool {
            let asked = u64::from(asked).min(RETRY_AFTER_MAX_MS);
            let pause = full_jitter(failures, Some(asked), entropy);
            pause >= asked && pause <= asked + BACKOFF_BASE_MS
        }
    }
}
