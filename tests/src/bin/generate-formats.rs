//! Makes the fixture of today's formats, under `tests/data/formats`. One that is there is never replaced: it is what a
//! released library wrote.

use std::io::{self, Write as _};
use std::process::ExitCode;

use haversack_tests::{Fixture, make_fixture};

#[tokio::main]
async fn main() -> ExitCode {
    let kept = async {
        let folder = tempfile::tempdir()?;
        let held = make_fixture(folder.path()).await;
        Fixture::keep(folder.path(), &held)
    };
    match kept.await {
        Ok(path) => {
            let told = writeln!(io::stdout(), "{}", path.display());
            told.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
        }
        Err(error) => {
            // Without standard error there is nobody to tell.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}
