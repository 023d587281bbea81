//! `snippets`: serves the API, or migrates its schema.

use std::process::ExitCode;

use clap::Parser as _;
use snippets::{config::Cli, startup};

fn main() -> ExitCode {
    chassis::run_to_completion(startup::run(Cli::parse()))
}
