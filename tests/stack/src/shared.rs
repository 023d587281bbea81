//! The servers that all tests of one run share, found through the environment.

use std::env;
use std::sync::OnceLock;

use anyhow::{anyhow, bail};

use crate::postgres::{Database, Postgres, PostgresOptions};
use crate::rabbitmq::RabbitMq;
use crate::redis::{Redis, RedisPolicy, fresh_database};
use crate::vhost::{Control, Vhost};

/// URL of the shared Postgres server, as superuser.
pub const POSTGRES_URL: &str = "STACK_POSTGRES_URL";
/// URL of the shared cache Redis.
pub const CACHE_REDIS_URL: &str = "STACK_CACHE_REDIS_URL";
/// URL of the shared counters Redis.
pub const COUNTERS_REDIS_URL: &str = "STACK_COUNTERS_REDIS_URL";
/// URL of the shared broker's default virtual host.
pub const AMQP_URL: &str = "STACK_AMQP_URL";
/// `ADDRESS:PORT` of the shared broker's Erlang distribution, for creating virtual hosts.
pub const AMQP_CONTROL_ADDR: &str = "STACK_AMQP_CONTROL_ADDR";
/// Folder with the Erlang cookie that goes with it.
pub const AMQP_CONTROL_HOME: &str = "STACK_AMQP_CONTROL_HOME";

/// Addresses of the servers that all tests of a run share.
#[derive(Debug, Clone)]
pub struct Shared {
    postgres_url: String,
    cache_redis_url: String,
    counters_redis_url: String,
    amqp_url: String,
    amqp_control: Control,
}

/// The shared servers.
///
/// # Panics
/// When the test was not started through `stack exec`, with a sentence telling how to.
#[expect(clippy::panic, reason = "without its servers a test can only fail")]
pub fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| Shared::from_env().unwrap_or_else(|error| panic!("{error:#}")))
}

impl Shared {
    /// Reads the addresses that `stack exec` exports.
    pub fn from_env() -> anyhow::Result<Self> {
        Ok(Self {
            postgres_url: variable(POSTGRES_URL)?,
            cache_redis_url: variable(CACHE_REDIS_URL)?,
            counters_redis_url: variable(COUNTERS_REDIS_URL)?,
            amqp_url: variable(AMQP_URL)?,
            amqp_control: Control { addr: variable(AMQP_CONTROL_ADDR)?, home: variable(AMQP_CONTROL_HOME)? },
        })
    }

    /// Creates a fresh, empty Postgres database.
    ///
    /// # Panics
    /// When it can't be created.
    pub async fn database(&self) -> Database {
        or_fail(Database::create(&self.postgres_url).await)
    }

    /// Creates a fresh RabbitMQ virtual host.
    ///
    /// # Panics
    /// When it can't be created.
    pub async fn amqp_vhost(&self) -> Vhost {
        or_fail(Vhost::create(&self.amqp_url, &self.amqp_control).await)
    }

    /// The cache Redis (`allkeys-lru`), shared: use [`unique`](crate::unique) for keys.
    pub fn cache_redis_url(&self) -> &str {
        &self.cache_redis_url
    }

    /// The counters Redis (`noeviction`, `appendonly`), shared: use [`unique`](crate::unique) for keys.
    pub fn counters_redis_url(&self) -> &str {
        &self.counters_redis_url
    }

    /// A logical database of the cache Redis that nobody else is given, for a whole service under test.
    /// Pub/sub channels stay shared between logical databases.
    ///
    /// # Panics
    /// When there is none left.
    pub async fn own_cache_redis_url(&self) -> String {
        or_fail(fresh_database(&self.cache_redis_url).await)
    }

    /// As [`own_cache_redis_url`](Self::own_cache_redis_url), of the counters Redis.
    ///
    /// # Panics
    /// When there is none left.
    pub async fn own_counters_redis_url(&self) -> String {
        or_fail(fresh_database(&self.counters_redis_url).await)
    }
}

/// The servers behind [`Shared`], owned by `stack exec`; they end when dropped.
#[derive(Debug)]
pub struct SharedServers {
    postgres: Postgres,
    cache: Redis,
    counters: Redis,
    rabbitmq: RabbitMq,
}

impl SharedServers {
    /// Starts all four side by side.
    pub async fn start(postgres: PostgresOptions) -> anyhow::Result<Self> {
        let (postgres, cache, counters, rabbitmq) = tokio::try_join!(
            Postgres::start_with(postgres),
            Redis::start(RedisPolicy::Cache),
            Redis::start(RedisPolicy::Counters),
            RabbitMq::start(),
        )?;
        Ok(Self { postgres, cache, counters, rabbitmq })
    }

    /// The broker, for whoever takes it away.
    pub fn rabbitmq(&self) -> &RabbitMq {
        &self.rabbitmq
    }

    /// The environment variables that [`shared`] reads.
    pub fn variables(&self) -> [(&'static str, &str); 6] {
        let control = self.rabbitmq.control();
        [
            (POSTGRES_URL, self.postgres.url()),
            (CACHE_REDIS_URL, self.cache.url()),
            (COUNTERS_REDIS_URL, self.counters.url()),
            (AMQP_URL, self.rabbitmq.url()),
            (AMQP_CONTROL_ADDR, &control.addr),
            (AMQP_CONTROL_HOME, &control.home),
        ]
    }
}

fn variable(name: &str) -> anyhow::Result<String> {
    match env::var(name) {
        Ok(value) if !value.is_empty() => Ok(value),
        Ok(_) => bail!("{name} is empty"),
        Err(_) => Err(anyhow!(
            "{name} is not set: these tests need real servers; run them with `make test`, or \
             `cargo run -q -p stack -- exec -- cargo test -p CRATE`"
        )),
    }
}

#[expect(clippy::panic, reason = "without its servers a test can only fail")]
fn or_fail<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}
