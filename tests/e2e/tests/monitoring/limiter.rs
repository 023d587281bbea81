//! A limiter to which all has happened that it has metrics for, while Prometheus looked on.

use std::fs;
use std::path::PathBuf;

use e2e::{Client, PATIENCE};
use rpc::ratelimit::v1::descriptor::Entry;
use rpc::ratelimit::v1::{CheckRequest, Descriptor};
use rpc::snippets::v1::Snippet;
use stack::{Port, Prometheus, Redis, RedisPolicy, Service, until};
use tempfile::TempDir;

use crate::prometheus;

const RULES: &str = "\
domain: shop
descriptors:
  - {key: local, limits: [{name: local, limit: 2, period: 1h, on_error: local}]}
  - {key: open, limits: [{name: open, limit: 2, period: 1h, on_error: allow}]}
  - {key: closed, limits: [{name: closed, limit: 2, period: 1h, on_error: deny}]}
  - {key: leased, limits: [{name: leased, limit: 100000, period: 1h, lease: 100}]}
  - {key: detailed, detailed_metric: true, rate_limit: {unit: hour, requests_per_unit: 100000}}
";

pub struct Scene {
    pub limiter: Service,
    pub prometheus: Prometheus,
    client: Client,
    redis: Redis,
    rules: PathBuf,
    _folder: TempDir,
    _snippets: Service,
}

impl Scene {
    /// Counters are there once they have counted, so everything has to happen once.
    pub async fn play() -> Self {
        let scene = Self::set().await;
        scene.requests_are_allowed_and_denied().await;
        scene.tokens_are_leased_and_wasted().await;
        scene.rules_are_accepted_and_refused().await;
        scene.redis_is_away().await;
        scene
    }

    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = folder.path().join("shop.yaml");
        fs::write(&rules, RULES).unwrap();
        let redis = Redis::start(RedisPolicy::Counters).await.unwrap();
        let limiter = e2e::service("ratelimit")
            .unwrap()
            .env("COUNTERS_REDIS_URL", redis.url())
            .env("RATELIMIT_RULES", rules.to_string_lossy());
        let limiter = limiter.start().await.unwrap();
        let snippets = unlimited_snippets().await;
        let prometheus = prometheus(&[("ratelimit", &limiter), ("snippets", &snippets)]).await;
        let client = Client::to(&limiter).await.unwrap();
        Self { limiter, prometheus, client, redis, rules, _folder: folder, _snippets: snippets }
    }

    async fn requests_are_allowed_and_denied(&self) {
        self.check_until("ratelimit_denial_memory_hits_total", "local", 1).await;
        self.check_until("ratelimit_detailed_decisions_total", "detailed", 1).await;
    }

    /// A hundred at once make the key hot. Then one at a time spends less than was leased until the lease ends.
    async fn tokens_are_leased_and_wasted(&self) {
        self.check_until("ratelimit_lease_tokens_total", "leased", 100).await;
        self.check_until("ratelimit_lease_tokens_wasted_total", "leased", 1).await;
    }

    async fn rules_are_accepted_and_refused(&self) {
        fs::write(&self.rules, RULES.replace("limit: 100000", "limit: 200000")).unwrap();
        self.until_counted("ratelimit_rules_reloads_total{outcome=\"accepted\"}", async || ()).await;
        fs::write(&self.rules, "domain: [").unwrap();
        self.until_counted("ratelimit_rules_reloads_total{outcome=\"refused\"}", async || ()).await;
    }

    async fn redis_is_away(&self) {
        self.redis.kill();
        self.check_until("ratelimit_fallbacks_total{on_error=\"local\"}", "local", 1).await;
        self.check_until("ratelimit_fallbacks_total{on_error=\"allow\"}", "open", 1).await;
        self.check_until("ratelimit_decisions_total{outcome=\"unavailable\"}", "closed", 1).await;
        self.check_until("ratelimit_breaker_open", "closed", 1).await;
    }

    /// Checks until it shows. Some of the answers are errors.
    async fn check_until(&self, metric: &str, key: &str, cost: u64) {
        let entries = vec![Entry { key: key.into(), value: "x".into() }];
        let descriptors = vec![Descriptor { entries, cost }];
        let request = CheckRequest { domain: "shop".into(), descriptors, ..CheckRequest::default() };
        self.until_counted(metric, async || {
            drop(self.client.limiter().check(request.clone()).await);
        })
        .await;
    }

    async fn until_counted(&self, metric: &str, mut action: impl AsyncFnMut()) {
        let counted = until(metric, PATIENCE, async || {
            action().await;
            self.limiter.metric(metric).await.unwrap() > 0.0
        });
        counted.await.unwrap_or_else(|error| panic!("{error}; {}", self.limiter.log()));
    }
}

/// A snippets service without a limiter, in which a write has passed unchecked.
async fn unlimited_snippets() -> Service {
    let backends = e2e::backends().await;
    e2e::service_of(&backends, "snippets").unwrap().run("migrate").await.unwrap();
    let nobody = Port::free().unwrap();
    let snippets = e2e::service_of(&backends, "snippets")
        .unwrap()
        .env("RATELIMIT_URL", format!("http://{}", nobody.addr()))
        .start()
        .await
        .unwrap();
    let snippet = Snippet { body: "x".into(), ..Snippet::default() };
    Client::to(&snippets).await.unwrap().create(snippet).await.unwrap();
    snippets
}
