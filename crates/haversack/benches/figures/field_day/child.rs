//! A process that is measured: it says a line of JSON and is answered by a word.

use std::io::{self, BufRead, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

use super::{Contender, Setup, by_hand, ours, phases};
use crate::world::Outcome;

/// Runs a server or a client of a contender, as the command line says.
pub(crate) fn run(contender: &str, role: &str, setup: &str) -> Outcome<()> {
    let setup: Setup = serde_json::from_str(setup)?;
    match (contender, role) {
        ("haversack", "server") => ours::serve(&setup),
        ("by-hand", "server") => by_hand::serve(&setup),
        ("haversack", "client") => client::<ours::Phone>(&setup),
        ("by-hand", "client") => client::<by_hand::Phone>(&setup),
        _ => Err(format!("no {role} of {contender}").into()),
    }
}

fn client<C: Contender>(setup: &Setup) -> Outcome<()> {
    let told = phases::run::<C>(setup);
    if let Err(error) = &told {
        say(&json!({ "ev": "error", "error": error.to_string() }))?;
    }
    told
}

/// Says a line.
pub(super) fn say(line: &Json) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Says that a phase is done, and when it began and ended.
pub(super) fn say_done(begun: f64) -> io::Result<()> {
    let ended = now_ms();
    say(&json!({ "ev": "done", "t0": begun, "t1": ended, "wall_ms": ended - begun }))
}

/// Waits for a word.
pub(super) fn await_word(word: &str) -> Outcome<()> {
    for line in io::stdin().lock().lines() {
        if line?.trim() == word {
            return Ok(());
        }
    }
    Err("whoever measures is gone".into())
}

/// Wall clock, since two processes compare it.
pub(super) fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1e3)
}
