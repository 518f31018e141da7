//! The record id of an imported line: a function of the import's name and the line, so that importing it again creates
//! nothing twice.
//!
//! SHA-256 over five texts, each preceded by its length as eight bytes, most significant first: `haversack import 1`; the
//! collection; the name of the import; `key` or `line`; and the key, or the line's fields as JSON with sorted names. A
//! line without a key adds a sixth, its number among equal lines, from 0. The first sixteen bytes are the id, with
//! version 8 and the variant of RFC 9562 put in.

use std::collections::BTreeMap;

use haversack::RecordId;
use ring::digest::{Context, SHA256};
use uuid::Builder;

/// First of the texts; another rule would have another one.
const RULE: &str = "haversack import 1";

/// What tells a line from all others of its import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By<'a> {
    /// Its key.
    Key(&'a str),
    /// What it says.
    Line(&'a str),
}

/// Names the lines of one import.
#[derive(Debug)]
pub(super) struct Namer {
    collection: String,
    import: String,
    equal_lines: BTreeMap<[u8; 16], u64>,
}

impl Namer {
    /// Names lines of that import into that collection.
    pub(super) fn new(collection: &str, import: &str) -> Self {
        Self { collection: collection.to_owned(), import: import.to_owned(), equal_lines: BTreeMap::new() }
    }

    /// The record id of the next line.
    pub(super) fn name(&mut self, by: By<'_>) -> RecordId {
        let texts = match by {
            By::Key(key) => [RULE, &self.collection, &self.import, "key", key],
            By::Line(line) => [RULE, &self.collection, &self.import, "line", line],
        };
        let digest = |number: Option<u64>| {
            let number = number.map(|number| number.to_string());
            let mut context = Context::new(&SHA256);
            for text in texts.into_iter().chain(number.as_deref()) {
                context.update(&(text.len() as u64).to_be_bytes());
                context.update(text.as_bytes());
            }
            let digest = context.finish();
            *digest.as_ref().first_chunk::<16>().expect("SHA-256 has 32 bytes")
        };
        let bytes = match by {
            By::Key(_) => digest(None),
            By::Line(_) => {
                let number = self.equal_lines.entry(digest(None)).or_insert(0);
                let bytes = digest(Some(*number));
                *number += 1;
                bytes
            }
        };
        RecordId::from_uuid(Builder::from_custom_bytes(bytes).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_line_of_the_same_import_has_the_same_id_for_ever() {
        let id = |by| Namer::new("contact", "crm").name(by).to_string();
        assert_eq!(id(By::Key("17")), "70878f53-4eef-81fb-aa7a-93602385ef84");
        assert_eq!(id(By::Line(r#"{"name":"Kari"}"#)), "baca65ca-ae4c-8c16-9965-5bb00a9eb440");
    }

    #[test]
    fn equal_lines_are_told_apart_by_their_number_and_everything_else_by_what_differs() {
        let mut namer = Namer::new("contact", "crm");
        let ids = [
            namer.name(By::Line("x")),
            namer.name(By::Line("x")),
            namer.name(By::Key("x")),
            Namer::new("contact", "other").name(By::Line("x")),
            Namer::new("person", "crm").name(By::Line("x")),
            Namer::new("contactc", "rm").name(By::Line("x")),
        ];
        let different: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len());
        assert_eq!(Namer::new("contact", "crm").name(By::Line("x")), ids[0]);
    }
}
