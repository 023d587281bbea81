//! Counters on what sentinels say is the master.

use std::sync::Arc;

use ratelimit::stores::{CounterStore, RedisCounters};
use stack::RedisSentinel;

use crate::{
    cases::HOUR,
    support::{self, PATIENCE, charge, fixed_window, order},
};

fn counters(sentinel: &RedisSentinel) -> Arc<RedisCounters> {
    let host = |url: &&str| url.trim_start_matches("redis://").trim_end_matches('/').to_owned();
    let sentinels: Vec<_> = sentinel.sentinel_urls().iter().map(host).collect();
    let url = format!("redis+sentinel://{}/{}", sentinels.join(","), RedisSentinel::MASTER_NAME);
    Arc::new(support::redis_counters_at(&url, &stack::unique("sentinel")))
}

#[tokio::test]
async fn the_new_master_is_found_and_knows_what_was_charged() {
    let sentinel = RedisSentinel::start().await.unwrap();
    let store = counters(&sentinel);
    let charge = charge("caller", fixed_window(10, HOUR));
    assert_eq!(
        support::decide(&*store, order(std::slice::from_ref(&charge))).await.decisions[0].remaining,
        9
    );
    sentinel.replica().until_in_sync().await.unwrap();

    sentinel.fail_over().await.unwrap();
    let answer = async || store.charge(&Arc::new(order(std::slice::from_ref(&charge)))).await.is_ok();
    stack::until("the new master answers", PATIENCE, answer).await.unwrap();
    let left = support::decide(&*store, order(&[charge])).await.decisions[0].remaining;
    assert_eq!(left, 7, "the first, the one that was answered, and this one");
}
