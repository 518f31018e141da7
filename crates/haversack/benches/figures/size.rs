//! What the library adds to an app: the bytes of its code and constants, by part, in the smallest app there is.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pages::Size;
use crate::world::Outcome;

/// Archives of C code, by the name of their part.
const ARCHIVES: [(&str, &str); 4] = [
    ("libcrypto.a", "OpenSSL (inside SQLCipher)"),
    ("libsqlcipher.a", "SQLCipher"),
    ("libzstd.a", "zstd"),
    ("libring_core", "ring"),
];
/// Rust code, by the crates a symbol's name begins with.
const CRATES: [(&str, &str); 16] = [
    ("haversack", "Haversack"),
    ("automerge", "Automerge"),
    ("hexane", "Automerge"),
    ("reqwest", "HTTP and TLS"),
    ("hyper", "HTTP and TLS"),
    ("http", "HTTP and TLS"),
    ("rustls", "HTTP and TLS"),
    ("webpki", "HTTP and TLS"),
    ("tungstenite", "HTTP and TLS"),
    ("url", "HTTP and TLS"),
    ("idna", "HTTP and TLS"),
    ("icu_", "HTTP and TLS"),
    ("tokio", "tokio"),
    ("ring", "ring"),
    ("std", "Rust's standard library"),
    ("core", "Rust's standard library"),
];
const REST: &str = "everything else";

/// Builds the smallest app for release and takes it apart.
pub(crate) fn measure() -> Outcome<Vec<Size>> {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--release", "--package", "haversack", "--example", "smallest"]);
    if !build.status()?.success() {
        return Err("the smallest app does not build".into());
    }
    let target = std::env::current_exe()?.ancestors().nth(2).ok_or("a folder of releases")?.to_owned();
    let parts = archives(&target.join("build"))?;
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    let app = target.join("examples/smallest");
    for (symbol, bytes) in symbols(&app)? {
        *sizes.entry(part_of(&symbol, &parts)).or_default() += bytes;
    }
    let mut sizes: Vec<Size> =
        sizes.into_iter().map(|(part, bytes)| Size { part: part.to_owned(), bytes }).collect();
    sizes.sort_by_key(|size| std::cmp::Reverse(size.bytes));
    let stripped = target.join("examples/smallest-stripped");
    Command::new("strip").arg("-o").arg(&stripped).arg(&app).status()?;
    sizes.push(Size { part: "the whole app, stripped".to_owned(), bytes: fs::metadata(stripped)?.len() });
    Ok(sizes)
}

/// Every symbol of the archives of C code, with its part.
fn archives(builds: &Path) -> Outcome<HashMap<String, &'static str>> {
    let mut parts = HashMap::new();
    for path in files_below(builds)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let part = ARCHIVES.iter().find(|(begin, _)| name.starts_with(begin) && name.ends_with(".a"));
        if let Some((_, part)) = part {
            let symbols = symbols(&path)?;
            parts.extend(symbols.into_iter().map(|(symbol, _)| (symbol, *part)));
        }
    }
    Ok(parts)
}

fn files_below(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(files_below(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

/// Symbols that take room in the file, with their bytes.
fn symbols(file: &Path) -> Outcome<Vec<(String, u64)>> {
    let told =
        Command::new("nm").args(["--print-size", "--defined-only", "--demangle"]).arg(file).output()?;
    let told = String::from_utf8_lossy(&told.stdout);
    let read = |line: &str| {
        let mut words = line.splitn(4, ' ');
        let (_, size, kind, name) = (words.next()?, words.next()?, words.next()?, words.next()?);
        // Zeros at start take no room in the file.
        (!kind.eq_ignore_ascii_case("b")).then_some((name.to_owned(), u64::from_str_radix(size, 16).ok()?))
    };
    Ok(told.lines().filter_map(read).collect())
}

fn part_of(symbol: &str, parts: &HashMap<String, &'static str>) -> &'static str {
    if let Some(part) = parts.get(symbol) {
        return part;
    }
    // `<a::B as c::D>::e` is a's.
    let name = symbol.trim_start_matches(['<', '&', '*', '(', '[']);
    CRATES.iter().find(|(begin, _)| name.starts_with(begin)).map_or(REST, |(_, part)| part)
}
