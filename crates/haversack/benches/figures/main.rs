//! The figures of `docs/PERFORMANCE.md`: what edits, sync, reading and admission cost on this machine.
//!
//! Nothing here is a test: times depend on the machine. What is compared is measured in turns in one run.
//!
//! ```sh
//! cargo bench -p haversack --bench figures                  # everything, as a table
//! cargo bench -p haversack --bench figures -- --json        # one JSON object
//! cargo bench -p haversack --bench figures -- edit sync     # some of edit, sync, read, admission
//! cargo bench -p haversack --bench figures -- --records 1000
//! cargo bench -p haversack --bench figures -- --only-edits 200   # edits and nothing else, to count system calls
//! ```

mod admission;
mod edit;
mod forwarder;
mod layout;
mod measure;
mod raw;
mod read;
mod report;
mod sync;
mod workload;
mod world;

use report::Report;
use world::Outcome;

const RECORDS: usize = 10_000;
const FEW_RECORDS: usize = 100;

/// What the command line asks for.
struct Asked {
    is_json: bool,
    records: usize,
    only_edits: Option<usize>,
    sections: Vec<String>,
}

impl Asked {
    fn read(mut arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut asked = Self { is_json: false, records: RECORDS, only_edits: None, sections: vec![] };
        while let Some(argument) = arguments.next() {
            let mut number =
                || -> Outcome<usize> { Ok(arguments.next().ok_or("a number is missing")?.parse()?) };
            match argument.as_str() {
                // Cargo says so itself.
                "--bench" => {}
                "--json" => asked.is_json = true,
                "--records" => asked.records = number()?,
                "--only-edits" => asked.only_edits = Some(number()?),
                "edit" | "sync" | "read" | "admission" => asked.sections.push(argument),
                _ => return Err(format!("unknown argument {argument}").into()),
            }
        }
        Ok(asked)
    }

    fn wants(&self, section: &str) -> bool {
        self.sections.is_empty() || self.sections.iter().any(|one| one == section)
    }
}

fn main() -> Outcome<()> {
    let asked = Asked::read(std::env::args().skip(1))?;
    if let Some(count) = asked.only_edits {
        return edit::only_edits(count);
    }
    let mut report = Report::default();
    if asked.wants("edit") {
        edit::measure(&mut report)?;
    }
    if asked.wants("sync") {
        sync::measure(&mut report, asked.records, FEW_RECORDS)?;
    }
    if asked.wants("read") {
        read::measure(&mut report, asked.records)?;
    }
    if asked.wants("admission") {
        admission::measure(&mut report)?;
    }
    Ok(report.print(asked.is_json)?)
}
