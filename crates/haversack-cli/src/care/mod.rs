//! Looking after a store from outside: what it is, what is left of it, its copies, its key and its recovery slots. But for
//! the making of a backup none of these commands opens a store, so each works where opening is refused.

mod backup;
mod bundle;
mod doctor;
mod public_key;
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
    /// Copy a store, encrypted; go back to a copy.
    Backup(backup::BackupArguments),
    /// Give a store a new key.
    Rekey(rekey::RekeyArguments),
    /// Keep the key in a slot; bring it back.
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
        CareCommand::Backup(arguments) => backup::run(&store, screen, arguments),
        CareCommand::Rekey(arguments) => rekey::run(&store, screen, &arguments),
        CareCommand::Recovery(arguments) => recovery::run(&store, screen, arguments),
    });
    done.await.unwrap_or_else(|broken| std::panic::resume_unwind(broken.into_panic()))
}
