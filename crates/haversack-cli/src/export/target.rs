//! Where an export goes: the standard output, or a file that appears under its name only once it is whole.

use std::fs::File;
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use tempfile::NamedTempFile;

use crate::failure::Failure;

/// Beginning of the name a file has until it is whole.
const UNFINISHED: &str = ".haversack-export-";

/// Where lines go.
pub(super) enum Target {
    /// The standard output.
    Screen(BufWriter<Stdout>),
    /// A file beside its final name, readable by its owner only. Removed unless it is finished.
    File {
        /// The file as long as it is not whole.
        unfinished: BufWriter<NamedTempFile>,
        /// Its name then.
        path: PathBuf,
    },
}

impl Target {
    /// The file of that name, or the standard output.
    ///
    /// # Errors
    /// [`Failure::File`].
    pub(super) fn open(output: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = output else { return Ok(Self::Screen(BufWriter::new(io::stdout()))) };
        let unfinished =
            tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder_of(path)).map_err(failed)?;
        Ok(Self::File { unfinished: BufWriter::new(unfinished), path: path.to_owned() })
    }

    /// Writes one line.
    ///
    /// # Errors
    /// [`Failure::Output`], also when nobody reads any more, or [`Failure::File`].
    pub(super) fn line(&mut self, json: &Json) -> Result<(), Failure> {
        match self {
            Self::Screen(out) => Ok(writeln!(out, "{json}")?),
            Self::File { unfinished, .. } => writeln!(unfinished, "{json}").map_err(failed),
        }
    }

    /// Makes what was written durable, and gives the file its name.
    ///
    /// # Errors
    /// As [`Target::line`]; there is no file of that name then but one that was there before.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Screen(mut out) => Ok(out.flush()?),
            Self::File { unfinished, path } => {
                let file = unfinished.into_inner().map_err(|error| failed(error.into_error()))?;
                file.as_file().sync_all().map_err(failed)?;
                file.persist(&path).map_err(|error| failed(error.error))?;
                if cfg!(unix) {
                    File::open(folder_of(&path)).and_then(|folder| folder.sync_all()).map_err(failed)?;
                }
                Ok(())
            }
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failed(source: io::Error) -> Failure {
    Failure::File { what: "the export file".to_owned(), source }
}
