//! `counter-worker`: consumes view batches, or migrates its schema.

use std::process::ExitCode;

use clap::Parser as _;
use counter_worker::{config::Cli, startup};

fn main() -> ExitCode {
    chassis::run_to_completion(startup::run(Cli::parse()))
}
