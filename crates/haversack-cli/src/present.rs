//! Output: tables for people, JSON for programs. Fits 60 columns; colours only on a terminal that wants them.

use std::io::{self, IsTerminal, Write};

use serde_json::Value as Json;

/// Columns used when the environment does not say how many there are.
const WIDTH_DEFAULT: usize = 60;
/// Fewer columns than this and words are cut anyway.
const WIDTH_MIN: usize = 20;

/// How a piece of text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// A heading.
    Strong,
    /// Beside the point.
    Faint,
    /// Wants attention.
    Warning,
}

/// Where the outcome of a command goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// Programs read it.
    pub(crate) is_json: bool,
    has_colour: bool,
    width: usize,
}

impl Screen {
    /// The standard output, as JSON when asked for.
    pub(crate) fn new(is_json: bool) -> Self {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        Self {
            is_json,
            has_colour: !is_json && !is_plain && io::stdout().is_terminal(),
            width: columns.unwrap_or(WIDTH_DEFAULT).max(WIDTH_MIN),
        }
    }

    /// Writes one JSON value on a line of its own.
    ///
    /// # Errors
    /// When nobody reads it, or it cannot be written.
    pub(crate) fn json(&self, value: &Json) -> io::Result<()> {
        write_line(&value.to_string())
    }

    /// Writes a line for people. Control characters of what others wrote are shown, never obeyed.
    ///
    /// # Errors
    /// When nobody reads it, or it cannot be written.
    pub(crate) fn line(&self, tone: Option<Tone>, text: &str) -> io::Result<()> {
        let lines = wrap(&harmless(text), self.width);
        lines.iter().try_for_each(|line| write_line(&self.paint(tone, line.trim_end())))
    }

    /// Writes names and what they hold in two columns, long texts wrapped.
    ///
    /// # Errors
    /// When nobody reads it, or it cannot be written.
    pub(crate) fn pairs(&self, rows: &[(String, String)]) -> io::Result<()> {
        let name_width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let text_width = self.width.saturating_sub(name_width + 4).max(WIDTH_MIN);
        for (name, text) in rows {
            let lines: Vec<_> = text.split('\n').flat_map(|line| wrap(&harmless(line), text_width)).collect();
            for (number, line) in lines.iter().enumerate() {
                let name = if number == 0 { harmless(name) } else { String::new() };
                // Aligned by characters, so that æ, ø and å take one column.
                let padded = format!("{name:name_width$}");
                write_line(format!("  {}  {line}", self.paint(Some(Tone::Faint), &padded)).trim_end())?;
            }
        }
        Ok(())
    }

    fn paint(&self, tone: Option<Tone>, text: &str) -> String {
        let code = match tone {
            Some(tone) if self.has_colour => match tone {
                Tone::Strong => 1,
                Tone::Faint => 2,
                Tone::Warning => 33,
            },
            _ => return text.to_owned(),
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

fn write_line(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// The text with control characters and direction overrides spelled out, so that no value steers a terminal.
pub(crate) fn harmless(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut clean, c| {
        if steers(c) {
            clean.extend(c.escape_unicode());
        } else {
            clean.push(c);
        }
        clean
    })
}

/// The beginning of a text, at most `width` characters on one line.
pub(crate) fn clip(text: &str, width: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.len() == text.len() && line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Breaks a line between words; a word longer than the line stays whole, so that ids can be copied.
fn wrap(line: &str, width: usize) -> Vec<String> {
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    let mut lines = vec![];
    let mut current = indent.clone();
    for word in line[indent.len()..].split(' ') {
        let is_first = current.len() == indent.len();
        if !is_first && current.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::replace(&mut current, indent.clone()));
        } else if !is_first {
            current.push(' ');
        }
        current.push_str(word);
    }
    lines.push(current);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_width_and_indentation() {
        let lines = wrap("  Gikk tur på Vålerenga i øsende regnvær", 20);
        assert_eq!(lines, ["  Gikk tur på", "  Vålerenga i øsende", "  regnvær"]);
        assert_eq!(wrap("0198c0de-0000-7000", 5), ["0198c0de-0000-7000"]);
    }

    #[test]
    fn a_clipped_text_says_so() {
        assert_eq!(clip("blåbær", 6), "blåbær");
        assert_eq!(clip("blåbærtur", 6), "blåbæ…");
        assert_eq!(clip("to\nlinjer", 20), "to…");
    }

    #[test]
    fn escape_sequences_and_direction_overrides_are_spelled_out() {
        assert_eq!(harmless("a\u{1b}[2J\u{202e}b"), "a\\u{1b}[2J\\u{202e}b");
    }

    #[test]
    fn wrapping_loses_no_word_at_any_width() {
        let text = "Søsteren er nærmeste pårørende. Bussen stopper rett utenfor døra.";
        for width in 0..80 {
            assert_eq!(wrap(text, width).join(" "), text, "{width}");
        }
    }
}
