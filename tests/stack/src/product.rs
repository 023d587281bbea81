//! The whole product as child processes: migrated, the limiter, replicas of snippets, counter workers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;

use crate::ports::Port;
use crate::postgres::Database;
use crate::programs::binary;
use crate::service::{Service, ServiceBuilder, StartedWhen};
use crate::shared::{Shared, SharedServers};

/// The ports of the design; the second replica's follows the same pattern.
const SNIPPETS_PORTS: [u16; 2] = [50051, 50061];
const RATELIMIT_PORT: u16 = 50052;
const FIRST_ADMIN_PORT: u16 = 9464;

/// The servers that the product works on.
#[derive(Debug, Clone)]
pub struct Backends {
    /// Postgres, with the right to migrate.
    pub database_url: String,
    /// Redis for the cache.
    pub cache_redis_url: String,
    /// Redis for the limiter's counters.
    pub counters_redis_url: String,
    /// RabbitMQ, with its virtual host.
    pub amqp_url: String,
}

impl Backends {
    /// A database, logical Redis databases and a virtual host of one's own on the shared servers.
    ///
    /// # Panics
    /// When they can't be created.
    pub async fn fresh(shared: &Shared) -> Self {
        Self {
            database_url: shared.database().await.url().to_owned(),
            cache_redis_url: shared.own_cache_redis_url().await,
            counters_redis_url: shared.own_counters_redis_url().await,
            amqp_url: shared.amqp_vhost().await.url().to_owned(),
        }
    }

    /// The servers as they are, for a product that has them to itself.
    pub fn of(servers: &SharedServers) -> Self {
        let [(_, database), (_, cache), (_, counters), (_, amqp), ..] = servers.variables();
        Self {
            database_url: database.to_owned(),
            cache_redis_url: cache.to_owned(),
            counters_redis_url: counters.to_owned(),
            amqp_url: amqp.to_owned(),
        }
    }
}

/// What to start, and how.
#[derive(Debug)]
pub struct ProductBuilder {
    backends: Backends,
    bin_dir: Option<PathBuf>,
    replicas: usize,
    workers: usize,
    design_ports: bool,
    env: Vec<(String, String)>,
    env_of: Vec<(String, String, String)>,
    started_when: StartedWhen,
}

impl ProductBuilder {
    /// Takes the binaries from this folder instead of the one of the running executable.
    #[must_use]
    pub fn bin_dir(mut self, bin_dir: Option<PathBuf>) -> Self {
        self.bin_dir = bin_dir;
        self
    }

    /// How many snippets replicas; 2 by default.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// How many counter workers; 2 by default.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Takes the ports that the documentation names where they are free.
    #[must_use]
    pub fn design_ports(mut self) -> Self {
        self.design_ports = true;
        self
    }

    /// Sets an environment variable for every service.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Sets an environment variable for the service of that name (`snippets-1`, `counter-worker-2`, ...) alone. It wins
    /// over what the service would get otherwise.
    #[must_use]
    pub fn env_of(mut self, service: &str, name: &str, value: impl Into<String>) -> Self {
        self.env_of.push((service.to_owned(), name.to_owned(), value.into()));
        self
    }

    /// What the start and each restart of a service wait for; `/readyz` by default.
    #[must_use]
    pub fn started_when(mut self, started_when: StartedWhen) -> Self {
        self.started_when = started_when;
        self
    }

    /// The database that the product is to work on.
    pub fn database(&self) -> Database {
        Database::at(&self.backends.database_url)
    }

    /// Migrates, starts everything, and waits until each service has started.
    pub async fn start(self) -> anyhow::Result<Product> {
        self.migrate("snippets").await?;
        self.migrate("counter-worker").await?;
        let ratelimit = self.start_ratelimit().await?;
        let mut snippets = Vec::new();
        for index in 0..self.replicas {
            snippets.push(self.start_snippets(index, &ratelimit).await?);
        }
        let mut counter_workers = Vec::new();
        for index in 0..self.workers {
            counter_workers.push(self.start_counter_worker(index).await?);
        }
        Ok(Product { snippets, ratelimit, counter_workers })
    }

