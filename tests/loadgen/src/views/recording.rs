//! What recording a view costs the read.

use std::time::Duration;

use clap::Args;
use stack::Service;

use crate::calls::{Call, Prepared};
use crate::driven::{Driven, Server};
use crate::measured::{Measured, Ratios, median};
use crate::report::aligned;
use crate::shape::Shape;
use crate::system::System;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Connections and calls in flight on each, as CxM; may be repeated.
    #[arg(long = "shape", default_values = ["1x1", "4x16", "8x32"])]
    shapes: Vec<Shape>,
    /// How often each is measured, in turn.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each is driven in a round, in milliseconds.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(100..))]
    millis: u32,
}

/// So short that the answers with and without it are of a size.
const BODY_BYTES: u32 = 1;

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let system = System::on_servers().await?;
    let service = system.serving("snippets")?;
    let (full, basic) = (prepared(Call::Get, service).await?, prepared(Call::GetBasic, service).await?);
    let duration = Duration::from_millis(arguments.millis.into());
    let head =
        ["shape", "BASIC p99 µs", "FULL p99 µs", "ratio (min to max)", "BASIC/s", "FULL/s", "ratio of rates"];
    let mut rows = vec![head.map(str::to_owned)];
    for &shape in &arguments.shapes {
        let mut runs: [Vec<Measured>; 2] = Default::default();
        for round in 1..=arguments.rounds {
            eprintln!("{shape}, round {round} of {}", arguments.rounds);
            for (driven, runs) in [&basic, &full].into_iter().zip(&mut runs) {
                runs.push(Measured::of(driven, shape, duration).await?);
            }
        }
        rows.push(row(shape, &runs));
    }
    println!("{} rounds of {duration:?}\n\n{}", arguments.rounds, aligned(&rows));
    Ok(())
}

async fn prepared(call: Call, service: &Service) -> anyhow::Result<Driven<'_>> {
    let prepared: Prepared<'_> = call.prepare(Server::Service(service), BODY_BYTES).await;
    Ok(prepared?.0)
}

fn row(shape: Shape, runs: &[Vec<Measured>; 2]) -> [String; 7] {
    let [basic_p99, full_p99] = runs.each_ref().map(|runs| of(runs, |run| run.p99_micros));
    let [basic_rate, full_rate] = runs.each_ref().map(|runs| of(runs, |run| run.per_second));
    let number = |values: &[f64]| format!("{:.0}", median(values.iter().copied()));
    [
        shape.to_string(),
        number(&basic_p99),
        number(&full_p99),
        Ratios::of(&full_p99, &basic_p99).to_string(),
        number(&basic_rate),
        number(&full_rate),
        Ratios::of(&full_rate, &basic_rate).to_string(),
    ]
}

fn of(runs: &[Measured], value: fn(&Measured) -> f64) -> Vec<f64> {
    runs.iter().map(value).collect()
}
