//! A long queue of batches over many snippets: whether the worker keeps its pace and its size.

use anyhow::{Context as _, ensure};
use clap::Args;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use stack::Service;

use super::pipeline::{Pipeline, counted, until_counted};
use super::windows::window;
use crate::report::aligned;
use crate::usage;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Snippets that are viewed, all alike.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    snippets: u32,
    /// Views in the queue when the worker starts.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(10_000..))]
    views: u32,
    /// Views in one batch.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
}

/// Parts of the way that are told apart.
const PARTS: u32 = 10;

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { snippets, views, window: size } = *arguments;
    let pipeline = Pipeline::start().await?;
    eprintln!("filling tables and queue");
    pipeline.fill(snippets).await?;
    let (mut rng, batches) = (StdRng::seed_from_u64(1), views.div_ceil(size));
    let range = 0..usize::try_from(snippets)?;
    let batch = |_| window((0..size).map(|_| rng.random_range(range.clone())));
    pipeline.publish((0..batches).map(batch)).await?;

    let workers = pipeline.frozen_workers(1).await?;
    workers.iter().for_each(Service::resume);
    let pid = workers.first().and_then(Service::pid).context("the worker is gone")?;
    let mut rows = vec![["views", "views/s", "RSS KiB"].map(str::to_owned)];
    let mut before = counted(&workers).await?;
    let all = u64::from(batches) * u64::from(size);
    for part in 1..=PARTS {
        let now = until_counted(&workers, all * u64::from(part) / u64::from(PARTS)).await?;
        let rate = now.rate_since(before);
        rows.push([now.views.to_string(), format!("{rate:.0}"), usage::resident_kib(pid)?.to_string()]);
        before = now;
    }
    let total = pipeline.total().await?;
    ensure!(total == all, "{total} views are counted, of {all}");
    println!("{snippets} snippets, batches of {size} views\n\n{}", aligned(&rows));
    Ok(())
}
