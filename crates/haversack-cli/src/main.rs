//! The `haversack` command: records, outbox, sync, reference server, demo.
//!
//! Speaks and asks; what an edit means is decided by the library. Never takes a key or token from the command line or
//! the environment, and never prints a value of a sensitive field unless asked.

mod arguments;
mod care;
mod demo;
mod exit;
mod export;
mod failure;
mod import;
mod inspect;
mod keys;
mod notices;
mod outbox;
mod present;
mod progress;
mod record;
mod serve;
mod session;
mod sync;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use arguments::{Arguments, Command};
use exit::Exit;
use failure::Failure;
use session::{Session, with_session};

fn main() -> ExitCode {
    let arguments = match arguments::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(exit) => return exit.into(),
    };
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(Box::pin(dispatch(arguments))),
        Err(error) => tell(&Failure::Threads(error), arguments.store.json).into(),
    }
}

async fn dispatch(arguments: Arguments) -> ExitCode {
    let Arguments { store, command } = arguments;
    match command {
        Command::Demo(arguments) => Box::pin(demo::run(arguments, store.json)).await,
        Command::Phone => Box::pin(demo::run_phone()).await,
        Command::Server(arguments) => Box::pin(demo::run_server(arguments)).await,
        Command::Serve(arguments) => {
            log_to_stderr(false);
            Box::pin(serve::run(arguments, store.json)).await
        }
        Command::Care(command) => {
            let is_json = store.json;
            care::run(store, command).await.unwrap_or_else(|failure| tell(&failure, is_json)).into()
        }
        command => {
            log_to_stderr(store.json);
            let worked = with_session(&store, async |session| Box::pin(work(session, command)).await).await;
            worked.unwrap_or_else(|failure| tell(&failure, store.json)).into()
        }
    }
}

async fn work(session: &Session, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Create(arguments) => record::create::run(session, arguments).await,
        Command::Edit(arguments) => record::edit::run(session, arguments).await,
        Command::Delete(arguments) => record::edit::delete(session, arguments).await,
        Command::Restore(arguments) => record::edit::restore(session, arguments).await,
        Command::Get(arguments) => record::get::run(session, arguments).await,
        Command::List(arguments) => record::list::run(session, arguments).await,
        Command::Watch(arguments) => record::watch::run(session, arguments).await,
        Command::Override(arguments) => record::mark::put(session, arguments).await,
        Command::Release(arguments) => record::mark::release(session, arguments).await,
        Command::Conflicts(arguments) => record::conflicts::run(session, arguments).await,
        Command::History(arguments) => record::history::run(session, arguments).await,
        Command::Why(arguments) => record::why::run(session, arguments).await,
        Command::Notices(arguments) => notices::run(session, arguments).await,
        Command::Outbox(arguments) => outbox::run(session, arguments).await,
        Command::Sync(arguments) => sync::run(session, arguments).await,
        Command::Inspect(arguments) => inspect::run(session, arguments).await,
        Command::Export(arguments) => export::run(session, arguments).await,
        Command::Import(arguments) => import::run(session, arguments).await,
        Command::Demo(_) | Command::Serve(_) | Command::Care(_) | Command::Phone | Command::Server(_) => {
            Ok(Exit::Done)
        }
    }
}

/// Tells why the command failed. A reader that left early wanted no more: that is no failure.
fn tell(failure: &Failure, is_json: bool) -> Exit {
    if failure.is_broken_pipe() {
        return Exit::Done;
    }
    let told = if is_json { failure.to_json().to_string() } else { format!("error: {failure}") };
    // Nobody reading errors either is fine: the exit code says it.
    let _ = writeln!(io::stderr(), "{told}");
    failure.exit()
}

/// Shows warnings of the library to people; programs read one JSON value there and nothing else.
fn log_to_stderr(is_json: bool) {
    if is_json {
        return;
    }
    let has_colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(has_colour).with_writer(io::stderr).init();
}
