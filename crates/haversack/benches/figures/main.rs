//! The figures of `docs/PERFORMANCE.md`: what edits, sync, reading and admission cost on this machine.
//!
//! Nothing here is a test: times depend on the machine. What is compared is measured in turns in one run.
//!
//! ```sh
//! cargo bench-all                                           # everything, and the page's tables and drawings anew
//! cargo bench -p haversack --bench figures                  # the figures of the parts, as a table
//! cargo bench -p haversack --bench figures -- --json        # one JSON object
//! cargo bench -p haversack --bench figures -- edit sync     # some of edit, outbox, chain, sync, read, admission,
//!                                                           # server, size, field-day
//! cargo bench -p haversack --bench figures -- --records 1000
//! cargo bench -p haversack --bench figures -- --only-edits 200   # edits and nothing else, to count system calls
//! cargo bench -p haversack --bench figures -- draw          # tables and drawings anew from what was kept
//! ```

mod admission;
mod chain;
mod edit;
mod field_day;
mod forwarder;
mod layout;
mod measure;
mod outbox;
mod pages;
mod plot;
mod raw;
mod read;
mod report;
mod server;
mod size;
mod sync;
mod workload;
mod world;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use pages::{Pages, Phase, ServerCost};
use report::Report;
use workload::Workload;
use world::Outcome;

const RECORDS: usize = 10_000;
const FEW_RECORDS: usize = 100;
const SERVER_RECORDS: usize = 1_000_000;
/// Sizes of a field day, and how often each is repeated.
const FIELD_DAYS: [(usize, usize); 3] = [(1_000, 3), (10_000, 3), (100_000, 1)];
const CONTENDERS: [&str; 2] = ["by-hand", "haversack"];
/// What is measured when nothing is named: the parts.
const PARTS: [&str; 6] = ["edit", "outbox", "chain", "sync", "read", "admission"];

/// What the command line asks for.
#[derive(Default)]
struct Asked {
    is_json: bool,
    records: Option<usize>,
    only_edits: Option<usize>,
    sections: Vec<String>,
}

impl Asked {
    fn read(mut arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut asked = Self::default();
        while let Some(argument) = arguments.next() {
            let mut number =
                || -> Outcome<usize> { Ok(arguments.next().ok_or("a number is missing")?.parse()?) };
            match argument.as_str() {
                // Cargo says so itself.
                "--bench" => {}
                "--json" => asked.is_json = true,
                "--records" => asked.records = Some(number()?),
                "--only-edits" => asked.only_edits = Some(number()?),
                "edit" | "outbox" | "chain" | "sync" | "read" | "admission" | "server" | "size"
                | "field-day" | "draw" | "all" => {
                    asked.sections.push(argument);
                }
                _ => return Err(format!("unknown argument {argument}").into()),
            }
        }
        Ok(asked)
    }

    fn wants(&self, section: &str) -> bool {
        let is_named = self.sections.iter().any(|one| one == section || one == "all");
        is_named || self.sections.is_empty() && PARTS.contains(&section)
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, contender, role, setup] = &arguments[..]
        && first == "field-day-child"
    {
        return field_day::run_child(contender, role, setup);
    }
    let asked = Asked::read(arguments.into_iter())?;
    if let Some(count) = asked.only_edits {
        return edit::only_edits(count);
    }
    let mut report = Report::default();
    let records = asked.records.unwrap_or(RECORDS);
    if asked.wants("edit") {
        edit::measure(&mut report)?;
    }
    if asked.wants("outbox") {
        outbox::measure(&mut report)?;
    }
    if asked.wants("chain") {
        chain::measure(&mut report, records)?;
    }
    if asked.wants("sync") {
        sync::measure(&mut report, records, FEW_RECORDS)?;
    }
    if asked.wants("read") {
        read::measure(&mut report, records)?;
    }
    if asked.wants("admission") {
        admission::measure(&mut report)?;
    }
    let pages = Pages::of_project();
    if asked.wants("field-day") {
        pages.keep_phases(&field_days(asked.records)?)?;
    }
    if asked.wants("server") {
        let mut costs = Vec::new();
        server::measure(
            &mut report,
            asked.records.unwrap_or(SERVER_RECORDS),
            |records, cpu_us, disk_bytes| {
                costs.push(ServerCost { records, cpu_us, disk_bytes });
            },
        )?;
        pages.keep_server(&costs)?;
    }
    if asked.wants("size") {
        pages.keep_sizes(&size::measure()?)?;
    }
    if asked.sections.iter().any(|section| section == "all") {
        pages.keep_figures(report.figures())?;
    }
    if ["field-day", "server", "size", "draw"].iter().any(|section| asked.wants(section)) {
        pages.draw()?;
    }
    Ok(report.print(asked.is_json)?)
}

/// Runs the field days, contenders in turns, and tells each phase on standard error as it ends.
fn field_days(only: Option<usize>) -> Outcome<Vec<Phase>> {
    let sizes = match only {
        Some(records) => vec![(records, 3)],
        None => FIELD_DAYS.to_vec(),
    };
    let mut lines: BTreeMap<(usize, &str, String), Vec<Json>> = BTreeMap::new();
    let folder = tempfile::tempdir()?;
    for (records, repetitions) in sizes {
        let data = folder.path().join(format!("records-{records}.json"));
        let mut workload = Workload::new();
        let drawn: Vec<Json> = (0..records).map(|_| workload.record()).collect();
        std::fs::write(&data, serde_json::to_vec(&drawn)?)?;
        let edited = field_day::ids_of_edited(&drawn)?;
        drop(drawn);
        for _ in 0..repetitions {
            for contender in CONTENDERS {
                field_day::measure(contender, &data, &edited, records, |line| {
                    tell_progress(&line);
                    let phase = line["phase"].as_str().unwrap_or_default().to_owned();
                    lines.entry((records, contender, phase)).or_default().push(line);
                    Ok(())
                })?;
            }
        }
    }
    Ok(lines.values().filter_map(|lines| Phase::of(lines)).collect())
}

#[expect(clippy::print_stderr, reason = "progress of a command that takes minutes")]
fn tell_progress(line: &Json) {
    eprintln!("{line}");
}
