//! The page of figures: tables and drawings made from what was measured, put between the marks in `docs/PERFORMANCE.md`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::measure::median;
use crate::plot::{Bar, Line, bars, figure, lines};
use crate::report::Figure;
use crate::world::Outcome;

/// The contenders of a run, by the names their lines have.
pub(crate) const OURS: &str = "haversack";
pub(crate) const BY_HAND: &str = "by hand";

/// What a phase took a system: medians over its repetitions.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Phase {
    system: String,
    n: usize,
    phase: String,
    repetitions: usize,
    wall_ms: f64,
    /// Of all phones and the server.
    cpu_ms: f64,
    bytes: Option<f64>,
    round_trips: Option<f64>,
    rss_mb: Option<f64>,
    disk: Option<f64>,
    both_kept: Option<f64>,
    conflicts_told: Option<f64>,
}

/// What a created record costs a server of a size.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct ServerCost {
    pub(crate) records: usize,
    pub(crate) cpu_us: f64,
    pub(crate) disk_bytes: f64,
}

/// What a part of the library takes in an app.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Size {
    pub(crate) part: String,
    pub(crate) bytes: u64,
}

impl Phase {
    /// The medians of a phase's repetitions.
    pub(crate) fn of(lines: &[Json]) -> Option<Self> {
        let first = lines.first()?;
        let of = |read: &dyn Fn(&Json) -> Option<f64>| {
            let found: Vec<f64> = lines.iter().filter_map(read).collect();
            (!found.is_empty()).then(|| median(found))
        };
        let key = |key: &'static str| of(&move |line: &Json| line[key].as_f64());
        let cpu = |line: &Json| {
            Some((line["client_cpu"].as_f64()? + line["server_cpu"].as_f64().unwrap_or(0.0)) * 1e3)
        };
        Some(Self {
            system: first["peer"].as_str()?.replace('-', " "),
            n: usize::try_from(first["n"].as_u64()?).ok()?,
            phase: first["phase"].as_str()?.to_owned(),
            repetitions: lines.len(),
            wall_ms: key("wall_ms")?,
            cpu_ms: of(&cpu)?,
            bytes: key("bytes"),
            round_trips: key("round_trips"),
            rss_mb: key("client_rss_mb"),
            disk: key("disk"),
            both_kept: key("diff_field_both_kept"),
            conflicts_told: key("conflicts_surfaced"),
        })
    }
}

/// Where the page and what it is made from lie.
pub(crate) struct Pages(PathBuf);

