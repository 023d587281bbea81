//! Views: counted off the request path, exactly, and soon.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use e2e::{Client, PATIENCE, until_views};
use rpc::snippets::v1::{Snippet, Tier};
use stack::{Database, Product, until};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

struct Stage {
    product: Product,
    database: Database,
}

async fn stage() -> &'static Stage {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    let start = async || {
        let backends = e2e::backends().await;
        let product = e2e::product(&backends).start().await.unwrap();
        Stage { product, database: Database::at(backends.database_url) }
    };
    STAGE.get_or_init(start).await
}

async fn clients() -> [Client; 2] {
    let [one, two] = &stage().await.product.snippets[..] else { panic!("two replicas") };
    [Client::to(one).await.unwrap(), Client::to(two).await.unwrap()]
}

fn small() -> Snippet {
    Snippet { body: "x".into(), ..Snippet::default() }
}

/// Reads a snippet that many times at once, through each client in turn.
async fn read(clients: &[Client], id: &str, times: usize) {
    let mut reads = JoinSet::new();
    for client in clients.iter().cycle().take(times) {
        let (client, id) = (client.clone(), id.to_owned());
        reads.spawn(async move { client.get(&id).await.unwrap() });
    }
    reads.join_all().await;
}

#[tokio::test]
async fn a_thousand_reads_are_a_thousand_views() {
    let clients = clients().await;
    let owner = clients[0].as_new(Tier::Free).await.unwrap();
    let id = owner.create(small()).await.unwrap().id;
    read(&clients, &id, 1000).await;
    for client in &clients {
        assert_eq!(until_views(client, &id, 1000).await.unwrap(), 1000);
    }
    // What one replica sends arrives in order: had it sent anything twice, it would be in this number.
    read(&clients, &id, 2).await;
    assert_eq!(until_views(&clients[0], &id, 1002).await.unwrap(), 1002);
}

#[tokio::test]
async fn an_owners_own_reads_are_no_views_and_an_admins_are() {
    let clients = clients().await;
    let secret = clients[0].new_key(Tier::Free).await.unwrap().secret;
    let owner = clients.each_ref().map(|client| client.with_key(&secret));
    let id = owner[0].create(small()).await.unwrap().id;
    read(&owner, &id, 20).await;
    let admins = clients.each_ref().map(Client::as_admin);
    read(&admins, &id, 2).await;
    assert_eq!(until_views(&clients[1], &id, 2).await.unwrap(), 2);
}

#[tokio::test]
async fn the_count_is_fresh_on_reads_from_the_cache_too() {
    let [reader, _] = clients().await;
    let id = reader.create(small()).await.unwrap().id;
    // The first read fills the cache; from then on the database is not asked for the snippet.
    reader.get(&id).await.unwrap();
    let replica = &stage().await.product.snippets[0];
    let misses = "snippets_cache_requests_total{outcome=\"miss\"}";
    let before = replica.metric(misses).await.unwrap();
    for (more, views) in [(0, 1), (9, 10)] {
        read(std::slice::from_ref(&reader), &id, more).await;
        assert_eq!(until_views(&reader, &id, views).await.unwrap(), views);
    }
    assert!(replica.metric(misses).await.unwrap() <= before);
    let full = reader.get(&id).await.unwrap();
    assert_eq!((full.view_count, full.body.as_str()), (10, "x"));
}

#[tokio::test]
async fn a_deleted_snippet_leaves_no_counts_behind() {
    let clients = clients().await;
    let owner = clients[0].as_new(Tier::Free).await.unwrap();
    let id = owner.create(small()).await.unwrap().id;
    read(&clients, &id, 4).await;
    until_views(&owner, &id, 4).await.unwrap();
    let rows = |table: &str| format!("(SELECT count(*) FROM views.{table} WHERE snippet_id = '{id}')");
    let rows = ["totals", "hourly", "daily"].map(rows).join(" + ");
    let query = format!("SELECT {rows}");
    assert_ne!(stage().await.database.execute(&query).await.unwrap().trim(), "0");
    // One more, of which nobody can say whether it is counted before the deletion or comes after it.
    read(&clients[1..], &id, 1).await;
    owner.delete(&id).await.unwrap();
    let gone = async || stage().await.database.execute(&query).await.unwrap().trim() == "0";
    until("the rows are gone", PATIENCE, gone).await.unwrap();
}
