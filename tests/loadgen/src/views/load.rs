//! Views at a steady rate, however long each takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rpc::snippets::v1::SnippetView;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::popularity::Popularity;
use super::rig::{Client, Rig};

const CONNECTIONS: usize = 4;
/// Callers on each of the connections.
const LANES_EACH: u32 = 16;
/// Reads that a lane begins at a time: a timer of its own for each would be the load.
const BURST: u32 = 4;

/// How many views there are to be.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Demand {
    /// Views a second.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) per_second: u32,
    /// Snippets that they are of.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) snippets: u32,
}

/// Who reads what.
pub(crate) struct Readers {
    clients: Vec<Client>,
    ids: Arc<[String]>,
    per_second: u32,
}

impl Readers {
    /// Of fresh snippets.
    pub(crate) async fn of(rig: &Rig, demand: Demand) -> anyhow::Result<Self> {
        eprintln!("making {} snippets", demand.snippets);
        let ids = rig.snippets(demand.snippets).await?.into();
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(rig.client().await?);
        }
        Ok(Self { clients, ids, per_second: demand.per_second })
    }

    /// Begins to read.
    pub(crate) fn start(&self) -> anyhow::Result<Load> {
        Load::start(&self.clients, &self.ids, self.per_second)
    }
}

/// Readers that go on until they are stopped.
pub(crate) struct Load {
    stop: CancellationToken,
    views: Arc<AtomicU64>,
    lanes: JoinSet<anyhow::Result<Vec<Duration>>>,
}

impl Load {
    /// Reads these snippets so many times a second through these clients.
    fn start(clients: &[Client], ids: &Arc<[String]>, per_second: u32) -> anyhow::Result<Self> {
        let popularity = Arc::new(Popularity::zipf(u32::try_from(ids.len())?)?);
        let (stop, views, mut lanes) =
            (CancellationToken::new(), Arc::<AtomicU64>::default(), JoinSet::new());
        let count = u32::try_from(clients.len())? * LANES_EACH;
        let pace = Duration::from_secs(1) * count * BURST / per_second;
        for seed in 0..count {
            let client = clients[seed as usize % clients.len()].clone();
            let lane = Lane {
                client,
                ids: Arc::clone(ids),
                popularity: Arc::clone(&popularity),
                rng: StdRng::seed_from_u64(seed.into()),
                views: Arc::clone(&views),
            };
            lanes.spawn(lane.run(stop.clone(), pace));
        }
        Ok(Self { stop, views, lanes })
    }

    /// Views that were answered.
    pub(crate) fn views(&self) -> u64 {
        self.views.load(Ordering::Relaxed)
    }

    /// Gives how long each read took, ascending. One that failed is an error.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Vec<Duration>> {
        self.stop.cancel();
        let mut latencies = Vec::new();
        while let Some(lane) = self.lanes.join_next().await {
            latencies.extend(lane??);
        }
        latencies.sort_unstable();
        Ok(latencies)
    }
}

struct Lane {
    client: Client,
    ids: Arc<[String]>,
    popularity: Arc<Popularity>,
    rng: StdRng,
    views: Arc<AtomicU64>,
}

impl Lane {
    async fn run(mut self, stop: CancellationToken, pace: Duration) -> anyhow::Result<Vec<Duration>> {
        let mut ticks = interval(pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut latencies = Vec::new();
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            for _ in 0..BURST {
                let id = self.ids[self.popularity.draw(&mut self.rng)].clone();
                let began = Instant::now();
                self.client.get(&id, SnippetView::Full).await?;
                latencies.push(began.elapsed());
                self.views.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(latencies)
    }
}
