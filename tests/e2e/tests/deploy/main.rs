//! The product on servers with the very users and rights that `deploy/` gives it: they suffice, and allow no more.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod dead_letters;
mod fill_in;
mod health;
mod refusals;
mod servers;

use e2e::{Client, PATIENCE, service, until_views};
use rpc::snippets::v1::{GetCallerRequest, GetViewStatsRequest, Snippet, Tier, Visibility};
use servers::Servers;
use stack::{Product, Service, ServiceBuilder, StartedWhen, until};
use tonic::Code;
use tonic_types::StatusExt as _;

#[tokio::test]
async fn the_rights_that_deploy_gives_suffice_and_allow_no_more() {
    let servers = Servers::start().await;
    migrate(&servers).await;
    let product = start(&servers).await;
    health::until_nothing_is_degraded(&product).await;

    let clients = clients(&product).await;
    a_snippet_is_cached_edited_and_deleted(&product.snippets, &clients).await;
    the_61st_write_is_denied(&clients).await;
    let views = views_of_a_snippet_that_both_read(&clients).await;
    // First what tells the reason.
    servers.assert_nobody_was_refused();
    health::assert_nothing_failed(&product).await;
    assert_eq!(views.unwrap(), 2);
    dead_letters::are_listed_replayed_and_purged(&servers).await;
    servers.assert_nobody_was_refused();

    refusals::of_postgres(&servers).await;
    refusals::of_redis(&servers).await;
    refusals::of_rabbitmq(&servers).await;
}

async fn migrate(servers: &Servers) {
    for (program, owner) in [("snippets", "snippets_owner"), ("counter-worker", "views_owner")] {
        let migration = service(program).unwrap().env("DATABASE_URL", servers.url("postgres", owner));
        migration.run("migrate").await.unwrap();
    }
}

/// The services of docker-compose.yml, in the name of the same users.
async fn start(servers: &Servers) -> Product {
    let ratelimit =
        service("ratelimit").unwrap().env("COUNTERS_REDIS_URL", servers.url("redis", "ratelimit"));
    let ratelimit = started(ratelimit).await;
    let snippets = || {
        let snippets = service("snippets")
            .unwrap()
            .env("DATABASE_URL", servers.url("postgres", "snippets_app"))
            .env("CACHE_REDIS_URL", servers.url("redis", "snippets"))
            .env("AMQP_URL", servers.url("amqp", "snippets"))
            .env("RATELIMIT_URL", ratelimit.grpc_url())
            // A cache that fails is no news to an operator, who has metrics.
            .env("RUST_LOG", "info,snippets::cached=debug");
        started(snippets)
    };
    let counter_worker = || {
        let worker = service("counter-worker")
            .unwrap()
            .env("DATABASE_URL", servers.url("postgres", "views_app"))
            .env("AMQP_URL", servers.url("amqp", "counter-worker"));
        started(worker)
    };
    let snippets = vec![snippets().await, snippets().await];
    let counter_workers = vec![counter_worker().await, counter_worker().await];
    Product { snippets, ratelimit, counter_workers }
}

/// Whether it is ready, too, is for the test to find out, which can say why it is not.
async fn started(service: ServiceBuilder) -> Service {
    service.started_when(StartedWhen::Live).start().await.unwrap()
}

async fn clients(product: &Product) -> [Client; 2] {
    let [one, two] = &product.snippets[..] else { panic!("two replicas") };
    [Client::to(one).await.unwrap(), Client::to(two).await.unwrap()]
}

async fn a_snippet_is_cached_edited_and_deleted(replicas: &[Service], clients: &[Client; 2]) {
    let author = clients[0].as_new(Tier::Free).await.unwrap();
    let caller = author.accounts().get_caller(GetCallerRequest {}).await.unwrap().into_inner();
    assert!(caller.account.is_some());
    let visibility = Visibility::Public.into();
    let id =
        author.create(Snippet { body: "first".into(), visibility, ..Snippet::default() }).await.unwrap().id;
    for (client, replica) in clients.iter().zip(replicas) {
        client.look(&id).await.unwrap();
        let hits = "snippets_near_cache_requests_total{outcome=\"hit\"}";
        let before = replica.metric(hits).await.unwrap();
        assert_eq!(client.get(&id).await.unwrap().body, "first");
        let after = replica.metric(hits).await.unwrap();
        assert!(
            after > before,
            "a second read did not come from the cache:\n{}",
            health::end_of_log(replica)
        );
    }
    author.update(Snippet { id: id.clone(), body: "second".into(), ..Snippet::default() }).await.unwrap();
    for client in clients {
        let seen = async || client.get(&id).await.unwrap().body == "second";
        until("the edit is seen", PATIENCE, seen).await.unwrap();
    }
    for replica in replicas {
        let heard = async || replica.metric("snippets_changes_heard_total").await.unwrap() > 0.5;
        until("the replica has heard of it", PATIENCE, heard).await.unwrap();
    }
    author.delete(&id).await.unwrap();
    for client in clients {
        let gone = async || client.get(&id).await.is_err_and(|status| status.code() == Code::NotFound);
        until("it is gone", PATIENCE, gone).await.unwrap();
    }
}

async fn the_61st_write_is_denied(clients: &[Client; 2]) {
    let secret = clients[0].new_key(Tier::Free).await.unwrap().secret;
    let authors = clients.each_ref().map(|client| client.with_key(&secret));
    for author in authors.iter().cycle().take(60) {
        author.create(Snippet { body: "x".into(), ..Snippet::default() }).await.unwrap();
    }
    for author in &authors {
        let denied = author.create(Snippet { body: "x".into(), ..Snippet::default() }).await;
        let status = denied.expect_err("the 61st write passed");
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(status.get_details_quota_failure().is_some());
    }
}

async fn views_of_a_snippet_that_both_read(clients: &[Client; 2]) -> anyhow::Result<u64> {
    let created = clients[0].create(Snippet { body: "x".into(), ..Snippet::default() }).await?;
    for client in clients {
        client.get(&created.id).await?;
    }
    let stats = GetViewStatsRequest { id: created.id.clone(), ..GetViewStatsRequest::default() };
    clients[0].as_admin().view_stats(stats).await?;
    until_views(&clients[1], &created.id, 2).await
}
