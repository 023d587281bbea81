//! Measures the product beside something that it compares with, in one run: only what was measured side by side on the same
//! machine compares.

mod caller;
mod calls;
mod compare;
mod driven;
mod echo;
mod growth;
mod h2load;
mod keys;
mod limiter;
mod measured;
mod outage;
mod peer;
mod reads;
mod redis_cost;
mod report;
mod shape;
mod system;
mod usage;
mod views;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    calls::Call,
    shape::Shape,
    views::{backlog, counting, freshness, recording},
};

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
    /// What a Check costs Redis, beside the same script driven by redis-benchmark
    RedisCost(redis_cost::Arguments),
    /// The latency of Checks with many keys in Redis, beside that with few
    Keys(keys::Arguments),
    /// The latency of Checks while Redis is dead or hangs
    Outage(outage::Arguments),
    /// The worker's views a second, beside one UPDATE for each view on the same Postgres
    Counting(counting::Arguments),
    /// The worker's pace and size over a long queue of batches of many snippets
    Backlog(backlog::Arguments),
    /// What snippets take in Postgres, and how fast they go in
    Growth(growth::Arguments),
    /// How long it takes until a view shows in the count
    Freshness(freshness::Arguments),
    /// Reads out of Redis and out of Postgres, in small tables and large ones
    Reads(reads::Arguments),
    /// What recording a view costs GetSnippet, FULL beside BASIC
    Recording(recording::Arguments),
    /// Reads while RabbitMQ is away, and how soon their views are counted once it is back
    BrokerOutage(views::outage::Arguments),
    /// Serves the echo that the product is compared with
    #[command(hide = true)]
    Echo(echo::Arguments),
}

/// Without a command: calls of the product, each beside a bare tonic echo of the same payload.
#[derive(Args)]
struct Options {
    /// What is called; may be repeated.
    #[arg(long = "call", value_enum, default_values = ["get", "check", "check-leased", "check-denied"])]
    calls: Vec<Call>,
    /// A binary of envoyproxy/ratelimit, to be driven as well by the same rules and on the same Redis.
    #[arg(long, conflicts_with = "standalone")]
    envoyproxy: Option<PathBuf>,
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

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli { command, options } = Cli::parse();
    match command {
        Some(Command::RedisCost(arguments)) => redis_cost::run(&arguments).await,
        Some(Command::Keys(arguments)) => keys::run(&arguments).await,
        Some(Command::Outage(arguments)) => outage::run(&arguments).await,
        Some(Command::Counting(arguments)) => counting::run(&arguments).await,
        Some(Command::Backlog(arguments)) => backlog::run(&arguments).await,
        Some(Command::Growth(arguments)) => growth::run(&arguments).await,
        Some(Command::Freshness(arguments)) => freshness::run(&arguments).await,
        Some(Command::Reads(arguments)) => reads::run(&arguments).await,
        Some(Command::Recording(arguments)) => recording::run(&arguments).await,
        Some(Command::BrokerOutage(arguments)) => views::outage::run(&arguments).await,
        Some(Command::Echo(arguments)) => echo::serve(arguments).await,
        None => compare::run(&options).await,
    }
}
