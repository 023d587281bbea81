//! What every counter store must do, run on each of them.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::{sync::Arc, time::Duration};

use ratelimit::stores::{CounterCharge, CounterStore, MemoryCounters};
use ratelimit_core::Decision;
use support::{PATIENCE, charge, fixed_window, redis_counters, token_bucket};
use tokio::task::JoinSet;

const HOUR: Duration = Duration::from_secs(3600);

async fn decide(store: &dyn CounterStore, charges: &[CounterCharge]) -> Vec<Decision> {
    let decisions = store.charge(charges, false).await.unwrap();
    assert_eq!(decisions.len(), charges.len());
    decisions
}

async fn one(store: &dyn CounterStore, charge: &CounterCharge) -> Decision {
    decide(store, std::slice::from_ref(charge)).await[0]
}

async fn peek(store: &dyn CounterStore, charge: &CounterCharge) -> Decision {
    store.charge(std::slice::from_ref(charge), true).await.unwrap()[0]
}

fn with_cost(charge: &CounterCharge, cost: u64) -> CounterCharge {
    let mut charge = charge.clone();
    charge.charge.cost = cost;
    charge
}

fn in_shadow(charge: &CounterCharge) -> CounterCharge {
    let mut charge = charge.clone();
    charge.charge.shadow = true;
    charge
}

/// 64 tasks call 3,000 times together; half of them through each of the two handles.
async fn admitted_of_3000(stores: [Arc<dyn CounterStore>; 2], charge: &CounterCharge) -> usize {
    let mut tasks = JoinSet::new();
    for task in 0..64 {
        let (store, charge) = (stores[task % 2].clone(), charge.clone());
        let calls = 3000 / 64 + usize::from(task < 3000 % 64);
        tasks.spawn(async move {
            let mut admitted = 0;
            for _ in 0..calls {
                admitted += usize::from(one(&*store, &charge).await.allowed);
            }
            admitted
        });
    }
    tasks.join_all().await.into_iter().sum()
}

async fn is_exact_under_concurrency(store: Arc<dyn CounterStore>) {
    let window = charge("window", fixed_window(1000, HOUR));
    assert_eq!(admitted_of_3000([store.clone(), store.clone()], &window).await, 1000);
    // One token an hour comes back, so none does during the test.
    let bucket = charge("bucket", token_bucket(1, HOUR, 1000));
    assert_eq!(admitted_of_3000([store.clone(), store], &bucket).await, 1000);
}

async fn charges_all_or_nothing(store: Arc<dyn CounterStore>) {
    let (wide, narrow) = (charge("wide", fixed_window(10, HOUR)), charge("narrow", token_bucket(1, HOUR, 2)));
    let both = [wide.clone(), narrow.clone()];
    for left in [(9, 1), (8, 0)] {
        let decisions = decide(&*store, &both).await;
        assert_eq!((decisions[0].remaining, decisions[1].remaining), left);
    }
    let denied = decide(&*store, &both).await;
    assert_eq!((denied[0].allowed, denied[1].allowed), (true, false));
    assert_eq!((denied[0].remaining, denied[0].retry_after), (8, None));
    assert!(denied[1].retry_after.unwrap() > HOUR * 9 / 10);
    assert_eq!(peek(&*store, &wide).await.remaining, 8, "a denied request consumes nothing");
}

async fn shadow_never_denies_and_counts(store: Arc<dyn CounterStore>) {
    let enforced = charge("enforced", fixed_window(3, HOUR));
    let shadow = in_shadow(&charge("shadow", fixed_window(1, HOUR)));
    let both = [enforced.clone(), shadow.clone()];
    for (shadow_allowed, left) in [(true, 2), (false, 1), (false, 0)] {
        let decisions = decide(&*store, &both).await;
        assert_eq!((decisions[0].allowed, decisions[0].remaining), (true, left));
        assert_eq!((decisions[1].allowed, decisions[1].remaining), (shadow_allowed, 0));
    }
    let other = in_shadow(&charge("other shadow", fixed_window(1, HOUR)));
    assert!(!decide(&*store, &[enforced, other.clone()]).await[0].allowed);
    assert_eq!(
        peek(&*store, &other).await.remaining,
        1,
        "a denied request consumes nothing in shadow either"
    );
}