    async fn migrate(&self, program: &str) -> anyhow::Result<()> {
        let service = self.service(program, program)?.env("DATABASE_URL", &self.backends.database_url);
        service.run("migrate").await.map(drop)
    }

    async fn start_ratelimit(&self) -> anyhow::Result<Service> {
        let service = self.service("ratelimit", "ratelimit")?;
        let service = service.env("COUNTERS_REDIS_URL", &self.backends.counters_redis_url);
        self.start_on("ratelimit", service, Some(RATELIMIT_PORT)).await
    }

    async fn start_snippets(&self, index: usize, ratelimit: &Service) -> anyhow::Result<Service> {
        let name = format!("snippets-{}", index + 1);
        let service = self
            .service("snippets", &name)?
            .env("DATABASE_URL", &self.backends.database_url)
            .env("CACHE_REDIS_URL", &self.backends.cache_redis_url)
            .env("AMQP_URL", &self.backends.amqp_url)
            .env("RATELIMIT_URL", ratelimit.grpc_url());
        self.start_on(&name, service, SNIPPETS_PORTS.get(index).copied()).await
    }

    async fn start_counter_worker(&self, index: usize) -> anyhow::Result<Service> {
        let name = format!("counter-worker-{}", index + 1);
        let service = self
            .service("counter-worker", &name)?
            .env("DATABASE_URL", &self.backends.database_url)
            .env("AMQP_URL", &self.backends.amqp_url);
        self.start_on(&name, service, None).await
    }

    fn service(&self, program: &str, name: &str) -> anyhow::Result<ServiceBuilder> {
        let service = Service::builder(name, self.program(program)?);
        Ok(self.env.iter().fold(service, |service, (name, value)| service.env(name, value)))
    }

    async fn start_on(
        &self,
        name: &str,
        service: ServiceBuilder,
        wanted: Option<u16>,
    ) -> anyhow::Result<Service> {
        let own = self.env_of.iter().filter(|(service, ..)| service == name);
        let service = own.fold(service, |service, (_, name, value)| service.env(name, value));
        self.on_ports(service, wanted)?.started_when(self.started_when).start().await
    }

    fn on_ports(&self, service: ServiceBuilder, wanted: Option<u16>) -> anyhow::Result<ServiceBuilder> {
        if !self.design_ports {
            return Ok(service);
        }
        let grpc = wanted.map_or_else(Port::free, Port::preferred)?;
        Ok(service.ports(grpc, Port::first_from(FIRST_ADMIN_PORT)?))
    }

    fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let Some(dir) = &self.bin_dir else { return binary(name) };
        let path = dir.join(name);
        if !path.is_file() {
            bail!("{} is missing: run `{}`", path.display(), build_command(dir));
        }
        Ok(path)
    }
}

/// The running product; ends when dropped.
#[derive(Debug)]
pub struct Product {
    /// The snippets replicas.
    pub snippets: Vec<Service>,
    /// The limiter.
    pub ratelimit: Service,
    /// The counter workers.
    pub counter_workers: Vec<Service>,
}

impl Product {
    /// Begins to describe a product on these servers.
    pub fn builder(backends: Backends) -> ProductBuilder {
        ProductBuilder {
            backends,
            bin_dir: None,
            replicas: 2,
            workers: 2,
            design_ports: false,
            env: Vec::new(),
            env_of: Vec::new(),
            started_when: StartedWhen::default(),
        }
    }

    /// All services with their names, callers before those they call.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.snippets.iter().chain([&self.ratelimit]).chain(&self.counter_workers)
    }

    /// SIGTERM to each service, in an order that lets each finish what it was given; fails if one is not
    /// gone in time.
    pub async fn stop(&self, each_within: Duration) -> anyhow::Result<()> {
        for service in self.services() {
            let status = service.terminate(each_within).await?;
            if !status.success() {
                bail!("{} ended with {status}:\n{}", service.name(), service.log());
            }
        }
        Ok(())
    }
}

fn build_command(bin_dir: &Path) -> &'static str {
    if bin_dir.ends_with("release") {
        "cargo build --workspace --bins --release"
    } else {
        "cargo build --workspace --bins"
    }
}
