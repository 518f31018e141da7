//! Looking after a store from outside: what it is, what is left of it, its key and its recovery slot. None of these
//! commands opens a store, so each works where opening is refused.

mod doctor;
mod recovery;
mod rekey;
mod salvage;

use crate::arguments::StoreArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::present::Screen;

/// Looking after a store.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CareCommand {
    /// Explain a store, damaged or not; change nothing.
    Doctor(doctor::DoctorArguments),
    /// Bring what is left of a damaged store into a new one.
    Salvage(salvage::SalvageArguments),
    /// Give a store a new key.
    Rekey(rekey::RekeyArguments),
    /// Keep the key under a passphrase; bring it back.
    Recovery(recovery::RecoveryArguments),
}

/// Does it, beside the threads of the runtime: all of it waits for the disk.
///
/// # Errors
/// What the library refused, or what the command line lacks.
pub(crate) async fn run(store: StoreArguments, command: CareCommand) -> Result<Exit, Failure> {
    let screen = Screen::new(store.json);
    let done = tokio::task::spawn_blocking(move || match command {
        CareCommand::Doctor(arguments) => doctor::run(&store, screen, &arguments),
        CareCommand::Salvage(arguments) => salvage::run(&store, screen, &arguments),
        CareCommand::Rekey(arguments) => rekey::run(&store, screen, &arguments),
        CareCommand::Recovery(arguments) => recovery::run(&store, screen, arguments),
    });
    done.await.unwrap_or_else(|broken| std::panic::resume_unwind(broken.into_panic()))
}
