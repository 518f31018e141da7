//! The processes of one repetition, and what the kernel says of them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value as Json;

use super::Setup;
use crate::world::Outcome;

const PHASE_MAX: Duration = Duration::from_secs(1_800);

/// A server or a client; ended when dropped.
pub(super) struct Process {
    child: Child,
    words: ChildStdin,
    lines: Receiver<Json>,
}

impl Process {
    pub(super) fn start(contender: &str, role: &str, setup: &Setup) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["field-day-child", contender, role, &serde_json::to_string(setup)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let words = child.stdin.take().ok_or("its input is piped")?;
        let out = child.stdout.take().ok_or("its output is piped")?;
        let (tell, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // What is not JSON is nothing that was agreed on.
                if let Ok(line) = serde_json::from_str(&line)
                    && tell.send(line).is_err()
                {
                    break;
                }
            }
        });
        Ok(Self { child, words, lines })
    }

    pub(super) fn say(&mut self, word: &str) -> Outcome<()> {
        Ok(writeln!(self.words, "{word}")?)
    }

    /// Waits for a line of this kind.
    pub(super) fn expect(&self, event: &str) -> Outcome<Json> {
        loop {
            let line = self.lines.recv_timeout(PHASE_MAX).map_err(|_| format!("no {event}"))?;
            match line["ev"].as_str() {
                Some("error") => return Err(line["error"].to_string().into()),
                Some(found) if found == event => return Ok(line),
                _ => {}
            }
        }
    }

    /// Lets it say what it has and end.
    pub(super) fn stop(mut self) -> Outcome<Json> {
        self.say("stop")?;
        let told = self.expect("final")?;
        self.child.wait()?;
        Ok(told)
    }

    /// Processor time of all its threads, those in the kernel included.
    pub(super) fn cpu(&self) -> Outcome<Duration> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may have ended meanwhile; those that work here do not.
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            sum += text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(sum))
    }

    /// The most memory it held at once, in KiB.
    pub(super) fn peak_kib(&self) -> Outcome<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("a peak")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended, or is to end now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes of all files in a folder.
pub(super) fn bytes_in(folder: &Path) -> Outcome<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() { bytes_in(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}
