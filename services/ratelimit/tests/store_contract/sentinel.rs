//! Counters on what sentinels say is the master.

use std::{sync::Arc, time::Duration};

use ratelimit::stores::{CounterStore, RedisAddress, RedisCounters, RedisCountersConfig, Watch};
use stack::{Proxy, RedisSentinel};

use crate::{
    cases::HOUR,
    support::{self, PATIENCE, charge, fixed_window, order},
};

/// How long failing over may take; sentinels that saw the machine at a standstill do nothing for half a minute.
const FAILED_OVER_WITHIN: Duration = Duration::from_secs(60);

/// Shorter than it may take to ask a sentinel that is silent.
const TIMEOUT: Duration = Duration::from_millis(500);

fn counters(sentinel: &RedisSentinel) -> Arc<RedisCounters> {
    Arc::new(support::redis_counters_at(&url(&sentinel.sentinel_urls()), &stack::unique("sentinel")))
}

/// Counters that wait for a short time only.
fn hasty_counters(sentinels: &[&str]) -> RedisCounters {
    let address = RedisAddress::parse(&url(sentinels).into()).unwrap();
    let config = RedisCountersConfig { address, key_prefix: stack::unique("sentinel"), timeout: TIMEOUT };
    RedisCounters::new(config, Watch::unguarded()).unwrap()
}

fn url(sentinels: &[&str]) -> String {
    let host = |url: &&str| url.trim_start_matches("redis://").trim_end_matches('/').to_owned();
    let sentinels: Vec<_> = sentinels.iter().map(host).collect();
    format!("redis+sentinel://{}/{}", sentinels.join(","), RedisSentinel::MASTER_NAME)
}

async fn until_answered(store: &RedisCounters, within: Duration) {
    let charge = charge("caller", fixed_window(1_000_000, HOUR));
    let answer = async || store.charge(&Arc::new(order(std::slice::from_ref(&charge)))).await.is_ok();
    stack::until("the master answers", within, answer).await.unwrap();
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

#[tokio::test]
async fn sentinels_that_take_longer_than_a_call_are_waited_for() {
    let sentinel = RedisSentinel::start().await.unwrap();
    let (mut ways, mut urls) = (Vec::new(), Vec::new());
    for url in sentinel.sentinel_urls() {
        let (way, url) = Proxy::before_url(url).await.unwrap();
        // Redis-rs gives a sentinel half a second for each answer, and needs several.
        way.delay(TIMEOUT / 2);
        ways.push(way);
        urls.push(url);
    }
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    until_answered(&hasty_counters(&urls), PATIENCE).await;
}

#[tokio::test]
async fn a_machine_that_falls_silent_with_a_sentinel_and_the_master_is_done_without() {
    let sentinel = RedisSentinel::start().await.unwrap();
    let running = hasty_counters(&sentinel.sentinel_urls());
    until_answered(&running, PATIENCE).await;

    sentinel.sentinels()[0].pause();
    let starting = hasty_counters(&sentinel.sentinel_urls());
    until_answered(&starting, PATIENCE).await;
    sentinel.master().pause();
    until_answered(&running, FAILED_OVER_WITHIN).await;
    until_answered(&starting, PATIENCE).await;
    until_answered(&hasty_counters(&sentinel.sentinel_urls()), PATIENCE).await;
}
