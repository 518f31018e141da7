//! Budgets and rooms: how long a file may be, where unsafe code and SQL stand, what lies at the top.

use std::collections::BTreeSet;

use crate::tree::{allowed, files, names, texts};

/// Lines of a source file.
const LINES_MAX: usize = 800;
/// Lines of a `lib.rs`: it is a table of contents.
const CONTENTS_LINES_MAX: usize = 150;

/// Lines with their numbers, comments left out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.split(|letter| !is_part(letter)).any(|found| found == word)
}

#[test]
fn no_source_file_outgrows_its_budget() {
    for (path, text) in texts("rs") {
        let lines_max = if path.ends_with("/lib.rs") { CONTENTS_LINES_MAX } else { LINES_MAX };
        let lines = text.lines().count();
        assert!(lines <= lines_max, "{path} has {lines} lines, allowed are {lines_max}");
    }
}

#[test]
fn unsafe_code_stands_in_one_file() {
    let keyword = concat!("un", "safe");
    let found: BTreeSet<String> = texts("rs")
        .into_iter()
        .filter(|(_, text)| code(text).any(|(_, line)| has_word(line, keyword)))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(found, names(&allowed()["unsafe_code"]));
}

#[test]
fn sql_stands_only_in_its_rooms() {
    let rooms = names(&allowed()["sql"]);
    let words =
        ["SELECT", "INSERT", "UPDATE", "DELETE FROM", "CREATE", "PRAGMA", "SAVEPOINT", "DROP", "ALTER"];
    let begins = words.map(|word| format!("\"{word} "));
    let is_test =
        |path: &str| path.contains("/tests/") || path.starts_with("tests/") || path.ends_with("/tests.rs");
    for (path, text) in texts("rs").iter().filter(|(path, _)| !is_test(path)) {
        if rooms.iter().any(|room| path.starts_with(room)) {
            continue;
        }
        let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (number, line) in code(shipped) {
            let is_sql = begins.iter().any(|begin| line.contains(begin));
            assert!(!is_sql, "SQL outside its rooms: {path}:{number}");
        }
    }
}

#[test]
fn nothing_is_left_for_later_and_no_test_is_passed_over() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let calls = [concat!("unimple", "mented!"), concat!("to", "do!"), concat!("#[ig", "nore")];
    for (path, text) in ["rs", "sql"].into_iter().flat_map(texts) {
        for (index, line) in text.lines().enumerate() {
            let is_left =
                marks.iter().any(|mark| has_word(line, mark)) || calls.iter().any(|call| line.contains(call));
            assert!(!is_left, "{path}:{}: {}", index + 1, line.trim());
        }
    }
}

#[test]
fn the_top_level_holds_only_what_belongs_there() {
    let found: BTreeSet<String> =
        files().iter().filter_map(|path| path.split('/').next().map(str::to_owned)).collect();
    let allowed = names(&allowed()["top_level"]);
    let surplus: Vec<_> = found.difference(&allowed).collect();
    assert!(surplus.is_empty(), "{surplus:?} at the top level");
}
