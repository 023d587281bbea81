//! Without its cache the service is slower, and never wrong.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::sync::Arc;

use faults::{Client, Flood, Outage, PATIENCE, Rig, Views, metric, until_degraded, until_ready};
use rpc::snippets::v1::SnippetView;
use stack::{Backends, Redis, RedisPolicy, Service, shared, until};
use tonic::Code;

const HITS: &str = "snippets_cache_requests_total{outcome=\"hit\"}";
const ERRORS: &str = "snippets_cache_requests_total{outcome=\"error\"}";
const OWED: &str = "snippets_cache_invalidations_pending";
const READS: u64 = 500;

#[tokio::test]
async fn the_cache_may_come_and_go() {
    let redis = Redis::start(RedisPolicy::Cache).await.unwrap();
    let backends = Backends { cache_redis_url: redis.url().to_owned(), ..Backends::fresh(shared()).await };
    let rig = Rig::start(Rig::builder(backends).workers(1)).await.unwrap();
    let views = Arc::new(Views::default());
    for (seed, outage) in (0..).zip(Outage::ALL) {
        println!("the cache is {outage:?}");
        everything_works_without_it(&rig, &redis, outage, &views, seed).await;
        no_stale_read_follows_an_edit(&rig, &redis, outage).await;
    }
    rig.assert_conserved(&views).await.unwrap();
}

async fn everything_works_without_it(
    rig: &Rig,
    redis: &Redis,
    outage: Outage,
    views: &Arc<Views>,
    seed: u64,
) {
    let (replicas, readers) = (&rig.product.snippets, rig.readers().unwrap());
    let ids = rig.snippets(5).await.unwrap();
    let flood = Flood::start(views, &readers, &ids, seed);
    until_rises(replicas, HITS).await;

    outage.begin(redis);
    until_rises(replicas, ERRORS).await;
    for reader in &readers {
        writes_work(&rig.owner(reader), reader).await;
    }
    flood.answered(READS).await.unwrap();
    for replica in replicas {
        until_degraded(replica, "cache").await.unwrap();
    }
    outage.end(redis).await.unwrap();
    until_rises(replicas, HITS).await;
    let failed = flood.stop().await;
    assert!(failed.is_empty(), "{failed:?}");
    views.until_counted(&readers[0]).await.unwrap();
    for replica in replicas {
        until_ready(replica).await.unwrap();
    }
}

async fn until_rises(replicas: &[Service], selector: &str) {
    for replica in replicas {
        let before = metric(replica, selector).await.unwrap();
        let rises = async || metric(replica, selector).await.unwrap() > before;
        until(&format!("{selector} of {} rises", replica.name()), PATIENCE, rises).await.unwrap();
    }
}

/// Not tallied: an owner's reads are no views, and nobody else reads the body.
async fn writes_work(owner: &Client, reader: &Client) {
    let id = owner.create("before").await.unwrap().id;
    assert_eq!(owner.edit(&id, "after").await.unwrap().body, "after");
    assert_eq!(owner.get(&id, SnippetView::Full).await.unwrap().body, "after");
    owner.delete(&id).await.unwrap();
    let gone = async || reader.look(&id).await.is_err_and(|status| status.code() == Code::NotFound);
    until("it is gone", PATIENCE, gone).await.unwrap();
}

/// The cache can't be told of the edit. Yet the replica that made it never shows the old body again, neither while
/// the cache is away nor while it comes back with an old copy; nor does any other once the cache was told.
async fn no_stale_read_follows_an_edit(rig: &Rig, redis: &Redis, outage: Outage) {
    let [first, second] = rig.readers().unwrap().try_into().unwrap();
    let owner = rig.owner(&first);
    let ids = rig.snippets(6).await.unwrap();
    let (cached, uncached) = ids.split_at(3);
    for id in cached {
        body(&first, id).await;
    }
    outage.begin(redis);
    for id in uncached {
        assert!(
            body(&first, id).await.starts_with("snippet") && body(&second, id).await.starts_with("snippet")
        );
    }
    for id in &ids {
        owner.edit(id, "edited").await.unwrap();
        assert_eq!(body(&first, id).await, "edited");
    }
    let replica = &rig.product.snippets[0];
    assert_eq!(metric(replica, OWED).await.unwrap(), ids.len() as u64, "the cache can't know yet");

    outage.end(redis).await.unwrap();
    let told = async || {
        for id in &ids {
            assert_eq!(body(&first, id).await, "edited");
        }
        metric(replica, OWED).await.unwrap() == 0
    };
    until("the cache is told of every edit", PATIENCE, told).await.unwrap();
    let hits = metric(replica, HITS).await.unwrap();
    let cached_again = async || {
        for id in &ids {
            assert_eq!(body(&first, id).await, "edited");
            let seen = async || body(&second, id).await == "edited";
            until("the other replica shows the edit", PATIENCE, seen).await.unwrap();
        }
        metric(replica, HITS).await.unwrap() > hits
    };
    until("the edited snippets are cached", PATIENCE, cached_again).await.unwrap();
}

/// Read as anonymous, and not tallied: these snippets are not among those whose counts are compared.
async fn body(reader: &Client, id: &str) -> String {
    reader.get(id, SnippetView::Full).await.unwrap().body
}
