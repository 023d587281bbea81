//! Runs real servers for a command, or the whole product until Ctrl-C.

mod commands {
    pub(crate) mod exec;
    pub(crate) mod up;
}
mod interrupt;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{exec, up};

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts Postgres, two Redis and `RabbitMQ`, runs a command that finds them through the `STACK_*`
    /// variables, and ends them. Uses the servers that these variables name where they are set already.
    Exec(exec::Arguments),
    /// Runs the whole product until Ctrl-C: the servers, migrations and all services.
    Up(up::Arguments),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Exec(arguments) => exec::run(arguments).await,
        Command::Up(arguments) => up::run(arguments).await,
    }
}
