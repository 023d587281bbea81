//! What only counters in Redis do.

use std::sync::Arc;

use ratelimit::stores::CounterStore;

use crate::{
    cases::{HOUR, admitted_of_3000, each_with, once, one},
    support::{self, charge, fixed_window, order, redis_counters},
};

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_on_one_redis_share_the_count() {
    let prefix = stack::unique("shared");
    let stores = [(); 2].map(|()| Arc::new(redis_counters(&prefix)) as Arc<dyn CounterStore>);
    assert_eq!(admitted_of_3000(stores, &charge("shared", fixed_window(1000, HOUR))).await, 1000);
}

#[tokio::test]
async fn every_key_in_redis_expires() {
    let prefix = stack::unique("expiry");
    let store = redis_counters(&prefix);
    let charges: Vec<_> =
        each_with(10).into_iter().map(|algorithm| charge(algorithm.name(), algorithm)).collect();
    for _ in 0..11 {
        support::decide(&store, order(&charges)).await;
    }
    store.charge(&once(&charges[0], "denied")).await.unwrap();
    store.charge(&once(&charge("other", fixed_window(1, HOUR)), "allowed")).await.unwrap();
    let client = redis::Client::open(stack::shared().counters_redis_url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("{prefix}:*")).query_async(&mut connection).await.unwrap();
    assert_eq!(keys.len(), 8, "{keys:?}");
    for key in keys {
        let left_ms: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
        let longest_ms = match key.as_str() {
            key if key.contains("denied") => 1_800_000,
            key if key.contains("quota") => 31 * 24 * 3_600_000 + 1,
            // A bucket that gets one token an hour back.
            key if key.contains("bucket") => 36_000_001,
            _ => 3_600_001,
        };
        assert!((1..=longest_ms).contains(&left_ms), "{key} lives for {left_ms} ms");
    }
}

#[tokio::test]
async fn many_large_requests_at_once_are_decided() {
    let store = Arc::new(redis_counters(&stack::unique("large")));
    let mut requests = tokio::task::JoinSet::new();
    for request in 0..60 {
        let store = store.clone();
        requests.spawn(async move {
            let limit = |number| charge(&format!("{request}/{number}"), fixed_window(10, HOUR));
            let charges: Vec<_> = (0..256).map(limit).collect();
            support::decide(&*store, order(&charges)).await.decisions.len()
        });
    }
    assert_eq!(requests.join_all().await, [256; 60]);
}

#[tokio::test]
async fn a_script_that_redis_forgot_is_loaded_again() {
    let server = stack::Redis::start(stack::RedisPolicy::Counters).await.unwrap();
    let store = support::redis_counters_at(server.url(), "forgets");
    let charge = charge("subject", fixed_window(10, HOUR));
    assert_eq!(one(&store, &charge).await.remaining, 9);
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut connection).await.unwrap();
    assert_eq!(one(&store, &charge).await.remaining, 8);
}
