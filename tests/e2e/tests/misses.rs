//! Who tries ids is stopped, and who reads what is there is not even looked at.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::ops::Range;

use e2e::{Client, assert_explained, until_views};
use rpc::snippets::v1::{
    BatchGetSnippetsRequest, BatchGetSnippetsResponse, GetViewStatsRequest, Snippet, Tier, Visibility,
};
use stack::{Product, Service, binary, http_get_with};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const CHECKS: &str = "grpc_requests_total{method=\"/ratelimit.v1.RateLimitService/Check\",code=\"OK\"}";

async fn product() -> Product {
    let product = e2e::product(&e2e::backends().await).replicas(1).workers(1);
    product.env("TRUSTED_PROXIES", "127.0.0.1").start().await.unwrap()
}

async fn from(server: &Service, address: &str) -> Client {
    Client::to(server).await.unwrap().with_header("x-forwarded-for", address)
}

/// Ids that nobody has, but by a chance that nobody lives to see.
fn made_up(ids: Range<usize>) -> Vec<String> {
    ids.map(|id| format!("0000000{id:04}")).collect()
}

async fn batch(client: &Client, ids: Vec<String>) -> Result<BatchGetSnippetsResponse, Status> {
    let request = BatchGetSnippetsRequest { ids, ..BatchGetSnippetsRequest::default() };
    client.snippets().batch_get_snippets(request).await.map(tonic::Response::into_inner)
}

fn assert_stopped(status: &Status, rule: &str, limit: &str) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_explained(status);
    let quota = status.get_details_quota_failure().unwrap().violations;
    assert!(quota[0].description.starts_with(&format!("{rule}: {limit} allowed")), "{quota:?}");
    assert!(!status.get_details_retry_info().unwrap().retry_delay.unwrap().is_zero());
    assert!(status.metadata().get("retry-after").is_some());
}

