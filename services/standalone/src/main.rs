//! `standalone`: the whole system in one process, on SQLite and memory.

mod config;
mod data_dir;
mod embedded;
mod startup;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    chassis::run_to_completion(startup::run(config::Cli::parse()))
}
