//! Measuring a contender phase by phase.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::process::{Process, bytes_in};
use super::{EDITED_APART, Setup, conflicting_edit};
use crate::forwarder::{Forwarder, Traffic};
use crate::world::Outcome;

/// Silence on the wire after which a phase is over.
const SILENCE: Duration = Duration::from_millis(700);
const GLANCE: Duration = Duration::from_millis(20);

/// Runs one repetition and hands over a line for each phase.
pub(crate) fn measure(
    contender: &str,
    data: &Path,
    edited: &[String],
    records: usize,
    mut tell: impl FnMut(Json) -> Outcome<()>,
) -> Outcome<()> {
    let mut day = Day::prepare(contender, data, edited, records)?;
    tell(day.offline()?)?;
    day.serve()?;
    for (label, phase, side) in [("P2", "p2", "a"), ("P3", "p3", "b")] {
        tell(day.alone(label, phase, side)?)?;
    }
    tell(day.online()?)?;
    tell(day.alone("P5", "p5", "a")?)?;
    day.server = None;
    day.serve()?;
    tell(day.alone("P5r", "p5", "a")?)?;
    tell(day.meeting()?)
}

/// One repetition: fresh folders, a fresh server.
struct Day<'a> {
    contender: &'a str,
    folder: TempDir,
    setup: Setup,
    server: Option<Process>,
    forwarder: Option<Forwarder>,
}

/// What had been used when a phase began.
struct Before {
    traffic: Traffic,
    server: Duration,
    clients: Vec<Duration>,
}

impl<'a> Day<'a> {
    fn prepare(contender: &'a str, data: &Path, edited: &[String], records: usize) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        for name in ["server", "a", "b"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        let setup = Setup {
            data: data.to_owned(),
            n: records,
            edited: edited.to_vec(),
            shared: folder.path().join("shared.json"),
            ..Setup::default()
        };
        Ok(Self { contender, folder, setup, server: None, forwarder: None })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn serve(&mut self) -> Outcome<()> {
        if self.setup.port == 0 {
            self.setup.port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            let forwarder = Forwarder::start(([127, 0, 0, 1], self.setup.port).into())?;
            self.setup.url = format!("http://{}", forwarder.address());
            self.forwarder = Some(forwarder);
        }
        let setup = Setup { dir: self.path("server"), ..self.setup.clone() };
        let server = Process::start(self.contender, "server", &setup)?;
        server.expect("listening")?;
        self.server = Some(server);
        Ok(())
    }

    fn client(&self, phase: &str, side: &str) -> Outcome<Process> {
        let setup = Setup {
            phase: phase.to_owned(),
            side: side.to_owned(),
            dir: self.path(side),
            ..self.setup.clone()
        };
        let client = Process::start(self.contender, "client", &setup)?;
        client.expect("ready")?;
        Ok(client)
    }

    fn traffic(&self) -> Traffic {
        self.forwarder.as_ref().map(Forwarder::traffic).unwrap_or_default()
    }

