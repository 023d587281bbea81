//! Reads while RabbitMQ is away, and how soon their views are counted once it is back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use tokio::time::sleep;

use super::load::{Demand, Readers};
use super::rig::Rig;
use crate::measured::{Ratios, percentile};
use crate::report::aligned;
use crate::usage;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    demand: Demand,
    /// How long RabbitMQ is away, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

/// RabbitMQ 3.10 loses queues that were declared within 3 s before it is killed.
const QUEUES_ARE_SAFE_AFTER: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let demand = arguments.demand;
    let rig = Rig::start().await?;
    let bench = Bench { readers: Readers::of(&rig, demand).await?, rig };
    let away = Duration::from_secs(arguments.seconds.into());
    sleep(QUEUES_ARE_SAFE_AFTER).await;
    let before = bench.phase("RabbitMQ works", away).await?;
    bench.rig.rabbitmq().kill();
    let during = bench.phase("RabbitMQ is away", away).await?;
    bench.rig.rabbitmq().restart().await?;
    let all_counted = bench.until_counted(before.views + during.views).await?;

    let row = |phase: &Phase| {
        let [p50, p99] = [50, 99].map(|percent| format!("{:.0}", micros(&phase.reads, percent)));
        [phase.name.to_owned(), phase.views.to_string(), p50, p99, phase.rss_kib.to_string()]
    };
    let head = ["", "views", "Get p50 µs", "Get p99 µs", "replica's RSS KiB at most"].map(str::to_owned);
    println!("{} views a second of {} snippets\n", demand.per_second, demand.snippets);
    println!("{}", aligned(&[head, row(&before), row(&during)]));
    let ratio = Ratios::of(&[micros(&during.reads, 99)], &[micros(&before.reads, 99)]);
    println!("ratio of p99: {ratio}\nall views are counted {all_counted:.1?} after its return");
    Ok(())
}

struct Bench {
    rig: Rig,
    readers: Readers,
}

struct Phase {
    name: &'static str,
    views: u64,
    reads: Vec<Duration>,
    rss_kib: u64,
}

impl Bench {
    async fn phase(&self, name: &'static str, duration: Duration) -> anyhow::Result<Phase> {
        eprintln!("{name}, for {duration:?}");
        let pid = self.rig.replica()?.pid().context("the replica is gone")?;
        let load = self.readers.start()?;
        let (began, mut rss_kib) = (Instant::now(), 0);
        while began.elapsed() < duration {
            rss_kib = rss_kib.max(usage::resident_kib(pid)?);
            sleep(POLL_INTERVAL).await;
        }
        let reads = load.stop().await?;
        Ok(Phase { name, views: reads.len().try_into()?, reads, rss_kib })
    }

    /// How long it takes until that many are counted, and no more.
    async fn until_counted(&self, views: u64) -> anyhow::Result<Duration> {
        let since = Instant::now();
        loop {
            let counted = self.rig.counted().await?;
            ensure!(counted <= views, "{counted} views are counted, of {views}");
            if counted == views {
                return Ok(since.elapsed());
            }
            ensure!(since.elapsed() < PATIENCE, "only {counted} of {views} views are counted");
            sleep(POLL_INTERVAL).await;
        }
    }
}

fn micros(reads: &[Duration], percent: usize) -> f64 {
    percentile(reads, percent).as_secs_f64() * 1e6
}
