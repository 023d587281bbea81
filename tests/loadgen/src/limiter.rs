//! The limiter alone, with a Redis of its own.

use anyhow::Context as _;
use stack::{Redis, RedisPolicy, Service, binary};

use crate::system::RULES;

/// Ends when dropped, the service before its Redis.
pub(crate) struct Limiter {
    pub(crate) service: Service,
    pub(crate) redis: Redis,
}

impl Limiter {
    /// With a Redis that survives what is done to it.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let redis = Redis::start(RedisPolicy::Counters).await?;
        let service = Service::builder("ratelimit", binary("ratelimit")?)
            .env("COUNTERS_REDIS_URL", redis.url())
            .env("RATELIMIT_RULES", RULES)
            .start()
            .await?;
        Ok(Self { service, redis })
    }

    /// Processor time that its Redis has used, in microseconds.
    pub(crate) async fn redis_cpu_micros(&self) -> anyhow::Result<f64> {
        let info = self.redis.ask("INFO cpu").await?.concat();
        let seconds = |name: &str| -> Option<f64> {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
        };
        let times = seconds("used_cpu_user").zip(seconds("used_cpu_sys"));
        let (user, system) = times.with_context(|| format!("no times in {info}"))?;
        Ok((user + system) * 1e6)
    }
}
