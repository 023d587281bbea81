//! Runs the product under random faults, and compares what clients were answered with what is counted.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use faults::conservation::Plan;
use rand::random_range;

const FAILED: u8 = 1;
const COULD_NOT_RUN: u8 = 2;

/// Kills, freezes, cuts off and starves everything that a view goes through, under load, and then demands that every view
/// that a client was answered is counted, once. Exits with 1 if it is not so, with 2 if it could not run.
///
/// A seed repeats the faults, their times, and for each reader the order of its reads. It can't repeat the snippets' ids,
/// how readers and faults interleave to the millisecond, which batches there are, and with that which come again.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// What the schedule follows from; drawn by chance, and printed, if not given
    #[arg(long)]
    seed: Option<u64>,
    /// How long there is load and faults; it takes some 20 s more to start and to come to rest
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(10..=3600))]
    seconds: u64,
    /// How many schedules to run, of consecutive seeds
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    schedules: u64,
    /// Kills replicas of snippets, too: what they had not sent yet may be lost, and nothing else
    #[arg(long)]
    kill_replicas: bool,
    /// Gives replicas a folder for what they have not sent yet: hardly anything may be lost
    #[arg(long, requires = "kill_replicas")]
    spool: bool,
    /// Prints the schedules, and runs nothing
    #[arg(long)]
    list: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let first = cli.seed.unwrap_or_else(|| random_range(0..1_000_000));
    let mut worst = 0;
    for seed in (0..cli.schedules).map(|number| first.wrapping_add(number)) {
        let length = Duration::from_secs(cli.seconds);
        let plan = Plan { seed, length, kill_replicas: cli.kill_replicas, spool: cli.spool };
        if cli.list {
            println!("{}", plan.schedule());
        } else {
            worst = worse(worst, run(&plan).await);
        }
    }
    ExitCode::from(worst)
}

async fn run(plan: &Plan) -> u8 {
    let (result, code) = match plan.run().await {
        Ok(outcome) if outcome.is_pass() => ("PASS", 0),
        Ok(_) => ("FAIL", FAILED),
        Err(error) => {
            println!("{error:#}");
            ("COULD NOT RUN", COULD_NOT_RUN)
        }
    };
    println!("{result}  {}\n", plan.command());
    code
}

/// A failure says more than a run that was none.
fn worse(one: u8, other: u8) -> u8 {
    if [one, other].contains(&FAILED) { FAILED } else { one.max(other) }
}
