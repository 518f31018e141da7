//! `cargo simulate`: whole worlds played from their seeds, for as long as one likes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use haversack_tests::{Failure, Outcome, SIGHTS, simulate, simulate_shortest};
use serde_json::{Value as Json, json};

const HELP: &str = "\
Plays whole worlds, each from one seed: four phones with real encrypted stores, the real sync engine and the real server
in one thread, over a network and clocks that obey chance. After every step, and again once faults stop and everybody has
synced, it is checked that nothing is lost, nothing counts twice and all hold the same.

Usage: cargo simulate [options]

  --seeds A..B     Seeds to play, A included and B not      [default: 0..100]
  --steps N        Steps of each world                      [default: 300]
  --minimise       On a failure, leave out steps while the same claim still fails
  --json           One JSON object on standard output instead of sentences
  --help           This text

Examples:
  cargo simulate                                    a hundred worlds, a minute or two
  cargo simulate --seeds 100..10000                 a night's worth
  cargo simulate --seeds 17..18 --steps 300 --minimise
                                                    one seed again, and the shortest way to its failure

A seed stands for the same world every time: faults, people, edits and their order all follow from it and from the number
of steps. Which faults a world has is drawn, too, so that no fault drowns the others.

Exit status: 0 when every claim held, 1 when one did not, 2 when the command was not understood.
Progress goes to standard error.
";

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

struct Options {
    seeds: Range<u64>,
    steps: usize,
    is_minimised: bool,
    is_json: bool,
}

enum Request {
    Help,
    Play(Options),
}

fn main() -> ExitCode {
    match request(std::env::args().skip(1)) {
        Ok(Request::Help) => ended(io::stdout().write_all(HELP.as_bytes()), ExitCode::SUCCESS),
        Ok(Request::Play(options)) => {
            let outcomes = play(&options);
            let has_failed = outcomes.iter().any(|outcome| outcome.failure.is_some());
            let told = if options.is_json { tell_json(&outcomes) } else { tell(&outcomes) };
            ended(told, if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Err(reason) => ended(writeln!(io::stderr(), "{reason}\nTry --help."), ExitCode::from(2)),
    }
}

fn ended(written: io::Result<()>, code: ExitCode) -> ExitCode {
    written.map_or(ExitCode::FAILURE, |()| code)
}

/// Reads the command line; the error is a sentence for the one who typed it.
fn request(mut arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut options = Options { seeds: 0..100, steps: 300, is_minimised: false, is_json: false };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(Request::Help),
            "--seeds" => options.seeds = seeds(&value()?)?,
            "--steps" => {
                let text = value()?;
                options.steps = text.parse().map_err(|_| format!("{text:?} is no number of steps"))?;
            }
            "--minimise" => options.is_minimised = true,
            "--json" => options.is_json = true,
            other => return Err(format!("{other:?} is not known here")),
        }
    }
    Ok(Request::Play(options))
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let bounds = text.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    match bounds {
        Some((from, to)) if from < to => Ok(from..to),
        _ => Err(format!("{text:?} are no seeds; say 0..100")),
    }
}

/// Plays all seeds, on as many threads as there are processors; stops taking new ones after a failure.
fn play(options: &Options) -> Vec<Outcome> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, has_failed) = (AtomicU64::new(options.seeds.start), AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, has_failed) = (sender.clone(), &next, &has_failed);
            scope.spawn(move || {
                while !has_failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= options.seeds.end {
                        return;
                    }
                    let play = if options.is_minimised { simulate_shortest } else { simulate };
                    let outcome = play(seed, options.steps);
                    has_failed.fetch_or(outcome.failure.is_some(), Ordering::Relaxed);
                    // The one who listens ends last.
                    let _ = sender.send(outcome);
                }
            });
        }
        drop(sender);
        let mut told_at = Instant::now();
        for outcome in receiver {
            let mut outcomes = outcomes.lock().expect("nobody panics with it");
            outcomes.push(outcome);
            if told_at.elapsed() > PROGRESS_EVERY {
                told_at = Instant::now();
                // Progress that nobody reads is not missed.
                let _ = writeln!(
                    io::stderr(),
                    "{} of {} seeds",
                    outcomes.len(),
                    options.seeds.end - options.seeds.start
                );
            }
        }
    });
    let mut outcomes = outcomes.into_inner().expect("nobody panics with it");
    outcomes.sort_by_key(|outcome| outcome.seed);
    outcomes
}

fn seen(outcomes: &[Outcome]) -> BTreeMap<&'static str, u64> {
    let mut seen: BTreeMap<_, _> = SIGHTS.iter().map(|sight| (*sight, 0)).collect();
    for (sight, times) in outcomes.iter().flat_map(|outcome| &outcome.seen) {
        *seen.entry(sight).or_default() += times;
    }
    seen
}

fn tell(outcomes: &[Outcome]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for outcome in outcomes {
        if let Some(failure) = &outcome.failure {
            tell_failure(&mut out, outcome, failure)?;
        }
    }
    for (sight, times) in seen(outcomes) {
        writeln!(out, "{times:>9}  {sight}")?;
    }
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    writeln!(out, "{} seeds played, {failed} failed", outcomes.len())
}

fn tell_failure(out: &mut impl Write, outcome: &Outcome, failure: &Failure) -> io::Result<()> {
    let Outcome { seed, steps, .. } = outcome;
    writeln!(out, "seed {seed}, step {}: this does not hold: {}", failure.step, failure.claim)?;
    writeln!(out, "found: {}", failure.found)?;
    for line in &failure.trace {
        writeln!(out, "  {line}")?;
    }
    if let Some(kept) = &failure.kept {
        writeln!(out, "these {} of {steps} steps bring it about: {kept:?}", kept.len())?;
    }
    writeln!(out, "again: cargo simulate --seeds {seed}..{} --steps {steps} --minimise\n", seed + 1)
}

fn tell_json(outcomes: &[Outcome]) -> io::Result<()> {
    let failures: Vec<Json> = outcomes
        .iter()
        .filter_map(|outcome| {
            let failure = outcome.failure.as_ref()?;
            Some(json!({
                "seed": outcome.seed, "steps": outcome.steps, "step": failure.step, "claim": failure.claim,
                "found": failure.found, "trace": failure.trace, "kept": failure.kept,
            }))
        })
        .collect();
    let hashes: BTreeMap<String, &str> =
        outcomes.iter().map(|outcome| (outcome.seed.to_string(), outcome.hash.as_str())).collect();
    let summary =
        json!({ "seeds": outcomes.len(), "failures": failures, "seen": seen(outcomes), "hashes": hashes });
    writeln!(io::stdout(), "{summary}")
}
