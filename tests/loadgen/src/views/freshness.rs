//! How long it takes until a view shows in the count.

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use rpc::snippets::v1::SnippetView;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::load::{Demand, Readers};
use super::rig::{Client, Rig};
use crate::measured::percentile;
use crate::report::aligned;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    demand: Demand,
    /// Snippets that are looked at.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    probes: u32,
    /// How long, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

/// From one look at a snippet's count to the next.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// A view that does not show for longer is lost.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { demand, probes, seconds } = *arguments;
    let rig = Rig::start().await?;
    let readers = Readers::of(&rig, demand).await?;
    let probed = rig.snippets(probes).await?;
    let load = readers.start()?;
    let (began, duration) = (Instant::now(), Duration::from_secs(seconds.into()));
    let mut probing = JoinSet::new();
    for id in probed {
        probing.spawn(probe(rig.client().await?, id, began + duration));
    }
    let mut delays = Vec::new();
    while let Some(probe) = probing.join_next().await {
        delays.extend(probe??);
    }
    delays.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let achieved = load.views() as f64 / began.elapsed().as_secs_f64();
    let reads = load.stop().await?;
    println!("{achieved:.0} views a second of {} snippets, for {duration:?}\n", demand.snippets);
    println!(
        "{}",
        aligned(&[
            ["", "number", "p50 ms", "p99 ms", "longest ms"].map(str::to_owned),
            row("from Get to its count", &delays),
            row("Get", &reads),
        ])
    );
    Ok(())
}

/// Views a snippet that nobody else does, again and again, and tells how long each view took to show.
async fn probe(mut client: Client, id: String, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let (mut views, mut delays) = (0, Vec::new());
    while Instant::now() < end {
        client.get(&id, SnippetView::Full).await?;
        (views, delays) = (views + 1, until_shown(&mut client, &id, views + 1, delays).await?);
    }
    Ok(delays)
}

async fn until_shown(
    client: &mut Client,
    id: &str,
    views: u64,
    mut delays: Vec<Duration>,
) -> anyhow::Result<Vec<Duration>> {
    let since = Instant::now();
    loop {
        let shown = client.get(id, SnippetView::Basic).await?;
        ensure!(shown <= views, "{shown} views are shown of {views}");
        if shown == views {
            delays.push(since.elapsed());
            return Ok(delays);
        }
        ensure!(since.elapsed() < PATIENCE, "view {views} of {id} is not shown");
        sleep(LOOK_INTERVAL).await;
    }
}

fn row(name: &str, durations: &[Duration]) -> [String; 5] {
    let millis = |duration: Duration| format!("{:.1}", duration.as_secs_f64() * 1e3);
    let longest = durations.last().copied().unwrap_or_default();
    let [p50, p99, longest] = [percentile(durations, 50), percentile(durations, 99), longest].map(millis);
    [name.to_owned(), durations.len().to_string(), p50, p99, longest]
}