    /// Waits until nothing has crossed the wire for a while.
    fn await_silence(&self) {
        let (mut last, mut since) = (self.traffic().both(), Instant::now());
        while since.elapsed() < SILENCE {
            thread::sleep(GLANCE);
            let now = self.traffic().both();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }

    fn before(&self, clients: &[&Process]) -> Outcome<Before> {
        Ok(Before {
            traffic: self.traffic(),
            server: self.server.as_ref().map(Process::cpu).transpose()?.unwrap_or_default(),
            clients: clients.iter().map(|client| client.cpu()).collect::<Outcome<_>>()?,
        })
    }

    /// What a phase took, under the names every measured system's lines have.
    fn line(&self, phase: &str, before: &Before, clients: &[&Process]) -> Outcome<Json> {
        let crossed = self.traffic().since(before.traffic);
        let mut client_cpu = Duration::ZERO;
        for (client, earlier) in clients.iter().zip(&before.clients) {
            client_cpu += client.cpu()?.saturating_sub(*earlier);
        }
        let peaks: Vec<u64> = clients.iter().map(|client| client.peak_kib()).collect::<Outcome<_>>()?;
        let mut line = json!({
            "peer": self.contender, "n": self.setup.n, "phase": phase, "client_cpu": client_cpu.as_secs_f64(),
            "client_rss_mb": peaks.into_iter().max().unwrap_or(0) as f64 / 1024.0,
        });
        if let Some(server) = &self.server {
            line["server_cpu"] = json!(server.cpu()?.saturating_sub(before.server).as_secs_f64());
            line["server_rss_mb"] = json!(server.peak_kib()? as f64 / 1024.0);
            line["up"] = json!(crossed.up);
            line["down"] = json!(crossed.down);
            line["bytes"] = json!(crossed.both());
            line["round_trips"] = json!(crossed.requests);
        }
        Ok(line)
    }

    fn offline(&mut self) -> Outcome<Json> {
        let mut line = self.alone("P1", "p1", "a")?;
        line["disk"] = json!(bytes_in(&self.path("a"))?);
        Ok(line)
    }

    /// A phase of one phone.
    fn alone(&mut self, label: &str, phase: &str, side: &str) -> Outcome<Json> {
        let mut client = self.client(phase, side)?;
        let before = self.before(&[&client])?;
        client.say("go")?;
        let done = client.expect("done")?;
        self.await_silence();
        let mut line = self.line(label, &before, &[&client])?;
        line["wall_ms"] = done["wall_ms"].clone();
        let told = client.stop()?;
        line["disk"] = json!(bytes_in(&self.path(side))?);
        if phase == "p3" {
            line["ok"] = told["ok"].clone();
        }
        Ok(line)
    }

    /// P4: both phones online, one edits, the other one sees it.
    fn online(&mut self) -> Outcome<Json> {
        let mut watcher = self.client("p4watch", "b")?;
        let mut editor = self.client("p4edit", "a")?;
        self.await_silence();
        let before = self.before(&[&watcher, &editor])?;
        watcher.say("go")?;
        editor.say("go")?;
        let (edited, seen) = (editor.expect("done")?, watcher.expect("done")?);
        self.await_silence();
        let mut line = self.line("P4", &before, &[&watcher, &editor])?;
        line["wall_ms"] = json!(number(&seen["t1"])? - number(&edited["t0"])?);
        editor.stop()?;
        line["seen"] = watcher.stop()?["seen"].clone();
        Ok(line)
    }

    /// P6: both edit the same records offline, then meet.
    fn meeting(&mut self) -> Outcome<Json> {
        for side in ["a", "b"] {
            let mut client = self.client("p6edit", side)?;
            client.say("go")?;
            client.expect("done")?;
            client.stop()?;
        }
        let (mut one, mut other) = (self.client("p6sync", "a")?, self.client("p6sync", "b")?);
        let before = self.before(&[&one, &other])?;
        let begun = super::child::now_ms();
        one.say("go")?;
        other.say("go")?;
        one.expect("done")?;
        other.expect("done")?;
        self.await_silence();
        let mut line = self.line("P6", &before, &[&one, &other])?;
        one.say("stop")?;
        other.say("stop")?;
        let (one, other) = (one.expect("final")?, other.expect("final")?);
        line["wall_ms"] = json!(number(&one["last_change"])?.max(number(&other["last_change"])?) - begun);
        line["converged"] = json!(one["state"] == other["state"]);
        let state = one["state"].as_array().ok_or("a state")?;
        let kept_both = state.iter().take(EDITED_APART).enumerate().filter(|(at, record)| {
            ["a", "b"].iter().all(|side| {
                let (field, text) = conflicting_edit(side, *at);
                record[field] == text
            })
        });
        line["diff_field_both_kept"] = json!(kept_both.count());
        let told = one["conflicts"].as_array().ok_or("conflicts")?;
        line["conflicts_surfaced"] = json!(told.iter().filter(|told| **told == json!(true)).count());
        Ok(line)
    }
}

fn number(json: &Json) -> Outcome<f64> {
    Ok(json.as_f64().ok_or("a number")?)
}
