//! Documents, held against the code: named tests exist, tables are copies, links lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use haversack_protocol::Code;

use crate::tree::{files, read, root, texts};

/// Pieces of a text between backticks, line by line.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Rows of the table under a heading line, as trimmed cells.
fn table<'a>(text: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let rows = text.lines().skip_while(|line| *line != head).skip(2).take_while(|line| line.starts_with('|'));
    let cells = |line: &'a str| line.trim_matches('|').split(" | ").map(str::trim).collect();
    rows.map(cells).collect()
}

fn is_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let place = lines.iter().position(|line| line.contains(&format!("fn {name}(")));
    place.is_some_and(|place| {
        let attributes = lines[..place].iter().rev().take_while(|line| line.starts_with("#["));
        attributes.clone().any(|line| line.contains("test")) || text.contains("quickcheck! {")
    })
}

#[test]
fn every_test_that_a_guarantee_names_exists() {
    let sources = texts("rs");
    let guarantees = read("docs/GUARANTEES.md");
    let named: BTreeSet<(&str, &str)> =
        quoted(&guarantees).filter_map(|piece| piece.split_once(".rs::")).collect();
    assert!(named.len() > 80, "{} tests are named", named.len());
    for (file, name) in named {
        let text = sources.get(&format!("{file}.rs"));
        assert!(text.is_some_and(|text| is_test(text, name)), "{file}.rs::{name} is no test");
    }
}

#[test]
fn every_sentence_of_a_test_that_a_document_quotes_is_one() {
    let sources = texts("rs");
    let documents = texts("md");
    let is_sentence = |piece: &&str| {
        let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        piece.chars().all(is_plain) && piece.matches('_').count() >= 4
    };
    let pieces: BTreeSet<(&str, &str)> = documents
        .iter()
        .flat_map(|(path, text)| quoted(text).filter(is_sentence).map(move |piece| (path.as_str(), piece)))
        .collect();
    assert!(pieces.len() > 5, "{} sentences are quoted", pieces.len());
    for (path, name) in pieces {
        let exists = sources.values().any(|text| text.contains(&format!("fn {name}(")));
        assert!(exists, "{path} names `{name}`, which is no test");
    }
}

#[test]
fn the_codes_of_the_protocol_document_are_the_codes_of_the_protocol() {
    let protocol = read("docs/PROTOCOL.md");
    let written = table(&protocol, "| code | class | action | meaning |");
    let codes: Vec<[String; 4]> = Code::ALL
        .iter()
        .map(|code| {
            let (class, action) = (format!("{:?}", code.class()), format!("{:?}", code.action()));
            [format!("`{code}`"), class, action, code.meaning().to_owned()]
        })
        .collect();
    assert_eq!(written, codes);
}

#[test]
fn the_limits_of_the_protocol_document_are_the_limits_of_the_protocol() {
    let (protocol, source) = (read("docs/PROTOCOL.md"), read("crates/haversack-protocol/src/limits.rs"));
    let lines: Vec<&str> = source.lines().collect();
    let stated = lines.iter().enumerate().filter_map(|(index, line)| {
        let (name, rest) = line.strip_prefix("pub const ")?.split_once(": ")?;
        Some((index, name, rest.split_once(" = ")?.1.trim_end_matches(';')))
    });
    let expressions: BTreeMap<&str, &str> =
        stated.clone().map(|(_, name, expression)| (name, expression)).collect();
    let limits: Vec<[String; 3]> = stated
        .map(|(index, name, expression)| {
            let why = lines[index - 1].trim_start_matches("/// ").replace(['[', ']'], "");
            [format!("`{name}`"), grouped(evaluate(expression, &expressions)), why]
        })
        .collect();
    assert!(limits.len() > 30, "{} limits are read", limits.len());
    assert_eq!(table(&protocol, "| limit | value | why |"), limits);
}

/// The value of a constant: products and shifts of numbers and of other constants.
fn evaluate(expression: &str, expressions: &BTreeMap<&str, &str>) -> u64 {
    let term = |text: &str| {
        let text = text.split(" as ").next().unwrap_or_default().trim();
        match expressions.get(text) {
            Some(expression) => evaluate(expression, expressions),
            None => text.replace('_', "").parse().unwrap_or_else(|_| panic!("{text} is a number")),
        }
    };
    match expression.split_once("<<") {
        Some((number, shift)) => term(number) << term(shift),
        None => expression.split('*').map(term).product(),
    }
}

/// Digits in groups of three.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let lead = digits.len() % 3;
    let groups = digits.as_bytes()[lead..].chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let first = Some(digits[..lead].to_owned()).filter(|group| !group.is_empty());
    first.into_iter().chain(groups).collect::<Vec<_>>().join(" ")
}

/// Targets of the links of a document, code blocks left out.
fn links(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|prose| prose.split("](").skip(1).filter_map(|rest| rest.split(')').next())).collect()
}

/// A path from the root with its `..` resolved.
fn resolved(from: &str, target: &str) -> PathBuf {
    let folder = Path::new(from).parent().expect("a document lies in a folder");
    folder.join(target).components().fold(PathBuf::new(), |mut path, component| {
        match component {
            Component::ParentDir => drop(path.pop()),
            component => path.push(component),
        }
        path
    })
}

#[test]
fn every_relative_link_of_a_document_leads_to_a_file_of_the_project() {
    let files = files();
    for (document, text) in texts("md") {
        for link in
            links(&text).into_iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:"))
        {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() {
                continue;
            }
            let path = resolved(&document, target).display().to_string();
            let is_there = files.iter().any(|file| *file == path || file.starts_with(&format!("{path}/")));
            assert!(is_there, "{document} links to {link}");
        }
    }
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let folders = ["work", "root", "home", "Users"].map(|folder| format!("/{folder}/"));
    for path in files() {
        let Ok(text) = String::from_utf8(std::fs::read(root().join(&path)).expect("readable")) else {
            continue;
        };
        for (index, line) in text.lines().enumerate() {
            let is_absolute = |folder: &String| {
                line.match_indices(folder.as_str()).any(|(at, _)| {
                    !line[..at].ends_with(|before: char| before.is_alphanumeric() || ".-_}".contains(before))
                })
            };
            assert!(!folders.iter().any(is_absolute), "{path}:{}: an absolute path", index + 1);
        }
    }
}

#[test]
fn the_commands_of_the_readme_are_the_ones_that_every_change_must_pass() {
    let (readme, checks) = (read("README.md"), read(".ci/run"));
    let has_line = |text: &str, command: &str| {
        text.lines().any(|line| line.split(" #").next().unwrap_or_default().trim() == command)
    };
    for command in ["cargo demo", "cargo test --workspace"] {
        assert!(has_line(&readme, command), "README.md has no line `{command}`");
    }
    assert!(has_line(&checks, "cargo test --workspace"), ".ci/run has no line `cargo test --workspace`");
    let configuration = read(".cargo/config.toml");
    let demo = configuration.lines().find_map(|line| line.strip_prefix("demo = \"run ")?.strip_suffix('"'));
    let demo = demo.expect("the alias of `cargo demo` runs");
    let is_played = checks.lines().any(|line| {
        line.strip_prefix("cargo run --quiet ").is_some_and(|rest| rest.starts_with(demo))
            || line == "cargo demo"
    });
    assert!(is_played, ".ci/run does not run what `cargo demo` runs: {demo}");
}
