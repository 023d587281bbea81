//! What every counter store must do, run on each of them.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::{sync::Arc, time::Duration};

use ratelimit::stores::{
    Answer, CounterCharge, CounterStore, Decided, MemoryCounters, Order, Receipt, ReceiptKey, ReceiptOrder,
    Refund,
};
use ratelimit_core::{Algorithm, Decision, algorithm::CalendarPeriod};
use support::{
    PATIENCE, charge, concurrency, decided, fixed_window, leaky_bucket, order, quota, redis_counters,
    sliding_window, token_bucket,
};
use tokio::task::JoinSet;

const HOUR: Duration = Duration::from_secs(3600);

/// Of each algorithm one with that capacity, of which nothing comes back during a test. (A quota may end in the middle of
/// one: then it is midnight, on the first of a month.)
fn each_with(capacity: u64) -> Vec<Algorithm> {
    vec![
        fixed_window(capacity, HOUR),
        sliding_window(capacity, HOUR),
        token_bucket(1, HOUR, capacity),
        quota(capacity, CalendarPeriod::Month),
        concurrency(capacity, HOUR),
    ]
}

async fn decide(store: &dyn CounterStore, charges: &[CounterCharge]) -> Vec<Decision> {
    let decisions = support::decide(store, order(charges)).await.decisions;
    assert_eq!(decisions.len(), charges.len());
    decisions
}

async fn one(store: &dyn CounterStore, charge: &CounterCharge) -> Decision {
    decide(store, std::slice::from_ref(charge)).await[0]
}

async fn peek(store: &dyn CounterStore, charge: &CounterCharge) -> Decision {
    let look = Order { peek: true, ..order(std::slice::from_ref(charge)) };
    support::decide(store, look).await.decisions[0]
}

/// The charge with a receipt of that name.
fn once(charge: &CounterCharge, name: &str) -> Arc<Order> {
    let receipt = ReceiptOrder {
        key: ReceiptKey::new("test", name),
        memo: format!("memo of {name}\n").into(),
        kept_for: HOUR,
        kept_if_denied: HOUR / 2,
    };
    Arc::new(Order { slot: name.into(), receipt: Some(receipt), ..order(std::slice::from_ref(charge)) })
}

