//! One run from its seed to its outcome, and the shortest way to a failure.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::ledger::Breach;
use super::record::Record;
use super::script::Script;
use super::world::Simulated;

/// What came of one seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Steps it was asked for.
    pub steps: usize,
    /// Hash of the trace: the same again for the same seed and steps.
    pub hash: String,
    /// Rare things and how often they were seen.
    pub seen: BTreeMap<&'static str, u64>,
    /// What did not hold.
    pub failure: Option<Failure>,
}

/// A claim that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The step after which it did not; all of them when it was at rest.
    pub step: usize,
    /// What must hold.
    pub claim: String,
    /// What was found.
    pub found: String,
    /// The last lines of the trace.
    pub trace: Vec<String>,
    /// Numbers of the steps that bring it about, where they were looked for.
    pub kept: Option<Vec<usize>>,
}

/// Plays a seed for so many steps.
pub fn simulate(seed: u64, steps: usize) -> Outcome {
    play(&Script::draw(seed, steps), &(0..steps).collect::<Vec<_>>())
}

/// Plays a seed; where it fails, leaves out steps as long as the same claim still fails.
pub fn simulate_shortest(seed: u64, steps: usize) -> Outcome {
    let script = Script::draw(seed, steps);
    let mut kept: Vec<_> = (0..steps).collect();
    let mut outcome = play(&script, &kept);
    let Some(claim) = outcome.failure.as_ref().map(|failure| failure.claim.clone()) else { return outcome };
    // What comes after the failing step is not needed, but for coming to rest.
    let mut chunk = kept.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < kept.len() {
            let end = (at + chunk).min(kept.len());
            let fewer: Vec<_> = kept[..at].iter().chain(&kept[end..]).copied().collect();
            let tried = play(&script, &fewer);
            if tried.failure.as_ref().is_some_and(|failure| failure.claim == claim) {
                (kept, outcome) = (fewer, tried);
            } else {
                at = end;
            }
        }
        if chunk == 1 {
            break;
        }
        chunk = chunk.div_ceil(2);
    }
    if let Some(failure) = &mut outcome.failure {
        failure.kept = Some(kept);
    }
    outcome
}

fn play(script: &Script, kept: &[usize]) -> Outcome {
    let steps = script.steps.len();
    let (seed, only) = (script.seed, script.only(kept));
    let mut step = 0;
    let begun = catch_unwind(AssertUnwindSafe(|| Simulated::begin(&only)));
    let (record, breach) = match begun {
        Ok(Ok(mut simulated)) => {
            let played = catch_unwind(AssertUnwindSafe(|| through(&mut simulated, &only, kept, &mut step)));
            let played = played.unwrap_or_else(|_| Err(panicked()));
            (simulated.network.record, played.err())
        }
        Ok(Err(breach)) => (Record::begin(), Some(breach)),
        Err(_) => (Record::begin(), Some(panicked())),
    };
    let failure = breach.map(|breach| Failure {
        step,
        claim: breach.claim.to_owned(),
        found: breach.found,
        trace: record.lines(),
        kept: None,
    });
    Outcome { seed, steps, hash: record.hash(), seen: record.seen(), failure }
}

fn through(simulated: &mut Simulated, script: &Script, kept: &[usize], at: &mut usize) -> Result<(), Breach> {
    for (number, step) in kept.iter().zip(&script.steps) {
        *at = *number;
        simulated.perform(*number, *step)?;
    }
    simulated.come_to_rest(script.seed)?;
    simulated.prove(script.seed)
}

fn panicked() -> Breach {
    Breach::of("nothing panics", "it is told above")
}
