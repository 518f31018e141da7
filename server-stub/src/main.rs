//! The `haversack-server` binary.

use std::process::ExitCode;

use clap::Parser;
use haversack_server::command::{Command, run};
use tracing_subscriber::EnvFilter;

/// Reference sync server of Haversack: decides on what devices send and gives them what they may see.
#[derive(Parser)]
#[command(
    version,
    after_help = "Logs go to standard error; RUST_LOG=debug shows more. Try `haversack-server serve --help`."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
