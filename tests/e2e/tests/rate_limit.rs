//! Writes are limited by caller, for all replicas of everything together.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use e2e::{Client, assert_explained};
use rpc::snippets::v1::{Snippet, Tier};
use stack::{Product, Service};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Two limiters over one Redis, and a replica of snippets for each.
struct Cluster {
    /// Its snippets replica trusts no proxy.
    product: Product,
    second_limiter: Service,
    /// Trusts the proxies of this machine.
    behind_proxy: Service,
}

async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER.get_or_init(start).await
}

async fn start() -> Cluster {
    let backends = e2e::backends().await;
    let product = e2e::product(&backends).replicas(1).workers(0).start().await.unwrap();
    let second_limiter = e2e::service_of(&backends, "ratelimit").unwrap().start().await.unwrap();
    let behind_proxy = e2e::service_of(&backends, "snippets")
        .unwrap()
        .env("RATELIMIT_URL", second_limiter.grpc_url())
        .env("TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await
        .unwrap();
    Cluster { product, second_limiter, behind_proxy }
}

impl Cluster {
    /// A caller of each replica.
    async fn clients(&self) -> [Client; 2] {
        [Client::to(&self.product.snippets[0]).await.unwrap(), Client::to(&self.behind_proxy).await.unwrap()]
    }

    async fn assert_both_limiters_decided(&self) {
        let checks = "grpc_requests_total{method=\"/ratelimit.v1.RateLimitService/Check\",code=\"OK\"}";
        for limiter in [&self.product.ratelimit, &self.second_limiter] {
            assert!(limiter.metric(checks).await.unwrap() >= 35.0, "{} was not asked", limiter.name());
        }
        for replica in [&self.product.snippets[0], &self.behind_proxy] {
            let unchecked = replica.metric("snippets_unchecked_writes_total").await.unwrap();
            assert!(unchecked < 1.0, "{unchecked} writes passed unchecked");
        }
    }
}

fn small() -> Snippet {
    Snippet { body: "x".into(), ..Snippet::default() }
}

/// That many creates at once, through each client in turn; those that were refused.
async fn refusals(clients: &[Client], creates: usize) -> Vec<Status> {
    let mut calls = JoinSet::new();
    for client in clients.iter().cycle().take(creates) {
        let client = client.clone();
        calls.spawn(async move { client.create(small()).await });
    }
    calls.join_all().await.into_iter().filter_map(Result::err).collect()
}

fn assert_refused_by_limit(status: &Status, limit: &str) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let retry_delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(Duration::ZERO < retry_delay && retry_delay <= Duration::from_secs(60), "{retry_delay:?}");
    let quota = status.get_details_quota_failure().unwrap().violations;
    assert!(
        quota.len() == 1 && !quota[0].subject.is_empty() && quota[0].description.contains(limit),
        "{quota:?}"
    );
    let header = |name| status.metadata().get(name).unwrap().to_str().unwrap();
    let seconds = |name: &'static str| -> u64 { header(name).parse().unwrap() };
    assert!((1..=60).contains(&seconds("retry-after")) && (1..=60).contains(&seconds("ratelimit-reset")));
    assert!(seconds("retry-after") >= retry_delay.as_secs());
    assert_eq!((header("ratelimit-limit"), header("ratelimit-remaining")), (limit, "0"));
}

#[tokio::test]
async fn of_70_creates_60_pass_whichever_replicas_they_go_through() {
    let cluster = cluster().await;
    let [one, two] = cluster.clients().await;
    let secret = one.new_key(Tier::Free).await.unwrap().secret;
    let refused = refusals(&[one.with_key(&secret), two.with_key(&secret)], 70).await;
    assert_eq!(refused.len(), 10, "{refused:?}");
    for status in &refused {
        assert_refused_by_limit(status, "60");
        assert!(!status.message().contains(&secret));
        let quota = status.get_details_quota_failure().unwrap();
        assert!(quota.violations[0].subject.starts_with("account:"), "{quota:?}");
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.domain, "snippets");
    }
    cluster.assert_both_limiters_decided().await;
    // Another key of the same account would not help; another account is somebody else, and reads are no writes.
    let other = two.as_new(Tier::Free).await.unwrap();
    let created = other.create(small()).await.unwrap();
    one.with_key(&secret).get(&created.id).await.unwrap();
}

#[tokio::test]
async fn updates_and_deletes_are_writes_too() {
    let [one, two] = cluster().await.clients().await;
    let secret = one.new_key(Tier::Free).await.unwrap().secret;
    let (one, two) = (one.with_key(&secret), two.with_key(&secret));
    let id = one.create(small()).await.unwrap().id;
    assert!(refusals(&[one.clone(), two.clone()], 58).await.is_empty());
    two.update(Snippet { id: id.clone(), title: "the 60th".into(), ..Snippet::default() }).await.unwrap();
    let update = one.update(Snippet { id: id.clone(), title: "x".into(), ..Snippet::default() }).await;
    assert_refused_by_limit(&update.unwrap_err(), "60");
    assert_refused_by_limit(&two.delete(&id).await.unwrap_err(), "60");
    assert_eq!(one.get(&id).await.unwrap().title, "the 60th");
}

#[tokio::test]
async fn premium_accounts_may_write_300_times() {
    let [one, two] = cluster().await.clients().await;
    let secret = one.new_key(Tier::Premium).await.unwrap().secret;
    let refused = refusals(&[one.with_key(&secret), two.with_key(&secret)], 310).await;
    assert_eq!(refused.len(), 10);
    for status in &refused {
        assert_refused_by_limit(status, "300");
    }
}

#[tokio::test]
async fn an_anonymous_caller_is_its_address_and_a_header_counts_only_from_a_trusted_proxy() {
    let cluster = cluster().await;
    let [direct, proxied] = cluster.clients().await;
    let from = |client: &Client, hops: &str| client.with_header("x-forwarded-for", hops);
    // From a trusted proxy: the last hop that is not trusted, whatever stands before it.
    let hops =
        ["198.51.100.1", "203.0.113.9, 198.51.100.1", "nonsense, 198.51.100.1", "198.51.100.1, 127.0.0.1"];
    let one_caller = hops.map(|hops| from(&proxied, hops));
    let refused = refusals(&one_caller, 61).await;
    assert_eq!(refused.len(), 1);
    assert_refused_by_limit(&refused[0], "60");
    assert_explained_without_address(&refused[0]);
    from(&proxied, "198.51.100.2").create(small()).await.unwrap();
    from(&proxied, "198.51.100.1, 198.51.100.3").create(small()).await.unwrap();
    // From anybody else: the peer's own address.
    let made_up: Vec<_> = (0..61).map(|host| from(&direct, &format!("198.51.100.{host}"))).collect();
    let refused = refusals(&made_up, 61).await;
    assert_eq!(refused.len(), 1);
    assert_refused_by_limit(&refused[0], "60");
    let limited = proxied.create(small()).await.unwrap_err();
    assert_refused_by_limit(&limited, "60");
}

fn assert_explained_without_address(status: &Status) {
    assert_explained(status);
    assert_eq!(status.get_details_quota_failure().unwrap().violations[0].subject, "address:198.51.100.1");
}
