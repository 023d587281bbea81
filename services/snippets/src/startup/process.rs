//! The service in its own process: Postgres, Redis, RabbitMQ, and the ratelimit service.

use std::{future::ready, sync::Arc, time::Duration};

use axum::Router;
use chassis::{App, Background, Bound, Health, Need, telemetry::Telemetry};
use database::DatabaseArgs;
use tonic::transport::Channel;

use super::{Backends, build, cached};
use crate::{
    adapters::{
        amqp::AmqpBatchPublisher,
        postgres::{
            self, Database, PostgresAccountStore, PostgresDeletions, PostgresInvalidations,
            PostgresPageTokenKeys, PostgresSnippetLists, PostgresSnippetStore, PostgresSweep,
            PostgresViewHistory, PostgresViewTotals,
        },
        ratelimit,
        redis_cache::{self, RedisSnippetCache},
    },
    config::{ApiConfig, BackendsConfig, Cli, Command, ServeArgs},
};

/// How long connecting to the ratelimit service may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Does what the command line says.
///
/// # Errors
/// When the configuration is not valid, or what it names can't be used.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        None => serve(cli.serve).await,
        Some(Command::Serve(args)) => serve(args).await,
        Some(Command::Migrate(args)) => migrate(&args).await,
        Some(Command::Healthcheck(args)) => Ok(args.run()?),
    }
}

async fn migrate(args: &DatabaseArgs) -> anyhow::Result<()> {
    let mut problems = chassis::config::Problems::default();
    let url = args.validate(&mut problems);
    postgres::migrate(&problems.finish(url)?).await?;
    println!("the schema snippets is up to date");
    Ok(())
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let config = args.validate()?;
    let telemetry = Telemetry::install("snippets", config.telemetry)?;
    let background_timeout = config.server.background_timeout();
    let bound = Bound::bind(config.server).await?;
    let app = Dependencies::new(&config.backends)?.into_app(config.api, background_timeout)?;
    Ok(chassis::serve_until_signal(bound, app, telemetry).await?)
}

/// Everything that the service depends on; nothing is connected yet.
struct Dependencies {
    database: Database,
    cache: RedisSnippetCache,
    publisher: Arc<AmqpBatchPublisher>,
    ratelimit: Channel,
    ratelimit_timeout: Duration,
}

impl Dependencies {
    fn new(config: &BackendsConfig) -> anyhow::Result<Self> {
        let mut options = postgres::Options::new(config.database_url.clone());
        options.connections_max = config.database_connections;
        let mut cache = redis_cache::Options::new(config.cache_redis_url.clone());
        cache.key_prefix.clone_from(&config.cache_key_prefix);
        let database = match &config.database_read_url {
            Some(url) => Database::with_standby(&options, url.clone())?,
            None => Database::new(&options)?,
        };
        Ok(Self {
            database,
            cache: RedisSnippetCache::new(&cache)?,
            publisher: Arc::new(AmqpBatchPublisher::new(config.amqp_url.clone())),
            ratelimit: chassis::client::channel(&config.ratelimit_url, CONNECT_TIMEOUT)?,
            ratelimit_timeout: config.ratelimit_timeout,
        })
    }

    fn into_app(self, api: ApiConfig, background_timeout: Duration) -> anyhow::Result<App> {
        let mut background = Background::default();
        let health = self.health();
        let publisher = self.publisher.clone();
        background.start("view publisher", |stop| async move { publisher.run(stop).await });
        if self.database.has_standby() {
            let database = self.database.clone();
            background.start("read replica", |stop| async move { database.follow(stop).await });
        }
        let snippets = PostgresSnippetStore::new(self.database.clone());
        let invalidations = Arc::new(PostgresInvalidations::new(self.database.clone()));
        let near_bytes_max = api.near_cache_bytes;
        let backends = Backends {
            snippets: cached(snippets, self.cache, Some(invalidations), near_bytes_max, &mut background),
            sweep: Arc::new(PostgresSweep::new(self.database.clone())),
            deletions: Arc::new(PostgresDeletions::new(self.database.clone())),
            lists: Arc::new(PostgresSnippetLists::new(self.database.clone())),
            accounts: Arc::new(PostgresAccountStore::new(self.database.clone())),
            page_token_keys: Arc::new(PostgresPageTokenKeys::new(self.database.clone())),
            totals: Arc::new(PostgresViewTotals::new(self.database.clone())),
            history: Arc::new(PostgresViewHistory::new(self.database)),
            publisher: self.publisher,
            limiter: Arc::new(ratelimit::limiter(self.ratelimit, self.ratelimit_timeout)),
        };
        let routes = build(backends, api, Router::new(), background_timeout, &mut background)?;
        Ok(App { error_domain: "snippets", routes, health, background })
    }

    fn health(&self) -> Health {
        let (database, cache) = (self.database.clone(), self.cache.clone());
        let (publisher, ratelimit) = (self.publisher.status(), self.ratelimit.clone());
        self.health_of_standby(Health::new())
            .dependency("postgres", Need::ToStart, move || {
                let database = database.clone();
                async move { Ok(database.check().await?) }
            })
            .dependency("cache", Need::Degrades, move || {
                let cache = cache.clone();
                async move { Ok(cache.check().await?) }
            })
            .dependency("rabbitmq", Need::Degrades, move || ready(publisher.check().map_err(Into::into)))
            .dependency("ratelimit", Need::Degrades, move || {
                chassis::client::probe(ratelimit.clone(), "ratelimit.v1.RateLimitService")
            })
            // Cached reads work without the database.
            .service("snippets.v1.SnippetService", &["postgres", "cache"])
            .service("snippets.v1.AccountService", &["postgres"])
    }
    fn health_of_standby(&self, health: Health) -> Health {
        if !self.database.has_standby() {
            return health;
        }
        let database = self.database.clone();
        health.dependency("postgres-replica", Need::Degrades, move || {
            ready(database.check_standby().map_err(Into::into))
        })
    }
}
