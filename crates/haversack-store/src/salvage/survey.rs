//! A survey: what can be told of a store to somebody who must not learn what it holds. Numbers, codes of our own, settings
//! of the cipher; never a value, an id, or a text that somebody wrote, but for the names of rules, which are kept apart.

use std::collections::BTreeMap;

use haversack_protocol::{Code, UnixMillis};

use super::damaged_copy::DamagedCopy;
use super::read::FoundEntry;
use crate::table::survey::{NUMBERS, SETTINGS, lines, number, refusals};

/// Numbers and settings of a store. What could not be read is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Counts and sizes by name.
    pub numbers: BTreeMap<&'static str, u64>,
    /// Settings of SQLite and the cipher, as the library tells them.
    pub settings: BTreeMap<&'static str, Vec<String>>,
    /// Codes of refusals, and the last word on attempts, each with how many entries of the outbox have it.
    pub codes: BTreeMap<&'static str, u64>,
    /// Names of rules that refused entries, as the organisation calls them, with how many.
    pub rules: BTreeMap<String, u64>,
    /// When the oldest entry of the outbox was written, by the device's clock.
    pub oldest_entry_at: Option<UnixMillis>,
    /// Parts of the survey that damage kept from being read.
    pub unreadable: u64,
}

/// Words the driver notes where there is no code.
const TRANSPORT_WORDS: [&str; 7] =
    ["address", "tls", "unreachable", "answer", "token", "other-principal", "not-stored"];

/// Surveys a copy. Each question is asked by itself, so that damage hides no other answer.
pub(super) fn survey(copy: &mut DamagedCopy, found: &[FoundEntry]) -> Survey {
    let mut survey = Survey::default();
    for (name, sql) in NUMBERS {
        match copy.ask(|connection| number(connection, sql)) {
            Ok(number) => drop(survey.numbers.insert(name, number)),
            Err(_) => survey.unreadable += 1,
        }
    }
    for (name, sql) in SETTINGS {
        match copy.ask(|connection| lines(connection, sql)) {
            Ok(lines) => drop(survey.settings.insert(name, lines)),
            Err(_) => survey.unreadable += 1,
        }
    }
    match copy.ask(refusals) {
        Ok(refusals) => refusals.into_iter().for_each(|refused| {
            if let Some(rejection) = refused.rejection {
                *survey.codes.entry(rejection.code.as_str()).or_default() += 1;
                *survey.rules.entry(rejection.rule.unwrap_or_default()).or_default() += 1;
            }
            if let Some(word) = refused.last_error {
                *survey.codes.entry(known(&word)).or_default() += 1;
            }
        }),
        Err(_) => survey.unreadable += 1,
    }
    survey.rules.remove("");
    survey.oldest_entry_at = found.iter().map(|found| found.entry.change_set.at).min();
    survey
}

/// The word itself where it is one of ours: nothing is passed on because it stood where a word of ours should stand.
fn known(word: &str) -> &'static str {
    let codes = Code::ALL.iter().map(|code| code.as_str());
    codes.chain(TRANSPORT_WORDS).find(|known| *known == word).unwrap_or("other")
}
