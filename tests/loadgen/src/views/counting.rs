//! The worker beside one UPDATE for each view, on the same Postgres.

use anyhow::ensure;
use clap::Args;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use stack::Service;

use super::pipeline::{Pipeline, counted, until_counted};
use super::popularity::{Popularity, ZIPF_EXPONENT};
use super::windows::window;
use crate::measured::{Ratios, median};
use crate::report::aligned;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Snippets that are viewed, some far more often than others.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    snippets: u32,
    /// Views that the workers count in each round.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    views: u32,
    /// Views in one batch: what a replica counts in 200 ms.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// Connections that update.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// How long these are driven in each round, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// How often each is measured, in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let pipeline = Pipeline::start().await?;
    let bench = Bench { popularity: Popularity::zipf(arguments.snippets)?, pipeline, arguments };
    let (mut updates, mut one, mut two) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=arguments.rounds {
        eprintln!("round {round} of {}", arguments.rounds);
        updates.push(bench.updates().await?);
        one.push(bench.workers(1, round).await?);
        two.push(bench.workers(2, round).await?);
    }
    let Arguments { snippets, window, connections, .. } = arguments;
    println!("{snippets} snippets, Zipf {ZIPF_EXPONENT}; batches of {window} views\n");
    let row = |name: String, rates: &[f64], base: &[f64]| {
        [name, format!("{:.0}", median(rates.iter().copied())), Ratios::of(rates, base).to_string()]
    };
    println!(
        "{}",
        aligned(&[
            ["", "views/s", "ratio to the line above (min to max)"].map(str::to_owned),
            row(format!("an UPDATE each, {connections} connections"), &updates, &updates),
            row("one worker".to_owned(), &one, &updates),
            row("two workers".to_owned(), &two, &one),
        ])
    );
    Ok(())
}

struct Bench<'a> {
    pipeline: Pipeline,
    popularity: Popularity,
    arguments: &'a Arguments,
}

impl Bench<'_> {
    /// Views a second by pgbench.
    async fn updates(&self) -> anyhow::Result<f64> {
        let Arguments { snippets, connections, seconds, .. } = self.arguments;
        self.pipeline.fill(*snippets).await?;
        let script = format!(
            "\\set i random_zipfian(0, {snippets} - 1, {ZIPF_EXPONENT})\n\
             UPDATE views.totals_by_stripe SET views = views + 1 WHERE snippet_id = 's' || lpad(:i::text, 10, '0');\n"
        );
        self.pipeline.database().pgbench(&script, *connections, *seconds).await
    }

    /// Views a second by that many workers, until the queue is empty.
    async fn workers(&self, count: usize, seed: u32) -> anyhow::Result<f64> {
        let Arguments { snippets, views, window: size, .. } = *self.arguments;
        self.pipeline.fill(snippets).await?;
        let mut rng = StdRng::seed_from_u64(seed.into());
        let batches = views.div_ceil(size);
        let batch = |_| window((0..size).map(|_| self.popularity.draw(&mut rng)));
        let workers = self.pipeline.frozen_workers(count).await?;
        self.pipeline.publish((0..batches).map(batch)).await?;
        workers.iter().for_each(Service::resume);
        let first = counted(&workers).await?;
        let all = u64::from(batches) * u64::from(size);
        let last = until_counted(&workers, all).await?;
        let total = self.pipeline.total().await?;
        ensure!(total == all, "{total} views are counted, of {all}");
        Ok(last.rate_since(first))
    }
}
