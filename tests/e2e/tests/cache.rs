//! Reads come from the cache, and yet show every edit at once.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use e2e::{Client, PATIENCE};
use rpc::snippets::v1::{Snippet, Tier, Visibility};
use stack::{Backends, Product, Proxy, Service, until};
use tokio::task::JoinSet;
use tonic::Code;

/// Two replicas, of which the second reaches the database through a proxy that can be cut.
struct Replicas {
    product: Product,
    second: Service,
    database: Proxy,
}

impl Replicas {
    async fn start() -> Self {
        let backends = e2e::backends().await;
        let product = e2e::product(&backends).replicas(1).workers(0).start().await.unwrap();
        let (database, database_url) = Proxy::before_url(&backends.database_url).await.unwrap();
        let through_proxy = Backends { database_url, ..backends };
        let second = e2e::service_of(&through_proxy, "snippets").unwrap();
        let second = second.env("RATELIMIT_URL", product.ratelimit.grpc_url()).start().await.unwrap();
        Self { product, second, database }
    }

    fn first(&self) -> &Service {
        &self.product.snippets[0]
    }

    async fn clients(&self) -> [Client; 2] {
        [Client::to(self.first()).await.unwrap(), Client::to(&self.second).await.unwrap()]
    }
}

async fn requests(replica: &Service, outcome: &str) -> f64 {
    replica.metric(&format!("snippets_cache_requests_total{{outcome=\"{outcome}\"}}")).await.unwrap()
}

async fn near_hits(replica: &Service) -> f64 {
    replica.metric("snippets_near_cache_requests_total{outcome=\"hit\"}").await.unwrap()
}

fn public(body: &str) -> Snippet {
    Snippet { body: body.into(), visibility: Visibility::Public.into(), ..Snippet::default() }
}

#[tokio::test]
async fn reads_are_served_from_the_cache_and_show_every_edit() {
    let replicas = Replicas::start().await;
    let [one, two] = replicas.clients().await;
    let owner = one.as_new(Tier::Free).await.unwrap();

    second_read_is_a_hit(&replicas, &one).await;
    edits_show_at_once(&owner, &one, &two).await;
    what_turned_private_is_gone(&owner, &one, &two).await;
    private_snippets_are_not_cached(&replicas, &owner).await;
    cached_reads_need_no_database(&replicas, &one, &two).await;
}

#[tokio::test]
async fn ten_thousand_first_reads_of_a_snippet_ask_the_database_once_a_replica() {
    const CONNECTIONS: usize = 25;
    const READERS_EACH: usize = 200;
    let replicas = Replicas::start().await;
    let [one, _] = replicas.clients().await;
    let id = one.create(public("suddenly hot")).await.unwrap().id;
    let services = [replicas.first(), &replicas.second];
    let before = [requests(services[0], "miss").await, requests(services[1], "miss").await];
    let mut readers = JoinSet::new();
    for service in services {
        for _ in 0..CONNECTIONS {
            let client = Client::to(service).await.unwrap();
            for _ in 0..READERS_EACH {
                let (client, id) = (client.clone(), id.clone());
                readers.spawn(async move { client.get(&id).await.unwrap().body });
            }
        }
    }
    let bodies = readers.join_all().await;
    assert_eq!(bodies.len(), 2 * CONNECTIONS * READERS_EACH);
    assert!(bodies.iter().all(|body| body == "suddenly hot"));
    for (service, before) in services.into_iter().zip(before) {
        let misses = requests(service, "miss").await - before;
        assert!(misses < 1.5, "{misses} readings of the database");
    }
}

async fn second_read_is_a_hit(replicas: &Replicas, reader: &Client) {
    let created = reader.create(public("x")).await.unwrap();
    let [misses, hits] = [requests(replicas.first(), "miss").await, near_hits(replicas.first()).await];
    let first = reader.get(&created.id).await.unwrap();
    assert_count(requests(replicas.first(), "miss").await, misses + 1.0);
    assert_count(near_hits(replicas.first()).await, hits);
    assert_eq!(reader.get(&created.id).await.unwrap(), first);
    assert_count(near_hits(replicas.first()).await, hits + 1.0);
    // What one replica has put there, the other finds.
    let elsewhere = Client::to(&replicas.second).await.unwrap();
    let hits = requests(&replicas.second, "hit").await;
    assert_eq!(elsewhere.look(&created.id).await.unwrap().etag, first.etag);
    assert_count(requests(&replicas.second, "hit").await, hits + 1.0);
}

fn assert_count(counted: f64, expected: f64) {
    assert!((counted - expected).abs() < 0.5, "{counted}, not {expected}");
}

async fn edits_show_at_once(owner: &Client, one: &Client, two: &Client) {
    let created = owner.create(public("edit 0")).await.unwrap();
    for edit in 1..=20 {
        // Both have it in the cache before it is edited.
        one.get(&created.id).await.unwrap();
        two.get(&created.id).await.unwrap();
        let body = format!("edit {edit}");
        owner
            .update(Snippet { id: created.id.clone(), body: body.clone(), ..Snippet::default() })
            .await
            .unwrap();
        assert_eq!(one.get(&created.id).await.unwrap().body, body);
        let seen = async || two.get(&created.id).await.unwrap().body == body;
        until("the other replica shows it", PATIENCE, seen).await.unwrap();
    }
    owner.delete(&created.id).await.unwrap();
    assert_gone(one, two, &created.id).await;
}

/// At once through the replica that has made the change, and soon through the other.
async fn assert_gone(one: &Client, two: &Client, id: &str) {
    assert_eq!(one.get(id).await.unwrap_err().code(), Code::NotFound);
    let gone = async || two.get(id).await.is_err_and(|status| status.code() == Code::NotFound);
    until("the other replica knows", PATIENCE, gone).await.unwrap();
}

async fn what_turned_private_is_gone(owner: &Client, one: &Client, two: &Client) {
    let created = owner.create(public("x")).await.unwrap();
    one.get(&created.id).await.unwrap();
    two.get(&created.id).await.unwrap();
    let visibility = Visibility::Private.into();
    owner.update(Snippet { id: created.id.clone(), visibility, ..Snippet::default() }).await.unwrap();
    assert_gone(one, two, &created.id).await;
    assert_eq!(owner.get(&created.id).await.unwrap().body, "x");
}

async fn private_snippets_are_not_cached(replicas: &Replicas, owner: &Client) {
    let visibility = Visibility::Private.into();
    let private = Snippet { body: "secret".into(), visibility, ..Snippet::default() };
    let id = owner.create(private).await.unwrap().id;
    let hits = async || requests(replicas.first(), "hit").await + near_hits(replicas.first()).await;
    let before = hits().await;
    for _ in 0..3 {
        owner.get(&id).await.unwrap();
    }
    assert_count(hits().await, before);
}

async fn cached_reads_need_no_database(replicas: &Replicas, one: &Client, two: &Client) {
    let created = one.create(public("still there")).await.unwrap();
    one.get(&created.id).await.unwrap();
    replicas.database.cut().await;
    for _ in 0..3 {
        assert_eq!(two.get(&created.id).await.unwrap().body, "still there");
    }
    let missing = two.get("00000000000").await.unwrap_err();
    assert_eq!(missing.code(), Code::Unavailable);
    // And once it is back, so is the rest.
    replicas.database.restore().await.unwrap();
    let back = async || two.get("00000000000").await.is_err_and(|status| status.code() == Code::NotFound);
    until("the database is used again", e2e::PATIENCE, back).await.unwrap();
}
