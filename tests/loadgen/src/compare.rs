//! Calls of the product, each beside an echo of the same payload.

use std::env;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::Context as _;
use stack::Service;

use crate::calls::{Prepared, should_rate_limit};
use crate::driven::{Driven, Server};
use crate::measured::{Comparison, Measured};
use crate::peer::{LocalCache, Peer};
use crate::shape::Shape;
use crate::system::System;
use crate::{Options, echo, h2load, report, usage};

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    eprintln!("starting the servers and services");
    let system = System::start(options).await?;
    println!("{}", report::memory(&memory(&system)?));
    let peers = peers(options, &system).await?;
    let pairs = pairs(options, &system, &peers).await?;

    let duration = Duration::from_millis(options.millis.into());
    println!("{} rounds of {}", options.rounds, h2load::described(duration));
    println!("{} cores for client and servers", available_parallelism()?);
    for &shape in &options.shapes {
        let comparisons = compare(&pairs, shape, options.rounds, duration).await?;
        println!("\n{shape}: connections and calls in flight on each\n");
        println!("{}", report::table(&comparisons));
    }
    Ok(())
}

/// A call, and the echo that it is compared with.
struct Pair<'a> {
    product: Driven<'a>,
    echo: Service,
}

impl Pair<'_> {
    async fn of(prepared: Prepared<'_>) -> anyhow::Result<Pair<'_>> {
        let (product, answer_bytes) = prepared?;
        Ok(Pair { product, echo: start_echo(answer_bytes).await? })
    }

    fn echo(&self) -> Driven<'_> {
        let request = echo::request(self.product.request.len());
        Driven::new("echo", Server::Service(&self.echo), echo::METHOD, &request)
    }
}

async fn pairs<'a>(
    options: &Options,
    system: &'a System,
    peers: &'a [(&'static str, &'static str, Peer)],
) -> anyhow::Result<Vec<Pair<'a>>> {
    let mut pairs = Vec::new();
    for call in &options.calls {
        let server = Server::Service(system.serving(call.service())?);
        pairs.push(Pair::of(call.prepare(server, options.body_bytes).await).await?);
    }
    for (name, key, peer) in peers {
        pairs.push(Pair::of(should_rate_limit(name, Server::Peer(peer), key).await).await?);
    }
    Ok(pairs)
}

/// What it is called in the table, the key that it is asked for, and itself.
async fn peers(
    options: &Options,
    system: &System,
) -> anyhow::Result<Vec<(&'static str, &'static str, Peer)>> {
    let Some(binary) = &options.envoyproxy else { return Ok(Vec::new()) };
    let redis = system.counters.as_ref().context("there is no Redis to share")?.url();
    Ok(vec![
        ("envoyproxy/ratelimit", "caller", Peer::start(binary, redis, LocalCache::Off).await?),
        ("envoyproxy/ratelimit, denied", "denied", Peer::start(binary, redis, LocalCache::On).await?),
    ])
}

/// All calls in turn, in each round.
async fn compare(
    pairs: &[Pair<'_>],
    shape: Shape,
    rounds: u32,
    duration: Duration,
) -> anyhow::Result<Vec<Comparison>> {
    let mut comparisons: Vec<_> = pairs.iter().map(|pair| Comparison::new(pair.product.name)).collect();
    for round in 1..=rounds {
        eprintln!("{shape}, round {round} of {rounds}");
        for (pair, Comparison { echo, product, .. }) in pairs.iter().zip(&mut comparisons) {
            for (driven, runs) in [(&pair.echo(), echo), (&pair.product, product)] {
                runs.push(Measured::of(driven, shape, duration).await.context(pair.product.name)?);
            }
        }
    }
    Ok(comparisons)
}

async fn start_echo(answer_bytes: usize) -> anyhow::Result<Service> {
    let program = env::current_exe()?;
    Service::builder("echo", program).arg("echo").arg(format!("--answer-bytes={answer_bytes}")).start().await
}

fn memory(system: &System) -> anyhow::Result<Vec<(String, u64)>> {
    let of = |service: &Service| {
        let pid = service.pid().context("a service is gone")?;
        Ok((service.name().to_owned(), usage::resident_kib(pid)?))
    };
    system.services.iter().map(of).collect()
}
