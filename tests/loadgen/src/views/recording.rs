//! What recording a view costs the read.

use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use prost::Message as _;
use rpc::snippets::v1::{GetSnippetRequest, SnippetView};
use stack::Service;
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::rig::Client;
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
/// Several in each window of 200 ms, so that each is published and counted.
const FEW_VIEWS_INTERVAL: Duration = Duration::from_millis(50);

const HEAD: [&str; 7] =
    ["shape", "calls", "calls/s", "CPU µs", "p99 µs", "p99 to BASIC (min to max)", "to BASIC, few views"];

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let system = System::on_servers().await?;
    let service = system.serving("snippets")?;
    let bench = Bench {
        service,
        full: prepared(Call::Get, service).await?,
        basic: prepared(Call::GetBasic, service).await?,
        duration: Duration::from_millis(arguments.millis.into()),
    };
    let mut rows = vec![HEAD.map(str::to_owned)];
    for &shape in &arguments.shapes {
        let mut runs = Runs::default();
        for round in 1..=arguments.rounds {
            eprintln!("{shape}, round {round} of {}", arguments.rounds);
            bench.round(shape, &mut runs).await?;
        }
        rows.extend(runs.rows(shape));
    }
    println!("{} rounds of {:?}\n\n{}", arguments.rounds, bench.duration, aligned(&rows));
    Ok(())
}

async fn prepared(call: Call, service: &Service) -> anyhow::Result<Driven<'_>> {
    let prepared: Prepared<'_> = call.prepare(Server::Service(service), BODY_BYTES).await;
    Ok(prepared?.0)
}

struct Bench<'a> {
    service: &'a Service,
    full: Driven<'a>,
    basic: Driven<'a>,
    duration: Duration,
}

/// In each round, one of each.
#[derive(Default)]
struct Runs {
    basic: Vec<Measured>,
    /// BASIC, while somebody else views a little: a batch of each window goes through the broker into Postgres, as with FULL,
    /// and on a machine that they share takes time from the reads.
    basic_few_views: Vec<Measured>,
    full: Vec<Measured>,
}

impl Bench<'_> {
    async fn round(&self, shape: Shape, runs: &mut Runs) -> anyhow::Result<()> {
        runs.basic.push(Measured::of(&self.basic, shape, self.duration).await?);
        let few = FewViews::start(self.service, &self.full).await?;
        runs.basic_few_views.push(Measured::of(&self.basic, shape, self.duration).await?);
        few.stop().await?;
        runs.full.push(Measured::of(&self.full, shape, self.duration).await?);
        Ok(())
    }
}

/// Somebody who views now and then.
struct FewViews {
    stop: CancellationToken,
    viewer: JoinSet<anyhow::Result<u64>>,
}

impl FewViews {
    async fn start(service: &Service, full: &Driven<'_>) -> anyhow::Result<Self> {
        let mut client = Client::of(service).await?;
        let GetSnippetRequest { id, .. } = GetSnippetRequest::decode(full.request.as_slice())?;
        let (stop, mut viewer) = (CancellationToken::new(), JoinSet::new());
        let stopped = stop.clone();
        viewer.spawn(async move {
            let (mut ticks, mut views) = (interval(FEW_VIEWS_INTERVAL), 0);
            while stopped.run_until_cancelled(ticks.tick()).await.is_some() {
                client.get(&id, SnippetView::Full).await?;
                views += 1;
            }
            Ok(views)
        });
        Ok(Self { stop, viewer })
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(views) = self.viewer.join_next().await {
            ensure!(views?? > 0, "nobody viewed");
        }
        Ok(())
    }
}

impl Runs {
    fn rows(&self, shape: Shape) -> [[String; 7]; 3] {
        let calls =
            [("BASIC", &self.basic), ("BASIC, few views", &self.basic_few_views), ("FULL", &self.full)];
        let p99s = |runs: &[Measured]| runs.iter().map(|run| run.p99_micros).collect::<Vec<_>>();
        calls.map(|(name, runs)| {
            let p99 = p99s(runs);
            let of = |value: fn(&Measured) -> f64| median(runs.iter().map(value));
            [
                shape.to_string(),
                name.to_owned(),
                format!("{:.0}", of(|run| run.per_second)),
                format!("{:.1}", of(|run| run.cpu_micros)),
                format!("{:.0}", of(|run| run.p99_micros)),
                Ratios::of(&p99, &p99s(&self.basic)).to_string(),
                Ratios::of(&p99, &p99s(&self.basic_few_views)).to_string(),
            ]
        })
    }
}
