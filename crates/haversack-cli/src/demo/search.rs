//! The search for readable traces: every value, id, token and key, in every form a file could hold it.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Shorter needles would be found in random bytes.
const NEEDLE_BYTES_MIN: usize = 6;
/// A trace of a long value begins with the beginning of it.
const NEEDLE_BYTES_MAX: usize = 32;

/// What is looked for.
#[derive(Default)]
pub(super) struct Needles {
    /// Every form of every needle; deduplicated.
    forms: BTreeSet<Vec<u8>>,
    /// Values as given.
    values: BTreeSet<Vec<u8>>,
}

/// What a search found.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(super) struct Found {
    pub(super) files: usize,
    pub(super) bytes: u64,
    pub(super) hits: usize,
}

impl Needles {
    /// Adds a text: as UTF-8, UTF-16 of both orders and base64. Texts below six bytes are left out.
    pub(super) fn add_text(&mut self, text: &str) {
        if text.len() < NEEDLE_BYTES_MIN {
            return;
        }
        self.add_bytes(text.as_bytes());
        for wide in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
            let bytes: Vec<u8> = text.encode_utf16().flat_map(wide).collect();
            self.insert(bytes);
        }
    }

    /// Adds raw bytes, also as base64.
    pub(super) fn add_bytes(&mut self, bytes: &[u8]) {
        if bytes.len() < NEEDLE_BYTES_MIN {
            return;
        }
        let cut = &bytes[..bytes.len().min(NEEDLE_BYTES_MAX)];
        self.values.insert(cut.to_vec());
        self.insert(cut.to_vec());
        for lead in 0..3 {
            let mut padded = vec![0; lead];
            padded.extend(cut);
            let text = STANDARD_NO_PAD.encode(&padded);
            // Only characters made of nothing but the needle's own bits.
            let (from, to) = ((lead * 8).div_ceil(6), padded.len() * 8 / 6);
            self.insert(text.as_bytes()[from..to].to_vec());
        }
    }

    fn insert(&mut self, mut form: Vec<u8>) {
        form.truncate(NEEDLE_BYTES_MAX);
        self.forms.insert(form);
    }

    /// Number of distinct needles, forms not counted.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Every form in one file: the deliberately plain copy that the same search must find everything in.
    pub(super) fn write_plain_copy(&self, path: &Path) -> io::Result<usize> {
        let mut copy = Vec::new();
        for form in &self.forms {
            copy.extend(form);
            copy.push(b'\n');
        }
        fs::write(path, copy)?;
        Ok(self.forms.len())
    }

    /// Prepares the search.
    pub(super) fn searcher(&self) -> Searcher<'_> {
        let mut searcher = Searcher { by_begin: HashMap::new(), sieve: vec![0; 1 << 17] };
        for form in &self.forms {
            let begin = begin_of(form);
            searcher.by_begin.entry(begin).or_default().push(form);
            let slot = slot_of(begin);
            searcher.sieve[slot / 8] |= 1 << (slot % 8);
        }
        searcher
    }
}

fn begin_of(bytes: &[u8]) -> u64 {
    bytes[..NEEDLE_BYTES_MIN].iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

fn slot_of(begin: u64) -> usize {
    usize::try_from(begin.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44).unwrap_or(0)
}

/// A prepared search: six bytes at a time against a sieve, then the whole form.
pub(super) struct Searcher<'a> {
    by_begin: HashMap<u64, Vec<&'a Vec<u8>>>,
    sieve: Vec<u8>,
}

impl Searcher<'_> {
    /// Searches every file below a folder and counts distinct forms found. Files that vanish meanwhile are passed over.
    pub(super) fn search(&self, folder: &Path) -> io::Result<Found> {
        let (mut found, mut hits) = (Found::default(), BTreeSet::new());
        let mut open = vec![folder.to_owned()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    open.push(entry.path());
                    continue;
                }
                let bytes = match fs::read(entry.path()) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    bytes => bytes?,
                };
                found.files += 1;
                found.bytes += bytes.len() as u64;
                self.search_bytes(&bytes, &mut hits);
            }
        }
        Ok(Found { hits: hits.len(), ..found })
    }

    fn search_bytes<'a>(&'a self, bytes: &[u8], hits: &mut BTreeSet<&'a [u8]>) {
        for at in 0..(bytes.len() + 1).saturating_sub(NEEDLE_BYTES_MIN) {
            let rest = &bytes[at..];
            let begin = begin_of(rest);
            let slot = slot_of(begin);
            if self.sieve[slot / 8] & 1 << (slot % 8) == 0 {
                continue;
            }
            if let Some(forms) = self.by_begin.get(&begin) {
                hits.extend(forms.iter().filter(|form| rest.starts_with(form)).map(|form| form.as_slice()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(needles: &Needles, bytes: &[u8]) -> usize {
        let searcher = needles.searcher();
        let mut hits = BTreeSet::new();
        searcher.search_bytes(bytes, &mut hits);
        hits.len()
    }

    #[test]
    fn a_value_is_found_in_every_form_and_at_every_place() {
        let mut needles = Needles::default();
        needles.add_text("Kåre Ødegård");
        for lead in 0..4 {
            let mut plain = vec![b'x'; lead];
            plain.extend("Kåre Ødegård".as_bytes());
            plain.extend(b"yz");
            assert_eq!(hits(&needles, &plain), 1, "UTF-8 after {lead}");
            assert_eq!(hits(&needles, STANDARD_NO_PAD.encode(&plain).as_bytes()), 1, "base64 after {lead}");
            let wide = String::from_utf8(plain).expect("text");
            let wide: Vec<u8> = wide.encode_utf16().flat_map(u16::to_le_bytes).collect();
            assert!(hits(&needles, &wide) >= 1, "UTF-16 after {lead}");
        }
        assert_eq!(hits(&needles, b"Kare Odegard and others"), 0);
    }

    #[test]
    fn a_plain_copy_holds_every_form() {
        let mut needles = Needles::default();
        (0..50).for_each(|n| needles.add_text(&format!("value number {n}")));
        let folder = tempfile::tempdir().expect("a folder");
        let forms = needles.write_plain_copy(&folder.path().join("plain")).expect("writes");
        assert_eq!(needles.searcher().search(folder.path()).expect("reads").hits, forms);
    }
}
