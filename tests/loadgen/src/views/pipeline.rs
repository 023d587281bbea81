//! The worker's side of the pipeline, without the snippets service: a queue that is filled by hand, workers, a database.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use broker::{BrokerConnection, topology};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use secrecy::SecretString;
use stack::{Backends, Database, Service, SharedServers, binary, until};
use tokio::time::sleep;

use crate::system::own_servers;

/// Batches on their way to the broker at a time.
const UNCONFIRMED_MAX: usize = 64;
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long no view may be counted before something must be wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// On servers of its own.
pub(crate) struct Pipeline {
    backends: Backends,
    _servers: SharedServers,
}

/// What workers have counted up to some moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) at: Instant,
    pub(crate) views: u64,
}

impl Pipeline {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let (backends, servers) = own_servers().await?;
        let pipeline = Self { backends, _servers: servers };
        pipeline.builder("migrate")?.run("migrate").await?;
        Ok(pipeline)
    }

    pub(crate) fn database(&self) -> Database {
        Database::at(&self.backends.database_url)
    }

    /// Gives every snippet a row in each table, as all but new ones have.
    pub(crate) async fn fill(&self, snippets: u32) -> anyhow::Result<()> {
        let rows = format!("FROM generate_series(0, {snippets} - 1) AS i");
        let id = "'s' || lpad(i::text, 10, '0')";
        let sql = format!(
            "TRUNCATE views.totals_by_stripe, views.hourly_by_stripe, views.daily_by_stripe;
             INSERT INTO views.totals_by_stripe (snippet_id, views) SELECT {id}, 0 {rows};
             INSERT INTO views.hourly_by_stripe SELECT {id}, date_trunc('hour', now(), 'UTC'), 0 {rows};
             INSERT INTO views.daily_by_stripe SELECT {id}, date_trunc('day', now(), 'UTC'), 0 {rows};"
        );
        self.database().execute(&sql).await?;
        self.database().execute("VACUUM ANALYZE").await?;
        self.database().execute("CHECKPOINT").await.map(drop)
    }

    /// Puts batches into the queue.
    pub(crate) async fn publish(&self, batches: impl IntoIterator<Item = Vec<u8>>) -> anyhow::Result<()> {
        let url = SecretString::from(self.backends.amqp_url.clone());
        let mut connection = BrokerConnection::open(&url, "loadgen").await?;
        let channel = connection.channel().await?;
        topology::declare(&channel).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut batches = batches.into_iter().peekable();
        while batches.peek().is_some() {
            let mut confirms = Vec::new();
            for payload in batches.by_ref().take(UNCONFIRMED_MAX) {
                let (exchange, key) = (topology::VIEWS_EXCHANGE.into(), topology::BATCHES_ROUTING_KEY.into());
                let properties = BasicProperties::default().with_delivery_mode(2);
                let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                confirms.push(channel.basic_publish(exchange, key, options, &payload, properties).await?);
            }
            for confirm in confirms {
                ensure!(confirm.await?.is_ack(), "the broker did not take a batch");
            }
        }
        connection.close().await;
        Ok(())
    }

    /// That many workers, frozen as soon as they have subscribed: what is published next waits for all of them alike.
    pub(crate) async fn frozen_workers(&self, count: usize) -> anyhow::Result<Vec<Service>> {
        let mut workers = Vec::new();
        for number in 1..=count {
            workers.push(self.builder(&format!("counter-worker-{number}"))?.start().await?);
        }
        for worker in &workers {
            let connected = async || {
                worker.metric("dependency_up{dependency=\"rabbitmq\"}").await.is_ok_and(|up| up > 0.5)
            };
            until("the worker has subscribed", PATIENCE, connected).await?;
            worker.pause();
        }
        Ok(workers)
    }

    fn builder(&self, name: &str) -> anyhow::Result<stack::ServiceBuilder> {
        let worker = Service::builder(name, binary("counter-worker")?);
        let worker = worker.env("DATABASE_URL", &self.backends.database_url);
        Ok(worker.env("AMQP_URL", &self.backends.amqp_url))
    }

    /// All views that are counted, as the database has them.
    pub(crate) async fn total(&self) -> anyhow::Result<u64> {
        let sum = self.database().execute("SELECT sum(views) FROM views.totals").await?;
        sum.parse().with_context(|| format!("no sum: {sum:?}"))
    }
}

/// What these workers have counted by now.
pub(crate) async fn counted(workers: &[Service]) -> anyhow::Result<Counted> {
    let mut views = 0;
    for worker in workers {
        views += views_of(worker).await?;
    }
    Ok(Counted { at: Instant::now(), views })
}

/// What a worker has counted since its start.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number, far below 2^52")]
pub(crate) async fn views_of(worker: &Service) -> anyhow::Result<u64> {
    Ok(worker.metric("counter_worker_views_total").await? as u64)
}

/// Waits until these workers have counted so many views.
pub(crate) async fn until_counted(workers: &[Service], views: u64) -> anyhow::Result<Counted> {
    let mut last = counted(workers).await?;
    loop {
        let now = counted(workers).await?;
        if now.views >= views {
            return Ok(now);
        }
        if now.views > last.views {
            last = now;
        }
        let log = || workers.iter().map(Service::log).collect::<String>();
        ensure!(last.at.elapsed() < PATIENCE, "{} of {views} views were counted\n{}", last.views, log());
        sleep(POLL_INTERVAL).await;
    }
}

impl Counted {
    /// Views a second since then.
    pub(crate) fn rate_since(self, before: Self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let views = (self.views - before.views) as f64;
        views / (self.at - before.at).as_secs_f64()
    }
}
