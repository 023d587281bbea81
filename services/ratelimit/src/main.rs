//! `ratelimit`: says whether requests may pass.

use std::process::ExitCode;

use clap::Parser as _;
use ratelimit::{config::Cli, startup};

fn main() -> ExitCode {
    chassis::run_to_completion(startup::run(Cli::parse()))
}
