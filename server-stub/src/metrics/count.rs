//! Counters that many threads raise.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A number that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters by a label. Labels come from the code alone, so their number is bounded.
pub(crate) struct Family<K>(Mutex<BTreeMap<K, u64>>);

impl<K> Default for Family<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Copy> Family<K> {
    pub(crate) fn count(&self, label: K) {
        *lock(&self.0).entry(label).or_default() += 1;
    }

    pub(crate) fn read(&self) -> BTreeMap<K, u64> {
        lock(&self.0).clone()
    }
}

/// How often values fell below each of some bounds.
pub(crate) struct Histogram {
    bounds: &'static [f64],
    seen: Mutex<Seen>,
}

/// What a histogram has seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// Values up to each bound, bounds included.
    pub(crate) up_to: Vec<u64>,
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, seen: Mutex::new(Seen { up_to: vec![0; bounds.len()], ..Seen::default() }) }
    }

    pub(crate) fn observe(&self, value: f64) {
        let mut seen = lock(&self.seen);
        for (bound, count) in self.bounds.iter().zip(&mut seen.up_to) {
            *count += u64::from(value <= *bound);
        }
        seen.count += 1;
        seen.sum += value;
    }

    pub(crate) fn read(&self) -> (&'static [f64], Seen) {
        (self.bounds, lock(&self.seen).clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_a_value_under_every_bound_that_holds_it() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        [0.5, 1.0, 1.5, 9.0].into_iter().for_each(|value| histogram.observe(value));
        assert_eq!(histogram.read().1, Seen { up_to: vec![2, 3], count: 4, sum: 12.0 });
    }
}