/// Six hundred a minute, of which `known` is none.
async fn stopped_after_six_hundred(server: &Service, known: &str) {
    let client = from(server, "198.51.100.1").await;
    for first in [0, 100, 200, 300, 400] {
        assert_eq!(batch(&client, made_up(first..first + 100)).await.unwrap().missing_ids.len(), 100);
    }
    for id in made_up(500..598) {
        assert_eq!(client.look(&id).await.unwrap_err().code(), Code::NotFound);
    }
    let owner = client.as_new(Tier::Free).await.unwrap();
    let visibility = Visibility::Private.into();
    let private = Snippet { body: "x".into(), visibility, ..Snippet::default() };
    let private = owner.create(private).await.unwrap().id;
    assert_eq!(client.get(&private).await.unwrap_err().code(), Code::NotFound);
    let headers = [("x-forwarded-for", "198.51.100.1")];
    let page =
        http_get_with(server.grpc_addr(), &format!("/s/{}", made_up(598..599)[0]), &headers).await.unwrap();
    assert_eq!(page.status, 404);
    // What is there was never counted, malformed ids are no ids, and who comes back tries nothing new.
    batch(&client, made_up(0..100)).await.unwrap();
    assert_eq!(client.get(&made_up(500..501)[0]).await.unwrap_err().code(), Code::NotFound);
    client.get(known).await.unwrap();
    assert_eq!(client.get("not an id").await.unwrap_err().code(), Code::InvalidArgument);
    let (missing, limit) = ("missing_anonymous", "600");
    assert_stopped(&client.get(&made_up(600..601)[0]).await.unwrap_err(), missing, limit);
    // From here on nothing tells what is there from what is not.
    assert_stopped(&client.get(known).await.unwrap_err(), missing, limit);
    assert_stopped(&batch(&client, vec![known.to_owned()]).await.unwrap_err(), missing, limit);
    for path in [format!("/s/{known}"), format!("/s/{known}/raw"), format!("/s/{}", made_up(0..1)[0])] {
        let page = http_get_with(server.grpc_addr(), &path, &headers).await.unwrap();
        assert_eq!(page.status, 429, "{path}: {page:?}");
        assert!(page.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    }
    // Writes are another matter, and others are others.
    client.create(Snippet { body: "x".into(), ..Snippet::default() }).await.unwrap();
    from(server, "198.51.100.2").await.get(known).await.unwrap();
    client.as_new(Tier::Free).await.unwrap().get(known).await.unwrap();
}

async fn shared(server: &Service) -> String {
    let client = from(server, "198.51.100.3").await;
    client.create(Snippet { body: "shared".into(), ..Snippet::default() }).await.unwrap().id
}

#[tokio::test]
async fn an_address_may_miss_six_hundred_a_minute() {
    let product = product().await;
    let known = shared(&product.snippets[0]).await;
    stopped_after_six_hundred(&product.snippets[0], &known).await;
}

#[tokio::test]
async fn so_it_may_in_standalone() {
    let dir = tempfile::tempdir().unwrap();
    let server = Service::builder("standalone", binary("standalone").unwrap())
        .env("DATA_DIR", dir.path().to_string_lossy())
        .env("BOOTSTRAP_ADMIN_KEY", e2e::ADMIN_KEY)
        .env("TRUSTED_PROXIES", "127.0.0.1");
    let server = server.start().await.unwrap();
    let known = shared(&server).await;
    stopped_after_six_hundred(&server, &known).await;
}

#[tokio::test]
async fn a_network_of_ipv6_is_one_and_an_account_is_itself() {
    let product = product().await;
    let server = &product.snippets[0];
    let known = shared(server).await;
    for host in 1..=6 {
        let ids = made_up(host * 100..host * 100 + 100);
        batch(&from(server, &format!("2001:db8::{host}")).await, ids).await.unwrap();
    }
    let neighbour = from(server, "2001:db8::ffff:1").await;
    let denied = neighbour.get(&made_up(0..1)[0]).await.unwrap_err();
    assert_stopped(&denied, "missing_anonymous", "600");
    assert_eq!(denied.get_details_quota_failure().unwrap().violations[0].subject, "address:2001:db8::/64");
    from(server, "2001:db8:0:1::1").await.get(&known).await.unwrap();
    // What it was shown has been seen, so it is told, and then no more.
    let account = neighbour.as_new(Tier::Free).await.unwrap();
    for first in [0, 100, 200, 300, 400, 500] {
        batch(&account, made_up(first..first + 100)).await.unwrap();
    }
    let some = batch(&account, [made_up(600..601), vec![known.clone()]].concat()).await.unwrap();
    assert_eq!((some.snippets.len(), some.missing_ids.len()), (1, 1));
    assert_stopped(&account.get(&known).await.unwrap_err(), "missing", "600");
    let stats = GetViewStatsRequest { id: known.clone(), ..GetViewStatsRequest::default() };
    assert_stopped(&account.view_stats(stats).await.unwrap_err(), "missing", "600");
    until_views(&from(server, "198.51.100.9").await, &known, 2).await.unwrap();
}

#[tokio::test]
async fn who_reads_what_is_there_is_not_looked_at_and_a_limiter_that_is_away_stops_nobody() {
    let product = product().await;
    let server = &product.snippets[0];
    let client = from(server, "198.51.100.1").await;
    let known = shared(server).await;
    let before = product.ratelimit.metric(CHECKS).await.unwrap();
    for _ in 0..20 {
        client.get(&known).await.unwrap();
        batch(&client, vec![known.clone()]).await.unwrap();
    }
    assert!(product.ratelimit.metric(CHECKS).await.unwrap() < before + 0.5);
    assert_eq!(client.get(&made_up(0..1)[0]).await.unwrap_err().code(), Code::NotFound);
    assert!(product.ratelimit.metric(CHECKS).await.unwrap() > before + 0.5);

    product.ratelimit.kill();
    for first in [100, 200, 300, 400, 500, 600, 700] {
        batch(&client, made_up(first..first + 100)).await.unwrap();
    }
    assert_eq!(client.get(&made_up(1..2)[0]).await.unwrap_err().code(), Code::NotFound);
    assert!(server.metric("snippets_unchecked_misses_total").await.unwrap() > 7.5);
}
