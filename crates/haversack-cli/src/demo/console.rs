//! What the demo shows: stages with live progress, then proofs. Never wider than 60 columns; plain without a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::records::BadLine;

/// Width of the progress bar.
const BAR: usize = 24;
/// How often a line that is rewritten in place may change.
const REDRAW: Duration = Duration::from_millis(60);

/// Where and how the demo speaks: standard error when standard output carries JSON.
pub(super) struct Console {
    is_live: bool,
    has_colour: bool,
    to_error: bool,
    started: Instant,
    stage_started: Instant,
    drawn: Option<Instant>,
    stage: usize,
    title: String,
}

impl Console {
    pub(super) fn new(to_error: bool) -> Self {
        let is_terminal = if to_error { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let now = Instant::now();
        Self {
            is_live: is_terminal,
            has_colour: is_terminal && !is_plain,
            to_error,
            started: now,
            stage_started: now,
            drawn: None,
            stage: 0,
            title: String::new(),
        }
    }

    fn write(&self, text: &str) {
        // A reader that went away is no reason to stop proving.
        let _ = if self.to_error {
            io::stderr().lock().write_all(text.as_bytes())
        } else {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.has_colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn line(&self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    pub(super) fn headline(&self, text: &str, beneath: &str) {
        self.line("");
        self.line(&format!("  {}  {text}", self.paint("1;36", "HAVERSACK")));
        self.line(&format!("  {}", self.paint("2", beneath)));
        self.line("");
    }

    /// Begins a stage.
    pub(super) fn begin(&mut self, title: &str) {
        self.stage += 1;
        self.title = title.to_owned();
        (self.stage_started, self.drawn) = (Instant::now(), None);
        self.progress(0, 0);
    }

    /// Shows how far the stage is.
    pub(super) fn progress(&mut self, done: u64, of: u64) {
        let is_due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW);
        if !self.is_live || !is_due {
            return;
        }
        self.drawn = Some(Instant::now());
        let filled = usize::try_from(done * BAR as u64 / of.max(1)).unwrap_or(0).min(BAR);
        let bar = format!("{}{}", "━".repeat(filled), " ".repeat(BAR - filled));
        let count = if of > 0 { format!("{done}/{of}") } else { String::new() };
        self.write(&format!(
            "\r\x1b[2K  {} {}\r\n\x1b[2K    {} {count}\x1b[1A\r",
            self.paint("33", "▸"),
            self.title,
            self.paint("36", &bar),
        ));
    }

    /// Ends a stage with what it asserted.
    pub(super) fn end(&mut self, facts: &[String]) {
        let seconds = self.stage_started.elapsed().as_secs_f32();
        let clear = if self.is_live { "\r\x1b[2K\n\x1b[2K\x1b[1A\r" } else { "" };
        let mark = self.paint("32", "✓");
        self.write(&format!("{clear}  {mark} {:<46}{seconds:>6.1} s\n", self.title));
        self.facts(facts);
    }

    /// Says that a stage cannot be played with this schema.
    pub(super) fn skip(&mut self, title: &str, reason: &str) {
        self.stage += 1;
        self.line(&format!("  {} {title}", self.paint("33", "–")));
        self.facts(&[format!("skipped: {reason}")]);
    }

    fn facts(&self, facts: &[String]) {
        facts.iter().for_each(|fact| self.fact(fact));
    }

    /// Something worth knowing, broken where it would be too wide.
    pub(super) fn fact(&self, fact: &str) {
        for (index, piece) in wrap(fact, 52).into_iter().enumerate() {
            let lead = if index == 0 { "    " } else { "      " };
            self.line(&self.paint("2", &format!("{lead}{piece}")));
        }
    }

    /// The lines of the records file that cannot be used.
    pub(super) fn bad_lines(&self, bad_lines: &[BadLine]) {
        for bad in bad_lines {
            let field = bad.field.as_ref().map_or_else(String::new, |field| format!(", field {field}"));
            self.fact(&format!("line {}{field}: {}", bad.line, bad.reason));
        }
    }

    /// One proof and its outcome.
    pub(super) fn proof(&self, holds: bool, text: &str, detail: &str) {
        let mark = if holds { self.paint("1;32", "✓") } else { self.paint("1;31", "✗") };
        self.line(&format!("  {mark} {text}"));
        if !detail.is_empty() {
            self.facts(&[detail.to_owned()]);
        }
    }

    pub(super) fn section(&self, title: &str) {
        self.line("");
        self.line(&format!("  {}", self.paint("1;36", title)));
    }

    pub(super) fn verdict(&self, holds: bool, failed: usize, of: usize) {
        let seconds = self.started.elapsed().as_secs_f32();
        let text = if holds {
            self.paint(
                "1;32",
                &format!("{of} of {of} proofs hold, {seconds:.0} s. Everything found its way home."),
            )
        } else {
            self.paint("1;31", &format!("{failed} of {of} proofs failed, {seconds:.0} s."))
        };
        self.line("");
        self.line(&format!("  {text}"));
        self.line("");
    }

    pub(super) fn seconds(&self) -> f32 {
        self.started.elapsed().as_secs_f32()
    }
}

/// Breaks a text at spaces so that no piece is wider than `width`; a longer word stays whole.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("never empty");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn text_breaks_at_spaces_and_keeps_every_word() {
        let text = "ett to tre fire fem seks sju åtte ni ti";
        let lines = wrap(text, 12);
        assert!(lines.iter().all(|line| line.chars().count() <= 12));
        assert_eq!(lines.join(" "), text);
    }
}
