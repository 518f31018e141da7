//! The lines of an import file, JSON or CSV, one at a time; a bad one is told and the next is read.

use std::fmt;
use std::io::{self, BufRead, Read};

use haversack_protocol::limits::CHANGE_SET_BYTES_MAX;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value as Json};

use super::Refusal;
use crate::failure::Failure;

/// Bytes of a JSON line: what a change set may hold, with room for every character written as an escape.
const LINE_BYTES_MAX: usize = 6 * CHANGE_SET_BYTES_MAX;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// One JSON object a line.
    Jsonl,
    /// A header row that names fields, then one row a record.
    Csv,
}

/// A line that could be read: names and values, empty ones left out. Values of CSV are texts.
#[derive(Debug)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Its fields.
    pub(super) fields: Map<String, Json>,
}

/// A file under way.
pub(super) enum Source<R: BufRead> {
    /// JSON lines.
    Jsonl {
        /// What is left of it.
        reader: R,
        /// Lines read.
        number: u64,
    },
    /// CSV.
    Csv {
        /// What is left of it.
        reader: Box<csv::Reader<R>>,
        /// Names of the columns.
        header: csv::StringRecord,
    },
}

impl<R: BufRead> Source<R> {
    /// Begins to read; of CSV, the header.
    ///
    /// # Errors
    /// [`Failure::File`] for a file that cannot be read, [`Failure::Sentence`] for a header that names a column twice.
    pub(super) fn open(reader: R, format: Format, delimiter: u8) -> Result<Self, Failure> {
        if format == Format::Jsonl {
            return Ok(Self::Jsonl { reader, number: 0 });
        }
        let mut reader = Box::new(csv::ReaderBuilder::new().delimiter(delimiter).from_reader(reader));
        let header = reader.headers().map_err(|error| unreadable(error.into()))?.clone();
        let mut names: Vec<_> = header.iter().collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Failure::Sentence("the header row names a column twice"));
        }
        Ok(Self::Csv { reader, header })
    }

    /// Names of the columns, where the file says them at its beginning.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        let header = match self {
            Self::Jsonl { .. } => None,
            Self::Csv { header, .. } => Some(header),
        };
        header.into_iter().flatten()
    }

    /// The next line, or why it cannot be read; `None` at the end.
    ///
    /// # Errors
    /// [`Failure::File`].
    pub(super) fn next(&mut self) -> Result<Option<Result<Line, Refusal>>, Failure> {
        match self {
            Self::Jsonl { reader, number } => next_json(reader, number).map_err(unreadable),
            Self::Csv { reader, header } => next_row(reader, header),
        }
    }
}

fn next_json(reader: &mut impl BufRead, number: &mut u64) -> io::Result<Option<Result<Line, Refusal>>> {
    loop {
        let mut bytes = Vec::new();
        if reader.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        *number += 1;
        if bytes.len() > LINE_BYTES_MAX {
            if bytes.last() != Some(&b'\n') {
                reader.skip_until(b'\n')?;
            }
            let refusal =
                Refusal::of_line(*number, "too-long", format!("longer than {LINE_BYTES_MAX} bytes"));
            return Ok(Some(Err(refusal)));
        }
        let text = bytes.strip_prefix("\u{feff}".as_bytes()).filter(|_| *number == 1).unwrap_or(&bytes);
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        // What the parser says may quote the line.
        let parsed = serde_json::from_slice(text);
        let no_object = |_| Refusal::of_line(*number, "no-object", "not one JSON object".to_owned());
        return Ok(Some(parsed.map_err(no_object).and_then(|Said(fields)| fields_once(*number, fields))));
    }
}

/// An object as it is written: names may come twice.
struct Said(Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Said;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Said, A::Error> {
        let mut fields = vec![];
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Said(fields))
    }
}

