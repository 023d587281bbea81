//! Compares the product with a bare tonic echo of the same payload: both are driven by h2load in turn, several rounds in
//! one run, since only what was measured side by side on the same machine compares.

mod bench;
mod driven;
mod echo;
mod h2load;
mod measured;
mod report;
mod shape;
mod system;
mod usage;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::shape::Shape;

#[derive(Parser)]
#[command(about, version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the echo that the product is compared with.
    #[command(hide = true)]
    Echo(echo::Arguments),
}

#[derive(Args)]
struct Options {
    /// What is called.
    #[arg(long, value_enum, default_value_t = Call::Get)]
    call: Call,
    /// Drives `standalone` instead of the services.
    #[arg(long)]
    standalone: bool,
    /// Connections and calls in flight on each, as CxM; may be repeated.
    #[arg(long = "shape", default_values = ["1x1", "4x16", "8x32"])]
    shapes: Vec<Shape>,
    /// How often each is measured, in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each is driven in a round, in milliseconds.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(100..))]
    millis: u32,
    /// Length of the snippet that is read.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    body_bytes: u32,
}

/// A call that can be driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Call {
    /// `GetSnippet` of one public snippet, from the cache.
    Get,
    /// `Check` of one caller far below its limit.
    Check,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli { command, options } = Cli::parse();
    match command {
        Some(Command::Echo(arguments)) => echo::serve(arguments).await,
        None => bench::run(&options).await,
    }
}
