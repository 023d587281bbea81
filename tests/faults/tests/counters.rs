//! Without its counters or its limiter the product goes on, limits as well as it can, and says so.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use faults::{Client, Outage, PATIENCE, Rig, Views, metric, until_degraded, until_ready};
use rpc::snippets::v1::Tier;
use stack::{Backends, Redis, RedisPolicy, Service, shared, until};
use tokio::task::JoinSet;
use tonic::Code;

const FALLBACKS: &str = "ratelimit_fallbacks_total{on_error=\"local\"}";
const UNCHECKED: &str = "snippets_unchecked_writes_total";
/// Writes of a free account in a minute.
const LIMIT: usize = 60;
/// Writes at once.
const WAVE: usize = 10;

#[tokio::test]
async fn limits_hold_as_far_as_anybody_can_count() {
    let redis = Redis::start(RedisPolicy::Counters).await.unwrap();
    let backends = Backends { counters_redis_url: redis.url().to_owned(), ..Backends::fresh(shared()).await };
    let rig = Rig::start(Rig::builder(backends).replicas(1).workers(1)).await.unwrap();
    let views = Views::default();
    assert_limited(&rig).await;
    for outage in Outage::ALL {
        println!("the counters are {outage:?}");
        without_counters(&rig, &redis, outage, &views).await;
        println!("the limiter is {outage:?}");
        without_limiter(&rig, outage, &views).await;
    }
    rig.assert_conserved(&views).await.unwrap();
}

/// The limiter counts by itself, so that there still is a limit.
async fn without_counters(rig: &Rig, redis: &Redis, outage: Outage, views: &Views) {
    let (replica, limiter) = (&rig.product.snippets[0], &rig.product.ratelimit);
    let unchecked = metric(replica, UNCHECKED).await.unwrap();
    outage.begin(redis);
    let fallbacks = metric(limiter, FALLBACKS).await.unwrap();
    let key = new_key(rig).await;
    let passed = writes_until_denied(replica, &key).await;
    let counted_locally = metric(limiter, FALLBACKS).await.unwrap() - fallbacks;
    assert!(counted_locally > passed as u64, "{counted_locally} of {passed} passed");
    assert_eq!(metric(replica, UNCHECKED).await.unwrap(), unchecked, "the limiter answers");
    assert_reads_work(rig, views).await;
    until_degraded(limiter, "redis").await.unwrap();

    // A restarted Redis has forgotten the script, and is told it again.
    outage.end(redis).await.unwrap();
    let counted_together = async || {
        let before = metric(limiter, FALLBACKS).await.unwrap();
        write(&client(replica).with_key(&new_key(rig).await)).await
            && metric(limiter, FALLBACKS).await.unwrap() == before
    };
    until("writes are counted in Redis again", PATIENCE, counted_together).await.unwrap();
    until_ready(limiter).await.unwrap();
    assert_limited(rig).await;
}

/// Writes pass unchecked, and are counted.
async fn without_limiter(rig: &Rig, outage: Outage, views: &Views) {
    let (replica, limiter) = (&rig.product.snippets[0], &rig.product.ratelimit);
    let key = new_key(rig).await;
    writes_until_denied(replica, &key).await;
    let unchecked = metric(replica, UNCHECKED).await.unwrap();
    outage.begin(limiter);
    assert_eq!(wave(replica, &key).await, WAVE, "writes pass, also over the limit");
    assert_eq!(metric(replica, UNCHECKED).await.unwrap(), unchecked + WAVE as u64);
    assert_reads_work(rig, views).await;
    until_degraded(replica, "ratelimit").await.unwrap();

    outage.end(limiter).await.unwrap();
    until_ready(replica).await.unwrap();
    let unchecked = metric(replica, UNCHECKED).await.unwrap();
    assert_limited(rig).await;
    assert_eq!(metric(replica, UNCHECKED).await.unwrap(), unchecked);
}

/// A fresh account is held to its limit.
async fn assert_limited(rig: &Rig) {
    writes_until_denied(&rig.product.snippets[0], &new_key(rig).await).await;
}

/// Writes until the first is refused; every other is done. Gives how many that were. A limit that begins anew at the
/// full minute may let twice as many through.
async fn writes_until_denied(replica: &Service, key: &str) -> usize {
    let mut passed = 0;
    while passed <= 2 * LIMIT {
        let done = wave(replica, key).await;
        passed += done;
        if done < WAVE {
            assert!(passed >= LIMIT, "denied after {passed}");
            return passed;
        }
    }
    panic!("{passed} writes passed within a minute");
}

/// That many writes at once; how many were done. None goes unanswered.
async fn wave(replica: &Service, key: &str) -> usize {
    let mut writes = JoinSet::new();
    let client = client(replica).with_key(key);
    for _ in 0..WAVE {
        let client = client.clone();
        writes.spawn(async move { write(&client).await });
    }
    writes.join_all().await.into_iter().filter(|&done| done).count()
}

/// Whether it was done, and not refused for the limit.
async fn write(client: &Client) -> bool {
    match client.create("x").await {
        Ok(_) => true,
        Err(status) if status.code() == Code::ResourceExhausted => false,
        Err(status) => panic!("{status:?}"),
    }
}

async fn assert_reads_work(rig: &Rig, views: &Views) {
    let reader = &rig.readers().unwrap()[0];
    let [id] = rig.snippets(1).await.unwrap().try_into().unwrap();
    views.read_times(reader, &id, 10).await.unwrap();
    views.until_counted(reader).await.unwrap();
}

async fn new_key(rig: &Rig) -> String {
    let reader = &rig.readers().unwrap()[0];
    rig.admin(reader).new_key(Tier::Free).await.unwrap()
}

fn client(replica: &Service) -> Client {
    Client::of(replica).unwrap()
}
