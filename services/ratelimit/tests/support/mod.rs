//! What the tests of this crate share.

// Each test binary uses its own part of it.
#![allow(dead_code, clippy::panic, clippy::unwrap_used)]

pub mod bytes_codec;
pub mod service;

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use ratelimit::stores::{
    Answer, CounterCharge, CounterKey, CounterStore, Decided, Order, RedisAddress, RedisCounters,
    RedisCountersConfig, Watch,
};
use ratelimit_core::{
    Algorithm, Charge, OnError,
    algorithm::{CalendarPeriod, Concurrency, FixedWindow, LeakyBucket, Quota, SlidingWindow, TokenBucket},
};

/// Longest that any condition is waited for.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn redis_counters(key_prefix: &str) -> RedisCounters {
    redis_counters_at(stack::shared().counters_redis_url(), key_prefix)
}

pub fn redis_counters_at(url: &str, key_prefix: &str) -> RedisCounters {
    // Tests share two cores with servers: a timeout of production would fail them now and then.
    let timeout = Duration::from_secs(5);
    let address = RedisAddress::parse(&url.into()).unwrap();
    let config = RedisCountersConfig { address, key_prefix: key_prefix.into(), timeout };
    RedisCounters::new(config, Watch::unguarded()).unwrap()
}

pub fn fixed_window(limit: u64, period: Duration) -> Algorithm {
    Algorithm::FixedWindow(FixedWindow::new(limit, period).unwrap())
}

pub fn sliding_window(limit: u64, period: Duration) -> Algorithm {
    Algorithm::SlidingWindow(SlidingWindow::new(limit, period).unwrap())
}

pub fn token_bucket(limit: u64, period: Duration, burst: u64) -> Algorithm {
    Algorithm::TokenBucket(TokenBucket::new(limit, period, burst).unwrap())
}

pub fn leaky_bucket(limit: u64, period: Duration) -> Algorithm {
    Algorithm::LeakyBucket(LeakyBucket::new(limit, period).unwrap())
}

pub fn quota(limit: u64, period: CalendarPeriod) -> Algorithm {
    Algorithm::Quota(Quota::new(limit, period, TimeZone::UTC).unwrap())
}

pub fn concurrency(limit: u64, period: Duration) -> Algorithm {
    Algorithm::Concurrency(Concurrency::new(limit, period).unwrap())
}

/// A charge of 1 to that subject's counter.
pub fn charge(subject: &str, algorithm: Algorithm) -> CounterCharge {
    CounterCharge {
        key: CounterKey::new("test", [("subject", subject)], "rule", &algorithm),
        charge: Charge { algorithm, cost: 1, shadow: false },
        lease: 0,
        on_error: OnError::Deny,
    }
}

/// Those charges, of which nothing is kept.
pub fn order(charges: &[CounterCharge]) -> Order {
    Order { charges: charges.to_vec(), peek: false, slot: stack::unique("slot").into(), receipt: None }
}

pub async fn decide(store: &dyn CounterStore, order: Order) -> Decided {
    decided(store.charge(&Arc::new(order)).await.unwrap())
}

/// What was decided about an order without a receipt.
pub fn decided(answer: Answer) -> Decided {
    match answer {
        Answer::Decided(decided) => decided,
        Answer::Known(receipt) => panic!("known before: {receipt:?}"),
    }
}
