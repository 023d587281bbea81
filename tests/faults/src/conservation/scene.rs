//! A product of two replicas and two workers on servers of its own, and everything that can go wrong there.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use stack::{Backends, Postgres, Proxy, RabbitMq, Redis, RedisPolicy, Service, StartedWhen};
use tempfile::TempDir;

use super::fault::{Fault, Node, Way};
use crate::{Outage, Rig};

/// Little to be filled, and enough for Postgres.
const DISK_BYTES: u64 = 128 << 20;

/// All of it; ends when dropped.
#[derive(Debug)]
pub struct Scene {
    /// The product.
    pub rig: Rig,
    ways: BTreeMap<Way, Proxy>,
    servers: Servers,
    /// A folder for each replica.
    _spools: Option<TempDir>,
}

#[derive(Debug)]
struct Servers {
    postgres: Postgres,
    /// Whether its disk can be filled.
    has_small_disk: bool,
    rabbitmq: RabbitMq,
    cache: Redis,
    counters: Redis,
}

impl Scene {
    /// Starts everything; with `spool` each replica has a folder for its unconfirmed windows.
    pub async fn start(spool: bool) -> anyhow::Result<Self> {
        let servers = Servers::start().await?;
        let backends = servers.backends().await?;
        let mut ways = BTreeMap::new();
        // A service that is restarted while a server is away is not ready, and need not be.
        let mut builder = Rig::builder(backends.clone()).started_when(StartedWhen::Live);
        for way in Way::ALL {
            let (variable, url) = match way.to {
                Node::Postgres => ("DATABASE_URL", &backends.database_url),
                _ => ("AMQP_URL", &backends.amqp_url),
            };
            let (proxy, url) = Proxy::before_url(url).await?;
            builder = builder.env_of(&way.from.to_string(), variable, url);
            ways.insert(way, proxy);
        }
        let spools = if spool { Some(tempfile::tempdir()?) } else { None };
        if let Some(spools) = &spools {
            for replica in [Node::Replica(0), Node::Replica(1)] {
                let dir = spools.path().join(replica.to_string());
                fs::create_dir(&dir)?;
                builder = builder.env_of(&replica.to_string(), "VIEW_SPOOL_DIR", dir.display().to_string());
            }
        }
        Ok(Self { rig: Rig::start(builder).await?, ways, servers, _spools: spools })
    }

    /// Lets a fault begin.
    pub async fn begin(&self, fault: Fault) -> anyhow::Result<()> {
        match fault {
            Fault::Away(node, outage) => self.take_away(node, outage),
            Fault::Cut(way) => self.way(way)?.cut().await,
            Fault::Silent(way) => self.way(way)?.black_hole(),
            Fault::Slow(way, by) => self.way(way)?.delay(by),
            Fault::SlowAnswers(way, by) => self.way(way)?.delay_answers(by),
            Fault::DiskFull if self.servers.has_small_disk => self.servers.postgres.fill_disk().await?,
            Fault::DiskFull => {}
        }
        Ok(())
    }

    /// Ends it; gives what else there is to say about it.
    pub async fn end(&self, fault: Fault) -> anyhow::Result<&'static str> {
        match fault {
            Fault::Away(node, outage) => self.bring_back(node, outage).await?,
            Fault::Cut(way) | Fault::Silent(way) => self.way(way)?.restore().await?,
            Fault::Slow(way, _) => self.way(way)?.delay(Duration::ZERO),
            Fault::SlowAnswers(way, _) => self.way(way)?.delay_answers(Duration::ZERO),
            Fault::DiskFull if !self.servers.has_small_disk => return Ok(", skipped"),
            Fault::DiskFull if self.servers.postgres.free_disk().await? => {
                return Ok(", and postgres, which had given up, started again");
            }
            Fault::DiskFull => {}
        }
        Ok("")
    }

    /// Copies all logs into a folder that stays.
    pub fn keep_logs(&self) -> anyhow::Result<PathBuf> {
        let dir = tempfile::Builder::new().prefix("faults-logs-").tempdir()?.keep();
        for service in self.rig.product.services() {
            fs::write(dir.join(service.name()), service.log())?;
        }
        fs::write(dir.join("postgres"), self.servers.postgres.log())?;
        fs::write(dir.join("rabbitmq"), self.servers.rabbitmq.log())?;
        Ok(dir)
    }

    /// The broker itself, past all proxies.
    pub fn amqp_url(&self) -> &str {
        self.servers.rabbitmq.url()
    }

    fn take_away(&self, node: Node, outage: Outage) {
        match node {
            Node::Worker(index) => outage.begin(self.worker(index)),
            Node::Replica(index) => outage.begin(self.replica(index)),
            Node::RabbitMq => outage.begin(&self.servers.rabbitmq),
            Node::Postgres => outage.begin(&self.servers.postgres),
        }
    }

    async fn bring_back(&self, node: Node, outage: Outage) -> anyhow::Result<()> {
        match node {
            Node::Worker(index) => outage.end(self.worker(index)).await,
            Node::Replica(index) => outage.end(self.replica(index)).await,
            Node::RabbitMq => outage.end(&self.servers.rabbitmq).await,
            Node::Postgres => outage.end(&self.servers.postgres).await,
        }
    }

    fn worker(&self, index: usize) -> &Service {
        &self.rig.product.counter_workers[index]
    }

    fn replica(&self, index: usize) -> &Service {
        &self.rig.product.snippets[index]
    }

    fn way(&self, way: Way) -> anyhow::Result<&Proxy> {
        self.ways.get(&way).context("no proxy is on that way")
    }
}

impl Servers {
    async fn start() -> anyhow::Result<Self> {
        let (postgres, rabbitmq, cache, counters) = tokio::try_join!(
            start_postgres(),
            RabbitMq::start(),
            Redis::start(RedisPolicy::Cache),
            Redis::start(RedisPolicy::Counters),
        )?;
        let (postgres, has_small_disk) = postgres;
        Ok(Self { postgres, has_small_disk, rabbitmq, cache, counters })
    }

    async fn backends(&self) -> anyhow::Result<Backends> {
        Ok(Backends {
            database_url: self.postgres.database().await?.url().to_owned(),
            cache_redis_url: self.cache.url().to_owned(),
            counters_redis_url: self.counters.url().to_owned(),
            // Services notice after two heartbeats without a sign that the broker is frozen; 10 s apart by default.
            amqp_url: format!("{}?heartbeat=2", self.rabbitmq.url()),
        })
    }
}

/// On a disk that can be filled, where such a one can be had.
async fn start_postgres() -> anyhow::Result<(Postgres, bool)> {
    match Postgres::start_on_small_disk(DISK_BYTES).await {
        Ok(postgres) => Ok((postgres, true)),
        Err(error) => {
            println!("no disk-full: {error:#}");
            Ok((Postgres::start().await?, false))
        }
    }
}
