//! How long Checks take while Redis is dead or hangs.

use std::time::Duration;

use clap::Args;
use stack::{Redis, until};

use crate::caller::latencies;
use crate::limiter::Limiter;
use crate::measured::percentile;
use crate::report::aligned;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Checks at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    at_once: u16,
    /// How long each phase is driven, in milliseconds.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(100..))]
    millis: u32,
}

/// How long the limiter may take to find out that Redis is away, or back.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is done to Redis, and undone.
type Change = fn(&Redis);

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let outages: [(&str, Change); 2] = [("dead", Redis::kill), ("hangs", Redis::pause)];
    let mut rows = vec![["Redis", "", "Checks", "p50 µs", "p99 µs", "longest µs"].map(str::to_owned)];
    for (name, begin) in outages {
        let limiter = Limiter::start().await?;
        rows.push(row("works", "", &phase(&limiter, arguments).await?));
        begin(&limiter.redis);
        rows.push(row(name, "from the first moment", &phase(&limiter, arguments).await?));
        let open =
            async || limiter.service.metric("ratelimit_breaker_open").await.is_ok_and(|open| open > 0.5);
        until("the breaker is open", PATIENCE, open).await?;
        rows.push(row(name, "with the breaker open", &phase(&limiter, arguments).await?));
        limiter.redis.resume();
    }
    println!("{} Checks at a time, on one connection\n", arguments.at_once);
    println!("{}", aligned(&rows));
    Ok(())
}

async fn phase(limiter: &Limiter, arguments: &Arguments) -> anyhow::Result<Vec<Duration>> {
    let duration = Duration::from_millis(arguments.millis.into());
    latencies(&limiter.service, arguments.at_once.into(), 1_000, duration).await
}

fn row(redis: &str, phase: &str, latencies: &[Duration]) -> [String; 6] {
    let longest = latencies.last().copied().unwrap_or_default();
    let [p50, p99, longest] = [percentile(latencies, 50), percentile(latencies, 99), longest]
        .map(|latency| latency.as_micros().to_string());
    [redis.to_owned(), phase.to_owned(), latencies.len().to_string(), p50, p99, longest]
}
