//! Every service starts with everything that it depends on away, says what it misses, and recovers by itself.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::net::SocketAddr;

use e2e::{Client, PATIENCE, until_views};
use rpc::snippets::v1::Snippet;
use stack::{Backends, Proxy, Service, ServiceBuilder, StartedWhen, eventually, http_get};
use tonic::Code;

/// The way to each server, closed until it is opened.
struct Ways {
    postgres: Proxy,
    cache: Proxy,
    counters: Proxy,
    rabbitmq: Proxy,
    ratelimit: Proxy,
    /// The servers as they are seen through these.
    backends: Backends,
}

impl Ways {
    async fn closed(backends: &Backends, ratelimit: SocketAddr) -> Self {
        let (postgres, database_url) = closed_way(&backends.database_url).await;
        let (cache, cache_redis_url) = closed_way(&backends.cache_redis_url).await;
        let (counters, counters_redis_url) = closed_way(&backends.counters_redis_url).await;
        let (rabbitmq, amqp_url) = closed_way(&backends.amqp_url).await;
        let ratelimit = Proxy::start(ratelimit).await.unwrap();
        ratelimit.cut().await;
        let backends = Backends { database_url, cache_redis_url, counters_redis_url, amqp_url };
        Self { postgres, cache, counters, rabbitmq, ratelimit, backends }
    }

    fn service(&self, program: &str) -> ServiceBuilder {
        let service = e2e::service_of(&self.backends, program).unwrap();
        service
            .env("RATELIMIT_URL", format!("http://{}", self.ratelimit.addr()))
            .started_when(StartedWhen::Live)
    }
}

/// A way to the server of a URL, and the URL by that way.
async fn closed_way(url: &str) -> (Proxy, String) {
    let (proxy, through) = Proxy::before_url(url).await.unwrap();
    proxy.cut().await;
    (proxy, through)
}

/// Waits until `/readyz` has that status and names exactly these as down.
async fn until_readyz(service: &Service, status: u16, down: &[&str]) {
    let as_expected = eventually(PATIENCE, async || {
        let answer = http_get(service.admin_addr(), "/readyz").await?;
        let named = answer.body.lines().skip(1).filter_map(|line| line.split_once(':')).map(|(name, _)| name);
        let named: Vec<_> = named.collect();
        anyhow::ensure!((answer.status, &named[..]) == (status, down), "{}: {answer:?}", service.name());
        Ok(())
    });
    as_expected.await.unwrap();
}

#[tokio::test]
async fn services_start_with_everything_away_and_become_ready_by_themselves() {
    let backends = e2e::backends().await;
    // Its limiter is the one that is away at first; and it brings the schemas.
    let product = e2e::product(&backends).replicas(0).workers(0).start().await.unwrap();
    let ways = Ways::closed(&backends, product.ratelimit.grpc_addr()).await;
    let (snippets, ratelimit, worker) = tokio::try_join!(
        ways.service("snippets").start(),
        ways.service("ratelimit").start(),
        ways.service("counter-worker").start(),
    )
    .unwrap();
    until_readyz(&snippets, 503, &["cache", "postgres", "rabbitmq", "ratelimit"]).await;
    until_readyz(&ratelimit, 503, &["redis"]).await;
    until_readyz(&worker, 503, &["postgres", "rabbitmq"]).await;
    let client = Client::to(&snippets).await.unwrap();
    let status = client.get("0123456789a").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    e2e::assert_explained(&status);

    // The database alone is enough for snippets, and not for the worker.
    ways.postgres.restore().await.unwrap();
    until_readyz(&snippets, 200, &["cache", "rabbitmq", "ratelimit"]).await;
    until_readyz(&worker, 503, &["rabbitmq"]).await;
    let id = client.create(Snippet { body: "early".into(), ..Snippet::default() }).await.unwrap().id;
    assert_eq!(client.get(&id).await.unwrap().body, "early");
    assert!(snippets.metric("snippets_unchecked_writes_total").await.unwrap() > 0.5);

    for way in [&ways.cache, &ways.counters, &ways.rabbitmq, &ways.ratelimit] {
        way.restore().await.unwrap();
    }
    for service in [&snippets, &ratelimit, &worker] {
        until_readyz(service, 200, &[]).await;
        assert_eq!(http_get(service.admin_addr(), "/livez").await.unwrap().status, 200);
    }
    // What was viewed while there was no broker is counted now.
    assert_eq!(until_views(&client, &id, 1).await.unwrap(), 1);
}
