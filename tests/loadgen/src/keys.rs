//! Whether the limiter gets slower with the number of keys in Redis.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use stack::Redis;

use crate::caller::latencies;
use crate::limiter::Limiter;
use crate::measured::{Ratios, median, percentile};
use crate::report::aligned;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Keys of the Redis that is full; each takes about 150 bytes.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    keys: u32,
    /// Checks at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    at_once: u16,
    /// How often each is measured, in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each is driven in a round, in milliseconds.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(100..))]
    millis: u32,
}

/// Keys of the Redis that is all but empty, and callers that are asked about there.
const FEW: u32 = 1_000;
/// Keys that are written by one call of a script.
const CHUNK: u32 = 10_000;

/// Of one limiter, in each round, in microseconds.
struct Seen {
    keys: u32,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let limiters = [(FEW, Limiter::start().await?), (arguments.keys, Limiter::start().await?)];
    let mut seen = Vec::new();
    for (keys, limiter) in &limiters {
        eprintln!("writing {keys} counters");
        fill(&limiter.redis, *keys).await?;
        seen.push(Seen { keys: *keys, p50: Vec::new(), p99: Vec::new() });
    }
    let duration = Duration::from_millis(arguments.millis.into());
    for round in 1..=arguments.rounds {
        eprintln!("round {round} of {}", arguments.rounds);
        for ((keys, limiter), seen) in limiters.iter().zip(&mut seen) {
            let callers = usize::try_from(*keys)?;
            let latencies = latencies(&limiter.service, arguments.at_once.into(), callers, duration).await?;
            seen.p50.push(percentile(&latencies, 50).as_secs_f64() * 1e6);
            seen.p99.push(percentile(&latencies, 99).as_secs_f64() * 1e6);
        }
    }
    println!("{} Checks at a time, {} rounds of {duration:?}\n", arguments.at_once, arguments.rounds);
    println!("{}", table(&seen));
    Ok(())
}

/// Counters as a fixed window leaves them, of which those that Checks ask about are found and added to.
async fn fill(redis: &Redis, keys: u32) -> anyhow::Result<()> {
    let script = "local value = struct.pack('<dd', 1, redis.call('TIME')[1] * 1000000 + 3600000000) \
                  for caller = ARGV[1], ARGV[2] do \
                  local name = string.format('caller-%d', caller) \
                  local key = string.format('rl:{5:bench6:caller%d:%s}5:calls:fixed_window:3600000000', #name, name) \
                  redis.call('SET', key, value, 'PX', 3600000) end";
    for first in (0..keys).step_by(CHUNK.try_into()?) {
        let last = (first + CHUNK).min(keys) - 1;
        redis.ask(&format!("EVAL \"{script}\" 0 {first} {last}")).await?;
    }
    let size = redis.ask("DBSIZE").await?;
    let size: u32 = size.first().context("no size")?.parse()?;
    ensure!(size >= keys, "{size} keys were written");
    Ok(())
}

fn table(seen: &[Seen]) -> String {
    let of = |values: &[f64]| format!("{:.0}", median(values.iter().copied()));
    let base = seen.first().map(|few| few.p99.clone()).unwrap_or_default();
    let row = |seen: &Seen| {
        let ratios = Ratios::of(&seen.p99, &base);
        [seen.keys.to_string(), of(&seen.p50), of(&seen.p99), ratios.to_string()]
    };
    let head = ["keys", "p50 µs", "p99 µs", "ratio of p99 (min to max)"].map(str::to_owned);
    aligned(&[head].into_iter().chain(seen.iter().map(row)).collect::<Vec<_>>())
}