fn refund_of(order: &Order, decided: &Decided) -> Refund {
    let charges = order.charges.iter().cloned().zip(decided.decisions.iter().copied());
    Refund {
        charges: charges.collect(),
        charged_us: decided.at_us,
        slot: order.slot.clone(),
        receipt: order.receipt.as_ref().map(|receipt| receipt.key.clone()),
    }
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
    for algorithm in each_with(1000) {
        let charge = charge("flood", algorithm);
        assert_eq!(admitted_of_3000([store.clone(), store.clone()], &charge).await, 1000, "{charge:?}");
    }
    let leaky = charge("flood", leaky_bucket(1, HOUR));
    assert_eq!(admitted_of_3000([store.clone(), store], &leaky).await, 1);
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
    for algorithm in each_with(10) {
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
    for algorithm in each_with(2) {
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
    for algorithm in [
        fixed_window(1, HOUR),
        fixed_window(2, HOUR),
        fixed_window(1, HOUR * 2),
        sliding_window(1, HOUR),
        token_bucket(1, HOUR, 1),
        leaky_bucket(1, HOUR),
        quota(1, CalendarPeriod::Day),
        quota(1, CalendarPeriod::Month),
        concurrency(1, HOUR),
    ] {
        assert!(one(&*store, &charge("same subject", algorithm)).await.allowed);
    }
}

async fn a_cost_of_nothing_looks(store: Arc<dyn CounterStore>) {
    for algorithm in each_with(2) {
        let charge = charge(algorithm.name(), algorithm);
        for _ in 0..3 {
            let look = one(&*store, &with_cost(&charge, 0)).await;
            assert_eq!((look.allowed, look.remaining), (true, 2));
        }
        one(&*store, &with_cost(&charge, 2)).await;
        let spent = one(&*store, &with_cost(&charge, 0)).await;
        assert!(!spent.allowed && spent.retry_after.is_some(), "{spent:?}");
    }
}

async fn a_repeated_request_is_answered_as_the_first_time(store: Arc<dyn CounterStore>) {
    for algorithm in each_with(3) {
        let charge = charge("repeated", algorithm);
        let first = once(&with_cost(&charge, 2), charge.charge.algorithm.name());
        let told = decided(store.charge(&first).await.unwrap());
        let known = Receipt {
            decided: told.clone(),
            memo: first.receipt.as_ref().unwrap().memo.clone(),
            given_back: false,
        };
        for _ in 0..3 {
            assert_eq!(store.charge(&first).await.unwrap(), Answer::Known(known.clone()));
        }
        let denied = once(&with_cost(&charge, 2), &format!("{} denied", charge.charge.algorithm.name()));
        assert!(!decided(store.charge(&denied).await.unwrap()).decisions[0].allowed);
        assert!(matches!(store.charge(&denied).await.unwrap(), Answer::Known(_)));
        assert_eq!(peek(&*store, &charge).await.remaining, 1);
    }
}

async fn a_request_that_is_repeated_at_once_is_charged_once(store: Arc<dyn CounterStore>) {
    let charge = charge("at once", fixed_window(1000, HOUR));
    let mut tasks = JoinSet::new();
    for task in 0..64 {
        let (store, order) = (store.clone(), once(&charge, &format!("request {}", task % 8)));
        tasks.spawn(async move { matches!(store.charge(&order).await.unwrap(), Answer::Decided(_)) });
    }
    let charged = tasks.join_all().await.into_iter().filter(|charged| *charged).count();
    assert_eq!((charged, peek(&*store, &charge).await.remaining), (8, 992));
}

async fn a_refund_gives_back_once(store: Arc<dyn CounterStore>) {
    for algorithm in each_with(5) {
        let charge = charge("refunded", algorithm);
        assert_eq!(one(&*store, &charge).await.remaining, 4);
        let order = once(&with_cost(&charge, 3), &format!("refund {}", charge.charge.algorithm.name()));
        let told = decided(store.charge(&order).await.unwrap());
        let refund = refund_of(&order, &told);
        assert!(store.give_back(&refund).await.unwrap());
        assert_eq!(peek(&*store, &charge).await.remaining, 4, "{charge:?}");
        assert!(!store.give_back(&refund).await.unwrap());
        assert_eq!(peek(&*store, &charge).await.remaining, 4);
        let key = refund.receipt.unwrap();
        assert!(store.receipt(&key).await.unwrap().unwrap().given_back);
        let Answer::Known(again) = store.charge(&order).await.unwrap() else { panic!("it was forgotten") };
        assert_eq!(again.decided, told, "what was given back is not charged again");
    }
}

async fn a_refund_of_nothing_gives_nothing_back(store: Arc<dyn CounterStore>) {
    let charge = charge("unknown", fixed_window(5, HOUR));
    let told = one(&*store, &charge).await;
    let decided = Decided { at_us: 1, decisions: vec![told], grants: Vec::new() };
    assert!(!store.give_back(&refund_of(&once(&charge, "unknown"), &decided)).await.unwrap());
    assert_eq!(peek(&*store, &charge).await.remaining, 4);
    assert_eq!(store.receipt(&ReceiptKey::new("test", "unknown")).await.unwrap(), None);
}

async fn a_reset_forgets(store: Arc<dyn CounterStore>) {
    for algorithm in each_with(2) {
        let [reset, kept] =
            ["reset", "kept"].map(|subject| with_cost(&charge(subject, algorithm.clone()), 2));
        decide(&*store, &[reset.clone(), kept.clone()]).await;
        store.reset(std::slice::from_ref(&reset.key)).await.unwrap();
        assert!(one(&*store, &reset).await.allowed);
        assert!(!one(&*store, &kept).await.allowed);
    }
    store.reset(&[]).await.unwrap();
}

async fn a_slot_is_free_after_its_period(store: Arc<dyn CounterStore>) {
    let charge = charge("short slot", concurrency(1, Duration::from_millis(100)));
    assert!(one(&*store, &charge).await.allowed);
    stack::until("the slot is free", PATIENCE, async || one(&*store, &charge).await.allowed).await.unwrap();
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
    a_cost_of_nothing_looks,
    a_repeated_request_is_answered_as_the_first_time,
    a_request_that_is_repeated_at_once_is_charged_once,
    a_refund_gives_back_once,
    a_refund_of_nothing_gives_nothing_back,
    a_reset_forgets,
    a_slot_is_free_after_its_period,
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
