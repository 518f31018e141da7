//! The ledger: what was erased, outside of the database, so that an older database put in its place is cleaned before it
//! serves.
//!
//! One JSON line per erasure, written and flushed before the database changes. It names nothing: hashes of record ids, and
//! names of the schema's fields.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use haversack_protocol::{ErasedName, ErasureId, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::ServerError;

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LedgerLine {
    pub(super) erasure: ErasureId,
    /// Stands for the record.
    pub(super) record: ErasedName,
    /// Fields erased; absent: the whole record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fields: Option<Vec<String>>,
    /// When, in milliseconds since 1970.
    pub(super) at: UnixMillis,
}

/// Where the ledger of a database lies.
pub(super) fn path_of(database: &Path) -> PathBuf {
    let mut name = database.file_name().unwrap_or_default().to_owned();
    name.push(".erasures");
    database.with_file_name(name)
}

/// Reads the ledger; without a file nothing was ever erased.
///
/// # Errors
/// [`ServerError::Ledger`] for a line that does not read: serving without it could bring back what was erased.
pub(super) fn read(path: &Path) -> Result<Vec<LedgerLine>, ServerError> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        text => text.map_err(ServerError::file(path))?,
    };
    let line = |(index, line): (usize, &str)| {
        let damaged = || ServerError::Ledger { path: path.to_owned(), line: index + 1 };
        serde_json::from_str(line).map_err(|_| damaged())
    };
    text.lines().enumerate().filter(|(_, line)| !line.is_empty()).map(line).collect()
}

/// Adds a line and waits until it is on the disk.
pub(super) fn append(path: &Path, line: &LedgerLine) -> Result<(), ServerError> {
    append_to(path, line).map_err(ServerError::file(path))
}

fn append_to(path: &Path, line: &LedgerLine) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let mut text = serde_json::to_string(line).expect("a ledger line is plain JSON");
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    #[cfg(unix)]
    if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}