impl Pages {
    pub(crate) fn of_project() -> Self {
        Self(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs"))
    }

    /// Keeps phases in place of older ones of the same sizes.
    pub(crate) fn keep_phases(&self, phases: &[Phase]) -> Outcome<()> {
        let is_new = |old: &Phase| phases.iter().any(|new| new.n == old.n && new.system == old.system);
        let mut kept: Vec<Phase> =
            self.read("field-day.jsonl")?.into_iter().filter(|old| !is_new(old)).collect();
        kept.extend_from_slice(phases);
        kept.sort_by_key(|phase| phase.n);
        self.write("field-day.jsonl", &kept)
    }

    pub(crate) fn keep_server(&self, costs: &[ServerCost]) -> Outcome<()> {
        self.write("server.jsonl", costs)
    }

    /// Keeps figures in place of older ones of the same names.
    pub(crate) fn keep_figures(&self, figures: &[Figure]) -> Outcome<()> {
        let is_new = |old: &Figure| figures.iter().any(|new| new.name == old.name);
        let old: Vec<Figure> = self.read("parts.jsonl")?;
        let mut kept: Vec<Figure> = old.into_iter().filter(|old| !is_new(old)).collect();
        kept.extend_from_slice(figures);
        self.write("parts.jsonl", &kept)
    }

    pub(crate) fn keep_sizes(&self, sizes: &[Size]) -> Outcome<()> {
        self.write("size.jsonl", sizes)
    }

    fn read<T: for<'t> Deserialize<'t>>(&self, name: &str) -> Outcome<Vec<T>> {
        let text = fs::read_to_string(self.0.join("performance").join(name)).unwrap_or_default();
        Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    fn write<T: Serialize>(&self, name: &str, lines: &[T]) -> Outcome<()> {
        let mut text = String::new();
        for line in lines {
            writeln!(text, "{}", serde_json::to_string(line)?)?;
        }
        Ok(fs::write(self.0.join("performance").join(name), text)?)
    }

    /// Makes tables and drawings anew.
    pub(crate) fn draw(&self) -> Outcome<()> {
        let run = Run(self.read("field-day.jsonl")?);
        let peers = Run(self.read("peers.jsonl")?);
        let server: Vec<ServerCost> = self.read("server.jsonl")?;
        let page = self.0.join("PERFORMANCE.md");
        let mut text = fs::read_to_string(&page)?;
        text = between_marks(&text, "field day", &run.tables()?)?;
        text = between_marks(&text, "peers", &peers_table(&run, &peers)?)?;
        text = between_marks(&text, "server", &server_table(&server)?)?;
        text = between_marks(&text, "parts", &figures_table(&self.read("parts.jsonl")?)?)?;
        text = between_marks(&text, "size", &size_table(&self.read("size.jsonl")?)?)?;
        fs::write(page, text)?;
        let draw = |name: &str, svg: String| fs::write(self.0.join("performance").join(name), svg);
        let all = run.beside(&peers);
        draw(
            "drain-bytes.svg",
            all.bars("P2, drain of 1,000 records: bytes a record", "B", "P2", |one| {
                Some(one.bytes? / one.n as f64)
            }),
        )?;
        draw(
            "cpu.svg",
            all.bars(
                "P2 and P3, drain and bootstrap of 1,000 records: CPU a record, phones and server",
                "us",
                "P2",
                |one| {
                    let other = all.find(&one.system, one.n, "P3")?;
                    Some((one.cpu_ms + other.cpu_ms) * 1e3 / one.n as f64)
                },
            ),
        )?;
        draw(
            "resume.svg",
            all.lines("P5, resume with nothing new: bytes both ways", "bytes", "P5", |one| one.bytes),
        )?;
        draw("growth.svg", run.growth())?;
        let points = server.iter().map(|cost| (cost.records as f64, cost.cpu_us)).collect();
        let cost = [Line { name: "CPU of a create".to_owned(), points, is_ours: true }];
        Ok(draw("server.svg", lines("A server that fills: what one more record costs", "us", &cost))?)
    }
}

struct Run(Vec<Phase>);

/// A goal against the system written by hand: at most so many times its wall time and its bytes.
const GOALS: [(&str, &str, f64, Option<f64>); 5] = [
    ("P1", "N durable edits offline", 1.2, None),
    ("P2", "drain", 6.0, Some(1.6)),
    ("P3", "bootstrap", 2.5, Some(2.0)),
    ("P4", "100 edits seen by the other phone", 1.5, Some(2.0)),
    ("P6", "both edited 100 records", 6.0, Some(2.0)),
];

impl Run {
    fn find(&self, system: &str, n: usize, phase: &str) -> Option<&Phase> {
        self.0.iter().find(|one| one.system == system && one.n == n && one.phase == phase)
    }

    fn sizes(&self) -> Vec<usize> {
        let sizes: BTreeMap<usize, ()> = self.0.iter().map(|one| (one.n, ())).collect();
        sizes.into_keys().collect()
    }

    fn tables(&self) -> Outcome<String> {
        let mut text = String::new();
        for n in self.sizes() {
            writeln!(text, "\n**{} records**\n", figure(n as f64))?;
            writeln!(text, "| phase | | by hand | Haversack | ratio | goal |\n|---|---|---|---|---|---|")?;
            for (phase, what, time_goal, bytes_goal) in GOALS {
                let (Some(hand), Some(ours)) = (self.find(BY_HAND, n, phase), self.find(OURS, n, phase))
                else {
                    continue;
                };
                let mut row =
                    |unit: &str, of: &dyn Fn(&Phase) -> Option<f64>, goal: Option<f64>| -> Outcome<()> {
                        let (Some(hand), Some(ours)) = (of(hand), of(ours)) else { return Ok(()) };
                        let goal = goal.map_or(String::new(), |goal| {
                            format!("<= {goal}x, {}", if ours / hand <= goal { "met" } else { "**missed**" })
                        });
                        let ratio = figure(ours / hand);
                        Ok(writeln!(
                            text,
                            "| {phase} {what} | {unit} | {} | {} | {ratio}x | {goal} |",
                            figure(hand),
                            figure(ours)
                        )?)
                    };
                row("ms", &|one| Some(one.wall_ms), Some(time_goal))?;
                row("ms CPU, phones and server", &|one| Some(one.cpu_ms), None)?;
                row("bytes both ways", &|one| one.bytes, bytes_goal)?;
                row("MB, the greater phone at its peak", &|one| one.rss_mb, None)?;
                row("bytes of the phone's files", &|one| one.disk, None)?;
            }
            self.told_of_resume(n, &mut text)?;
        }
        Ok(text)
    }

    fn told_of_resume(&self, n: usize, text: &mut String) -> Outcome<()> {
        for (phase, what) in
            [("P5", "resume, nothing new"), ("P5r", "the same after a restart of the server")]
        {
            let (Some(hand), Some(ours)) = (self.find(BY_HAND, n, phase), self.find(OURS, n, phase)) else {
                continue;
            };
            let told = |one: &Phase| {
                format!(
                    "{} ms, {} ms CPU, {} B, {} round trips",
                    figure(one.wall_ms),
                    figure(one.cpu_ms),
                    figure(one.bytes.unwrap_or_default()),
                    figure(one.round_trips.unwrap_or_default())
                )
            };
            let is_met = ours.bytes <= Some(700.0) && ours.round_trips <= Some(1.0);
            let verdict = if is_met { "met" } else { "**missed**" };
            writeln!(
                text,
                "| {phase} {what} | | {} | {} | | one round trip, <= 700 B, {verdict} |",
                told(hand),
                told(ours)
            )?;
        }
        if let (Some(hand), Some(ours)) = (self.find(BY_HAND, n, "P6"), self.find(OURS, n, "P6")) {
            let told = |one: &Phase| {
                format!(
                    "{} of 50 kept, {} of 50 told",
                    one.both_kept.unwrap_or_default(),
                    one.conflicts_told.unwrap_or_default()
                )
            };
            let is_met = ours.both_kept == Some(50.0) && ours.conflicts_told == Some(50.0);
            let verdict = if is_met { "met" } else { "**missed**" };
            writeln!(
                text,
                "| P6 edits of different fields; of the same | | {} | {} | | all, {verdict} |",
                told(hand),
                told(ours)
            )?;
        }
        Ok(())
    }

    /// Ours and the system by hand of this run, then the others.
    fn beside(&self, peers: &Self) -> Self {
        Self(self.0.iter().chain(peers.0.iter().filter(|one| one.system != BY_HAND)).cloned().collect())
    }

    fn systems(&self) -> Vec<&str> {
        let mut systems = Vec::new();
        for one in &self.0 {
            if !systems.contains(&one.system.as_str()) {
                systems.push(&one.system);
            }
        }
        systems.sort_by_key(|system| match *system {
            OURS => 0,
            BY_HAND => 1,
            _ => 2,
        });
        systems
    }

    fn bars(&self, title: &str, unit: &str, phase: &str, of: impl Fn(&Phase) -> Option<f64>) -> String {
        let bar = |system: &str| {
            let value = of(self.find(system, 1_000, phase)?)?;
            Some(Bar { name: title_of(system), value, is_ours: system == OURS })
        };
        let mut drawn: Vec<Bar> = self.systems().into_iter().filter_map(bar).collect();
        drawn.sort_by(|one, other| one.value.total_cmp(&other.value));
        bars(title, unit, &drawn)
    }

    fn lines(&self, title: &str, unit: &str, phase: &str, of: impl Fn(&Phase) -> Option<f64>) -> String {
        let line = |system: &str| {
            let points: Vec<_> = self
                .sizes()
                .into_iter()
                .filter_map(|n| Some((n as f64, of(self.find(system, n, phase)?)?)))
                .collect();
            (points.len() > 1).then(|| Line { name: short(system), points, is_ours: system == OURS })
        };
        let drawn: Vec<Line> = self.systems().into_iter().filter_map(line).take(8).collect();
        lines(title, unit, &drawn)
    }

    /// What a record costs ours and the system by hand as there are more of them.
    fn growth(&self) -> String {
        let mut drawn = Vec::new();
        for system in [OURS, BY_HAND] {
            for (phase, what) in [("P1", "offline edit"), ("P2", "drain"), ("P3", "bootstrap")] {
                let points: Vec<_> = self
                    .sizes()
                    .into_iter()
                    .filter_map(|n| Some((n as f64, self.find(system, n, phase)?.cpu_ms * 1e3 / n as f64)))
                    .collect();
                drawn.push(Line {
                    name: format!("{what}, {}", short(system)),
                    points,
                    is_ours: system == OURS,
                });
            }
        }
        lines("CPU a record, phones and server, as records grow", "us", &drawn)
    }
}

/// A system's name as people read it.
fn title_of(system: &str) -> String {
    if system == OURS { "Haversack".to_owned() } else { system.to_owned() }
}

fn short(system: &str) -> String {
    title_of(system)
        .replace(", a document per record", ", per record")
        .replace(" + Hocuspocus 4.7", "")
        .replace(" + loro-websocket 0.6", "")
}

/// Every measured system at 1,000 records; times as multiples of the system by hand of its own run.
fn peers_table(run: &Run, peers: &Run) -> Outcome<String> {
    let mut text = String::from(
        "\n| system | P1 | P2 drain | P3 bootstrap | P4 | P5 resume | P6 | different fields kept; same field told |\n|---|---|---|---|---|---|---|---|\n",
    );
    for (of, system) in
        run.systems().into_iter().map(|system| (run, system)).chain(
            peers.systems().into_iter().filter(|system| *system != BY_HAND).map(|system| (peers, system)),
        )
    {
        write!(text, "| {} |", title_of(system))?;
        for phase in ["P1", "P2", "P3", "P4", "P5", "P6"] {
            let cell =
                of.find(system, 1_000, phase).zip(of.find(BY_HAND, 1_000, phase)).map(|(one, hand)| {
                    let bytes = one.bytes.map_or(String::new(), |bytes| match phase {
                        "P5" => format!(", {} B", figure(bytes)),
                        "P4" | "P6" => format!(", {} B/edit", figure(bytes / 100.0)),
                        _ => format!(", {} B", figure(bytes / 1_000.0)),
                    });
                    format!(
                        " {}x, CPU {}x{bytes} |",
                        figure(one.wall_ms / hand.wall_ms),
                        figure(one.cpu_ms / hand.cpu_ms)
                    )
                });
            text.push_str(&cell.unwrap_or_else(|| " |".to_owned()));
        }
        let told = of
            .find(system, 1_000, "P6")
            .and_then(|one| Some(format!(" {}; {} |", one.both_kept?, one.conflicts_told?)));
        writeln!(text, "{}", told.unwrap_or_else(|| " |".to_owned()))?;
    }
    Ok(text)
}

fn server_table(costs: &[ServerCost]) -> Outcome<String> {
    let mut text = String::from("\n| records held | CPU of one more | disk of one more |\n|---|---|---|\n");
    for cost in costs {
        writeln!(
            text,
            "| {} | {} us | {} B |",
            figure(cost.records as f64),
            figure(cost.cpu_us),
            figure(cost.disk_bytes)
        )?;
    }
    Ok(text)
}

fn figures_table(figures: &[Figure]) -> Outcome<String> {
    let mut text = String::from("\n| figure | measured | at most | |\n|---|---|---|---|\n");
    for one in figures {
        let goal = one.goal.map_or(String::new(), |goal| format!("{} {}", figure(goal), one.unit));
        let verdict = match (one.goal, one.is_met()) {
            (None, _) => "",
            (Some(_), true) => "met",
            (Some(_), false) => "**missed**",
        };
        writeln!(text, "| {} | {} {} | {goal} | {verdict} |", one.name, figure(one.value), one.unit)?;
    }
    Ok(text)
}

fn size_table(sizes: &[Size]) -> Outcome<String> {
    let mut text = String::from("\n| part | KiB |\n|---|---|\n");
    for size in sizes {
        writeln!(text, "| {} | {} |", size.part, figure(size.bytes as f64 / 1024.0))?;
    }
    Ok(text)
}

/// Puts a text between the marks of a name.
fn between_marks(page: &str, name: &str, text: &str) -> Outcome<String> {
    let (begin, end) = (format!("<!-- measured: {name} -->"), format!("<!-- end: {name} -->"));
    let (before, rest) = page.split_once(&begin).ok_or_else(|| format!("no mark of {name}"))?;
    let (_, after) = rest.split_once(&end).ok_or_else(|| format!("no end of {name}"))?;
    Ok(format!("{before}{begin}{text}{end}{after}"))
}