/// The fields of a line that hold a value. Of a name that comes twice, neither value may get lost unseen.
fn fields_once(number: u64, said: Vec<(String, Json)>) -> Result<Line, Refusal> {
    let mut fields = Map::new();
    for (name, value) in said {
        if fields.insert(name.clone(), value).is_some() {
            let text = "the line names a field twice".to_owned();
            return Err(Refusal { field: Some(name), ..Refusal::of_line(number, "written-twice", text) });
        }
    }
    fields.retain(|_, value| !value.is_null());
    Ok(Line { number, fields })
}

fn next_row<R: Read>(
    reader: &mut csv::Reader<R>,
    header: &csv::StringRecord,
) -> Result<Option<Result<Line, Refusal>>, Failure> {
    let mut row = csv::StringRecord::new();
    let is_there = match reader.read_record(&mut row) {
        Ok(is_there) => is_there,
        Err(error) => return refused_row(error).map(|refusal| Some(Err(refusal))),
    };
    if !is_there {
        return Ok(None);
    }
    let number = row.position().map_or(0, csv::Position::line);
    let cells = header.iter().zip(&row).filter(|(_, cell)| !cell.is_empty());
    let fields = cells.map(|(name, cell)| (name.to_owned(), Json::from(cell))).collect();
    Ok(Some(Ok(Line { number, fields })))
}

fn refused_row(error: csv::Error) -> Result<Refusal, Failure> {
    let number = error.position().map_or(0, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => Ok(Refusal::of_line(number, "encoding", "not UTF-8".to_owned())),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let text = format!("{len} cells, the header names {expected_len}");
            Ok(Refusal::of_line(number, "cells", text))
        }
        _ => Err(unreadable(error.into())),
    }
}

fn unreadable(source: io::Error) -> Failure {
    Failure::File { what: "the import file".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Result<(u64, String), (u64, &'static str)>;

    fn read(text: &[u8], format: Format) -> Vec<Read> {
        let mut source = Source::open(text, format, b',').expect("opens");
        let mut lines = vec![];
        while let Some(line) = source.next().expect("reads") {
            lines.push(match line {
                Ok(line) => Ok((line.number, Json::Object(line.fields).to_string())),
                Err(refusal) => Err((refusal.line, refusal.code)),
            });
        }
        lines
    }

    #[test]
    fn a_bad_json_line_is_told_by_its_number_and_the_next_is_read() {
        let long = format!("{{\"a\":\"{}\"}}\n", "x".repeat(LINE_BYTES_MAX));
        let text = ["\u{feff}{\"b\":1,\"a\":null}\n\n[1]\n{\"a\":\n", &long, "{\"a\":\"x\"}"].concat();
        let expected = [
            Ok((1, r#"{"b":1}"#.to_owned())),
            Err((3, "no-object")),
            Err((4, "no-object")),
            Err((5, "too-long")),
            Ok((6, r#"{"a":"x"}"#.to_owned())),
        ];
        assert_eq!(read(text.as_bytes(), Format::Jsonl), expected);
    }

    #[test]
    fn a_json_line_that_names_a_field_twice_is_refused_whatever_it_says() {
        let text = b"{\"a\":1,\"a\":2}\n{\"a\":null,\"a\":2}\n{\"a\":{\"b\":1},\"b\":1}\n";
        let expected = [
            Err((1, "written-twice")),
            Err((2, "written-twice")),
            Ok((3, r#"{"a":{"b":1},"b":1}"#.to_owned())),
        ];
        assert_eq!(read(text, Format::Jsonl), expected);
    }

    #[test]
    fn a_bad_row_is_told_by_its_line_and_the_next_is_read() {
        let text = b"\xef\xbb\xbfname,note\n\"Kari\",\"two\nlines\"\nOla\n\xff,x\nSiv,\n";
        let expected = [
            Ok((2, r#"{"name":"Kari","note":"two\nlines"}"#.to_owned())),
            Err((4, "cells")),
            Err((5, "encoding")),
            Ok((6, r#"{"name":"Siv"}"#.to_owned())),
        ];
        assert_eq!(read(text, Format::Csv), expected);
    }

    #[test]
    fn a_header_that_names_a_column_twice_is_refused() {
        assert!(Source::open(b"a,b,a\n".as_slice(), Format::Csv, b',').is_err());
    }
}
