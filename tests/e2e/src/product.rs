//! The product that a test talks to.

use std::time::Duration;

use stack::{Backends, Product, ProductBuilder, Service, ServiceBuilder, binary, shared, until};
use tokio::sync::OnceCell;

use crate::Client;

/// The key of the product's admin.
pub const ADMIN_KEY: &str = "the-admin-key-of-the-tests";

/// Longest that a test waits for what has to happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long a view may take to be counted.
const COUNTED_WITHIN: Duration = Duration::from_secs(10);

/// How the services of a test are set up. Their patience with each other is greater than a user's: the tests share few
/// cores with many servers, and a limiter that did not answer in time is no limit.
const SETTINGS: [(&str, &str); 3] =
    [("BOOTSTRAP_ADMIN_KEY", ADMIN_KEY), ("RATELIMIT_TIMEOUT", "5s"), ("REDIS_TIMEOUT", "5s")];

/// A database, logical Redis databases and a virtual host of one's own.
pub async fn backends() -> Backends {
    Backends::fresh(shared()).await
}

/// A product on these backends.
pub fn product(backends: &Backends) -> ProductBuilder {
    let builder = Product::builder(backends.clone());
    SETTINGS.iter().fold(builder, |builder, (name, value)| builder.env(name, *value))
}

/// Two replicas and a worker that all tests of a program share.
pub async fn shared_product() -> anyhow::Result<&'static Product> {
    static PRODUCT: OnceCell<Product> = OnceCell::const_new();
    PRODUCT.get_or_try_init(async || product(&backends().await).workers(1).start().await).await
}

/// One more service on these backends, beside a product or instead of one. A `snippets` wants a `RATELIMIT_URL`, too.
pub fn service_of(backends: &Backends, program: &str) -> anyhow::Result<ServiceBuilder> {
    Ok(service(program)?
        .env("DATABASE_URL", &backends.database_url)
        .env("CACHE_REDIS_URL", &backends.cache_redis_url)
        .env("COUNTERS_REDIS_URL", &backends.counters_redis_url)
        .env("AMQP_URL", &backends.amqp_url))
}

/// A service that knows of no servers yet.
pub fn service(program: &str) -> anyhow::Result<ServiceBuilder> {
    let service = Service::builder(program, binary(program)?);
    Ok(SETTINGS.iter().fold(service, |service, (name, value)| service.env(name, value)))
}

/// Waits until at least that many views of a snippet are counted, and gives the number.
pub async fn until_views(client: &Client, id: &str, views: u64) -> anyhow::Result<u64> {
    let mut counted = 0;
    let what = format!("{views} views of {id} are counted");
    let waited = until(&what, COUNTED_WITHIN, async || {
        counted = client.look(id).await.map_or(counted, |snippet| snippet.view_count);
        counted >= views
    });
    waited.await.map_err(|error| error.context(format!("{counted} were counted")))?;
    Ok(counted)
}