async fn a_cost_is_charged_whole(store: Arc<dyn CounterStore>) {
    for algorithm in [fixed_window(10, HOUR), token_bucket(10, HOUR, 10)] {
        let charge = charge(algorithm.name(), algorithm);
        assert_eq!(one(&*store, &with_cost(&charge, 7)).await.remaining, 3);
        assert!(!one(&*store, &with_cost(&charge, 4)).await.allowed);
        let never = one(&*store, &with_cost(&charge, u64::MAX)).await;
        assert_eq!((never.allowed, never.retry_after), (false, None));
        let last = one(&*store, &with_cost(&charge, 3)).await;
        assert_eq!((last.allowed, last.remaining), (true, 0));
    }
}

async fn a_peek_changes_nothing(store: Arc<dyn CounterStore>) {
    for algorithm in [fixed_window(2, HOUR), token_bucket(2, HOUR, 2)] {
        let charge = charge(algorithm.name(), algorithm);
        let untouched = peek(&*store, &charge).await;
        assert_eq!(
            (untouched.allowed, untouched.remaining, untouched.reset_after),
            (true, 2, Duration::ZERO)
        );
        one(&*store, &with_cost(&charge, 2)).await;
        for _ in 0..3 {
            let spent = peek(&*store, &charge).await;
            assert_eq!((spent.allowed, spent.remaining), (false, 0));
            assert!(spent.retry_after.is_some());
        }
    }
}

async fn a_window_ends(store: Arc<dyn CounterStore>) {
    let charge = charge("short", fixed_window(1, Duration::from_millis(100)));
    assert!(one(&*store, &charge).await.allowed);
    stack::until("the window ends", PATIENCE, async || one(&*store, &charge).await.allowed).await.unwrap();
    stack::until("the next one ends", PATIENCE, async || peek(&*store, &charge).await.remaining == 1)
        .await
        .unwrap();
}

async fn a_bucket_refills_to_its_burst(store: Arc<dyn CounterStore>) {
    let charge = charge("refill", token_bucket(5, Duration::from_millis(250), 5));
    assert_eq!(one(&*store, &with_cost(&charge, 5)).await.remaining, 0);
    stack::until("tokens come back", PATIENCE, async || one(&*store, &charge).await.allowed).await.unwrap();
    stack::until("it is full again", PATIENCE, async || peek(&*store, &charge).await.remaining == 5)
        .await
        .unwrap();
    let full = one(&*store, &with_cost(&charge, 6)).await;
    assert!(!full.allowed, "it holds no more than its burst");
}

async fn limits_of_different_parameters_are_apart(store: Arc<dyn CounterStore>) {
    for algorithm in
        [fixed_window(1, HOUR), fixed_window(2, HOUR), fixed_window(1, HOUR * 2), token_bucket(1, HOUR, 1)]
    {
        assert!(one(&*store, &charge("same subject", algorithm)).await.allowed);
    }
}

macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod on_memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(std::sync::Arc::new(super::MemoryCounters::new(1000))).await;
            })*
        }
        mod on_redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(std::sync::Arc::new(super::redis_counters(&stack::unique("contract")))).await;
            })*
        }
    };
}

contract!(
    is_exact_under_concurrency,
    charges_all_or_nothing,
    shadow_never_denies_and_counts,
    a_cost_is_charged_whole,
    a_peek_changes_nothing,
    a_window_ends,
    a_bucket_refills_to_its_burst,
    limits_of_different_parameters_are_apart,
);

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
    let charges = [charge("window", fixed_window(10, HOUR)), charge("bucket", token_bucket(10, HOUR, 10))];
    for _ in 0..11 {
        store.charge(&charges, false).await.unwrap();
    }
    let client = redis::Client::open(stack::shared().counters_redis_url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("{prefix}:*")).query_async(&mut connection).await.unwrap();
    assert_eq!(keys.len(), 2, "{keys:?}");
    for key in keys {
        let left_ms: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
        assert!((1..=3_600_001).contains(&left_ms), "{key} lives for {left_ms} ms");
    }
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
