//! Reads of many snippets, out of Redis and out of Postgres, in small tables and large ones.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rpc::snippets::v1::SnippetView;
use stack::{Database, Product, Service, SharedServers};
use tokio::task::JoinSet;

use crate::measured::{Ratios, median, percentile};
use crate::report::aligned;
use crate::shape::Shape;
use crate::system::{RULES, own_servers};
use crate::views::rig::Client;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Snippets in the table; may be repeated, and the first is what the others are compared with.
    #[arg(long = "snippets", default_values_t = [10_000, 10_000_000], value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    snippets: Vec<u32>,
    /// Length of each body.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    body_bytes: u32,
    /// Connections and calls in flight on each, as CxM.
    #[arg(long, default_value = "4x16")]
    shape: Shape,
    /// How often each is measured, in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each is driven in a round, in milliseconds.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(100..))]
    millis: u32,
}

/// So many snippets, spread over the table, are in Redis.
const CACHED: u32 = 10_000;
const HEAD: [&str; 6] = [
    "snippets",
    "read from",
    "calls/s",
    "p50, p99 µs",
    "over Postgres, same ids (min to max)",
    "over the first table (min to max)",
];

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut sites = Vec::new();
    for &snippets in &arguments.snippets {
        eprintln!("making {snippets} snippets");
        sites.push(Site::start(snippets, arguments.body_bytes).await?);
    }
    let duration = Duration::from_millis(arguments.millis.into());
    let mut runs: Vec<_> = sites.iter().map(|_| Runs::default()).collect();
    for round in 1..=arguments.rounds {
        eprintln!("round {round} of {}", arguments.rounds);
        for (site, runs) in sites.iter().zip(&mut runs) {
            site.round(arguments.shape, duration, runs).await?;
        }
    }
    let Arguments { shape, rounds, body_bytes, .. } = arguments;
    println!("{rounds} rounds of {duration:?}, {shape}, bodies of {body_bytes} bytes\n");
    let rows = sites.iter().zip(&runs).flat_map(|(site, of)| of.rows(site.snippets, &runs[0]));
    println!("{}", aligned(&[HEAD.map(str::to_owned)].into_iter().chain(rows).collect::<Vec<_>>()));
    Ok(())
}

/// A table of snippets, and replicas that keep no copies in their process: the first has Redis, the second has not.
struct Site {
    snippets: u32,
    product: Product,
    _servers: SharedServers,
}

/// Ids of snippets at equal distances.
#[derive(Debug, Clone, Copy)]
struct Ids {
    count: u32,
    step: u32,
}

/// What one run has shown.
struct Run {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

/// In each round, one of each.
#[derive(Default)]
struct Runs {
    redis: Vec<Run>,
    postgres: Vec<Run>,
    /// Of all that are in the table, rather than those that are in Redis.
    any: Vec<Run>,
}

impl Site {
    async fn start(snippets: u32, body_bytes: u32) -> anyhow::Result<Self> {
        let (backends, servers) = own_servers().await?;
        let builder = Product::builder(backends)
            .replicas(2)
            .workers(0)
            .env("RATELIMIT_RULES", RULES)
            .env("NEAR_CACHE_BYTES", "0")
            .env_of("snippets-2", "CACHE_REDIS_URL", "redis://127.0.0.1:1");
        let database = builder.database();
        let product = builder.start().await?;
        fill(&database, snippets, body_bytes).await?;
        let site = Self { snippets, product, _servers: servers };
        let mut client = Client::of(site.replica(0)?).await?;
        for index in 0..site.cached().count {
            client.get(&site.cached().id(index), SnippetView::Basic).await?;
        }
        Ok(site)
    }

    fn replica(&self, index: usize) -> anyhow::Result<&Service> {
        self.product.snippets.get(index).context("no such replica")
    }

    fn cached(&self) -> Ids {
        let count = self.snippets.min(CACHED);
        Ids { count, step: self.snippets / count }
    }

    fn all(&self) -> Ids {
        Ids { count: self.snippets, step: 1 }
    }

    async fn round(&self, shape: Shape, duration: Duration, runs: &mut Runs) -> anyhow::Result<()> {
        let (redis, postgres) = (self.replica(0)?, self.replica(1)?);
        runs.redis.push(drive(redis, self.cached(), shape, duration).await?);
        runs.postgres.push(drive(postgres, self.cached(), shape, duration).await?);
        runs.any.push(drive(postgres, self.all(), shape, duration).await?);
        Ok(())
    }
}

async fn fill(database: &Database, snippets: u32, body_bytes: u32) -> anyhow::Result<()> {
    let sql = format!(
        "INSERT INTO snippets.snippets
            (id, title, language, body, tags, visibility, create_time, update_time, version)
         SELECT lpad(i::text, 11, '0'), 'title', 'rust', left(repeat(md5(i::text), {body_bytes} / 32 + 1), {body_bytes}),
            '{{}}', 2, now(), now(), 1
         FROM generate_series(0, {snippets} - 1) AS i"
    );
    database.execute(&sql).await?;
    database.execute("VACUUM ANALYZE").await?;
    database.execute("CHECKPOINT").await.map(drop)
}

impl Ids {
    fn id(self, index: u32) -> String {
        format!("{:011}", u64::from(index) * u64::from(self.step))
    }
}

/// Reads these snippets at random, through a client that is the same for all.
async fn drive(service: &Service, ids: Ids, shape: Shape, duration: Duration) -> anyhow::Result<Run> {
    let mut lanes = JoinSet::new();
    let began = Instant::now();
    for connection in 0..shape.connections {
        let client = Client::of(service).await?;
        for stream in 0..shape.streams {
            let seed = (u64::from(connection) << 16) | u64::from(stream);
            lanes.spawn(lane(client.clone(), ids, StdRng::seed_from_u64(seed), began + duration));
        }
    }
    let mut latencies = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        latencies.extend(lane??);
    }
    latencies.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let answers = latencies.len() as f64;
    Ok(Run {
        per_second: answers / began.elapsed().as_secs_f64(),
        p50: percentile(&latencies, 50),
        p99: percentile(&latencies, 99),
    })
}

/// One call after the other; gives how long each took.
async fn lane(mut client: Client, ids: Ids, mut rng: StdRng, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        client.get(&ids.id(rng.random_range(0..ids.count)), SnippetView::Full).await?;
        latencies.push(began.elapsed());
    }
    Ok(latencies)
}

impl Runs {
    fn rows(&self, snippets: u32, first: &Self) -> [[String; 6]; 3] {
        let kinds = [
            ("Redis", &self.redis, &first.redis),
            ("Postgres", &self.postgres, &first.postgres),
            ("Postgres, any id", &self.any, &first.any),
        ];
        kinds.map(|(name, runs, first)| {
            [
                snippets.to_string(),
                name.to_owned(),
                format!("{:.0}", median(rates(runs).into_iter())),
                format!("{:.0}, {:.0}", micros(runs, |run| run.p50), micros(runs, |run| run.p99)),
                Ratios::of(&rates(runs), &rates(&self.postgres)).to_string(),
                Ratios::of(&rates(runs), &rates(first)).to_string(),
            ]
        })
    }
}

fn rates(runs: &[Run]) -> Vec<f64> {
    runs.iter().map(|run| run.per_second).collect()
}

fn micros(runs: &[Run], of: fn(&Run) -> Duration) -> f64 {
    median(runs.iter().map(|run| of(run).as_secs_f64() * 1e6))
}
