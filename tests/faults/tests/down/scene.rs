//! A product whose servers are all its own.

use std::sync::Arc;
use std::time::Duration;

use faults::{Client, Outage, PATIENCE, Rig, Views, until_ready};
use rpc::snippets::v1::SnippetView;
use stack::{Backends, Postgres, RabbitMq, Redis, RedisPolicy, Service, until};
use tokio::time::{Instant, sleep_until};

/// Reads of each replica before an outage.
pub const READS: usize = 10;
/// What a caller has patience for. Services give their servers less, so that they answer in time, whatever they answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(4);
/// RabbitMQ keeps the name of a new queue in memory for 3 s, and a broker that is killed within them never finds that
/// queue's leader again.
const QUEUES_ARE_SAFE_AFTER: Duration = Duration::from_secs(4);

/// What is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    Cache,
    Counters,
    Limiter,
    Broker,
    Worker,
    Postgres,
}

pub struct Scene {
    pub rig: Rig,
    pub views: Arc<Views>,
    cache: Redis,
    counters: Redis,
    broker: RabbitMq,
    postgres: Postgres,
    queues_are_safe_at: Instant,
}

/// A replica and who calls it.
pub struct Replica<'a> {
    pub service: &'a Service,
    pub reader: Client,
    pub owner: Client,
    pub admin: Client,
}

/// What there was before an outage.
pub struct Before {
    /// Both replicas have read it lately, and know how often.
    pub cached: String,
    pub views_of_cached: u64,
    /// Nobody has read these: one for each replica and way to read it.
    pub uncached: Vec<String>,
}

impl Scene {
    pub async fn start() -> Self {
        let (cache, counters) =
            tokio::try_join!(Redis::start(RedisPolicy::Cache), Redis::start(RedisPolicy::Counters)).unwrap();
        let (broker, postgres) = tokio::try_join!(RabbitMq::start(), Postgres::start()).unwrap();
        let backends = Backends {
            database_url: postgres.database().await.unwrap().url().to_owned(),
            cache_redis_url: cache.url().to_owned(),
            counters_redis_url: counters.url().to_owned(),
            // A worker notices after two heartbeats without a sign that the broker is frozen; 10 s apart by default.
            amqp_url: format!("{}?heartbeat=2", broker.url()),
        };
        let rig = Rig::start(Rig::builder(backends).workers(1)).await.unwrap();
        let queues_are_safe_at = Instant::now() + QUEUES_ARE_SAFE_AFTER;
        Self { rig, views: Arc::default(), cache, counters, broker, postgres, queues_are_safe_at }
    }

    pub fn replicas(&self) -> Vec<Replica<'_>> {
        let readers = self.rig.readers().unwrap().into_iter().map(|reader| reader.within(ANSWERED_WITHIN));
        let replicas = self.rig.product.snippets.iter().zip(readers).map(|(service, reader)| {
            let (owner, admin) = (self.rig.owner(&reader), self.rig.admin(&reader));
            Replica { service, reader, owner, admin }
        });
        replicas.collect()
    }

    /// Fresh snippets, and all views so far counted, as every replica knows.
    pub async fn prepare(&self) -> Before {
        let [cached, uncached @ ..] = &self.rig.snippets(5).await.unwrap()[..] else { unreachable!() };
        let replicas = self.replicas();
        for replica in &replicas {
            self.views.read_times(&replica.reader, cached, READS).await.unwrap();
        }
        for replica in &replicas {
            self.views.until_counted(&replica.reader).await.unwrap();
        }
        let views_of_cached = self.views.acknowledged()[cached];
        Before { cached: cached.clone(), views_of_cached, uncached: uncached.to_vec() }
    }

    pub async fn begin(&self, down: Down, outage: Outage) {
        match down {
            Down::Cache => outage.begin(&self.cache),
            Down::Counters => outage.begin(&self.counters),
            Down::Limiter => outage.begin(&self.rig.product.ratelimit),
            Down::Worker => outage.begin(self.worker()),
            Down::Postgres => outage.begin(&self.postgres),
            Down::Broker => {
                sleep_until(self.queues_are_safe_at).await;
                outage.begin(&self.broker);
            }
        }
    }

    pub async fn end(&self, down: Down, outage: Outage) {
        let ended = match down {
            Down::Cache => outage.end(&self.cache).await,
            Down::Counters => outage.end(&self.counters).await,
            Down::Limiter => outage.end(&self.rig.product.ratelimit).await,
            Down::Worker => outage.end(self.worker()).await,
            Down::Postgres => outage.end(&self.postgres).await,
            Down::Broker => outage.end(&self.broker).await,
        };
        ended.unwrap();
    }

    /// Every call works again, every view is counted, and every service says that nothing is missing.
    pub async fn has_recovered(&self, before: &Before) {
        for replica in self.replicas() {
            let uncached = async || self.views.read(&replica.reader, &before.uncached[0]).await.is_ok();
            until("an uncached read is answered", PATIENCE, uncached).await.unwrap();
            let written = async || replica.owner.create("x").await.is_ok();
            until("a write is answered", PATIENCE, written).await.unwrap();
            self.views.until_counted(&replica.reader).await.unwrap();
            replica.owner.view_stats(&before.cached).await.unwrap();
            replica.owner.get(&before.cached, SnippetView::Full).await.unwrap();
        }
        for service in self.rig.product.services() {
            until_ready(service).await.unwrap();
        }
    }

    /// The service that is down, if it is one.
    pub fn is_down(&self, down: Down, service: &Service) -> bool {
        match down {
            Down::Limiter => service.name() == "ratelimit",
            Down::Worker => service.name() == self.worker().name(),
            _ => false,
        }
    }

    fn worker(&self) -> &Service {
        &self.rig.product.counter_workers[0]
    }
}
