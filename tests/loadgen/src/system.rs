//! The product under load, on real servers or in one process.

use anyhow::Context as _;
use stack::{Backends, PostgresOptions, Product, Redis, RedisPolicy, Service, Shared, SharedServers, binary};
use tempfile::TempDir;

use crate::Options;

const STANDALONE: &str = "standalone";
/// Rules whose limits are never reached, or always.
pub(crate) const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rules");

/// The running product; ends when dropped, services before what they work on.
pub(crate) struct System {
    pub(crate) services: Vec<Service>,
    /// Of the limiter, which has it to itself; none in one process.
    pub(crate) counters: Option<Redis>,
    _servers: Option<SharedServers>,
    _data: Option<TempDir>,
}

impl System {
    pub(crate) async fn start(options: &Options) -> anyhow::Result<Self> {
        if options.standalone { Self::in_one_process().await } else { Self::on_servers().await }
    }

    pub(crate) async fn in_one_process() -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let standalone = Service::builder(STANDALONE, binary(STANDALONE)?)
            .env("DATA_DIR", data.path().to_string_lossy())
            .env("RATELIMIT_RULES", RULES);
        Ok(Self {
            services: vec![standalone.start().await?],
            counters: None,
            _servers: None,
            _data: Some(data),
        })
    }

    /// Every service once, on the servers of `stack exec` if it runs this, else on its own.
    pub(crate) async fn on_servers() -> anyhow::Result<Self> {
        let (backends, servers) = match Shared::from_env() {
            Ok(shared) => (Backends::fresh(&shared).await, None),
            Err(_) => own_servers().await.map(|(backends, servers)| (backends, Some(servers)))?,
        };
        let counters = Redis::start(RedisPolicy::Counters).await?;
        let backends = Backends { counters_redis_url: counters.url().to_owned(), ..backends };
        let product = Product::builder(backends).replicas(1).workers(1);
        let Product { snippets, ratelimit, counter_workers } =
            product.env("RATELIMIT_RULES", RULES).start().await?;
        let services = snippets.into_iter().chain([ratelimit]).chain(counter_workers).collect();
        Ok(Self { services, counters: Some(counters), _servers: servers, _data: None })
    }

    /// The service of that name, or the process that is all of them.
    pub(crate) fn serving(&self, name: &str) -> anyhow::Result<&Service> {
        let serves = |service: &&Service| service.name().starts_with(name) || service.name() == STANDALONE;
        self.services.iter().find(serves).context("not started")
    }
}

/// Servers of one's own. Postgres waits for the disk, as in production.
pub(crate) async fn own_servers() -> anyhow::Result<(Backends, SharedServers)> {
    let servers = SharedServers::start(PostgresOptions { fsync: true, port: None }).await?;
    Ok((Backends::of(&servers), servers))
}
