//! Whole worlds played from their seeds: nothing is lost, nothing counts twice, and all hold the same in the end.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use haversack_tests::{Outcome, SIGHTS, simulate};

const SEEDS: u64 = 40;
const STEPS: usize = 300;
const THREADS: usize = 2;

fn all_seeds() -> Vec<Outcome> {
    let (next, outcomes) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS {
                        return;
                    }
                    let outcome = simulate(seed, STEPS);
                    outcomes.lock().expect("no thread panics").push(outcome);
                }
            });
        }
    });
    outcomes.into_inner().expect("no thread panics")
}

#[test]
fn whatever_happens_nothing_is_lost_nothing_counts_twice_and_all_hold_the_same_in_the_end() {
    let outcomes = all_seeds();
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for outcome in &outcomes {
        if let Some(failure) = &outcome.failure {
            panic!(
                "seed {} fails at step {}: {}: {}\n{}\nPlay it again: cargo simulate --seeds {}..{} --steps {STEPS} --minimise",
                outcome.seed,
                failure.step,
                failure.claim,
                failure.found,
                failure.trace.join("\n"),
                outcome.seed,
                outcome.seed + 1
            );
        }
        for (sight, times) in &outcome.seen {
            *seen.entry(sight).or_default() += times;
        }
    }
    let unseen: Vec<_> = SIGHTS.iter().filter(|sight| !seen.contains_key(*sight)).collect();
    assert!(unseen.is_empty(), "no seed brought about: {unseen:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 4] {
        assert_eq!(simulate(seed, STEPS).hash, simulate(seed, STEPS).hash, "seed {seed}");
    }
    assert_ne!(simulate(3, 20).hash, simulate(4, 20).hash);
}
