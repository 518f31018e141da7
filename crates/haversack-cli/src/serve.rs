//! `haversack serve`: the reference server, the same as `haversack-server`.

use std::process::ExitCode;

use haversack_server::command::{Command, ProveArgs, ServeArgs, TokenArgs, run as serve};

use crate::exit::Exit;

/// What the server does: `serve` alone serves.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Prints {\"listening\":\"ADDRESS:PORT\"} once it answers. Put a
proxy that speaks TLS in front of it. Ends with Ctrl-C.

Example:
  haversack serve token --tokens tokens.jsonl \\
      --principal kari --role coordinator
  haversack serve --database server.db --tenant north \\
      --schema schema.json --rules rules.json \\
      --tokens tokens.jsonl --listen 127.0.0.1:7300")]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    serve: Option<ServeArgs>,
    #[command(subcommand)]
    command: Option<ServeCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum ServeCommand {
    /// Issue a token for a person and print it, once.
    Token(TokenArgs),
    /// Digest the state of a database, beside a running server too.
    Prove(ProveArgs),
}

/// Does what the server was told.
pub(crate) async fn run(arguments: ServeArguments, is_json: bool) -> ExitCode {
    let command = match (arguments.command, arguments.serve) {
        (Some(ServeCommand::Token(arguments)), _) => Command::Token(arguments),
        (Some(ServeCommand::Prove(arguments)), _) => Command::Prove(arguments),
        (None, Some(arguments)) => Command::Serve(arguments),
        (None, None) => return Exit::Usage.into(),
    };
    match serve(command).await {
        Ok(()) => Exit::Done.into(),
        Err(error) => crate::tell(&error.into(), is_json).into(),
    }
}
