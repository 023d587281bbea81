//! What every counter store must do.

use std::{sync::Arc, time::Duration};

use crate::support::{
    PATIENCE, charge, concurrency, decided, fixed_window, leaky_bucket, order, quota, sliding_window,
    token_bucket,
};
use ratelimit::stores::{
    Answer, CounterCharge, CounterStore, Decided, Order, Receipt, ReceiptKey, ReceiptOrder, Refund,
};
use ratelimit_core::{Algorithm, Decision, algorithm::CalendarPeriod};
use tokio::task::JoinSet;

pub const HOUR: Duration = Duration::from_secs(3600);

/// Of each algorithm one with that capacity, of which nothing comes back during a test. (A quota may end in the middle of
/// one: then it is midnight, on the first of a month.)
pub fn each_with(capacity: u64) -> Vec<Algorithm> {
    vec![
        fixed_window(capacity, HOUR),
        sliding_window(capacity, HOUR),
        token_bucket(1, HOUR, capacity),
        quota(capacity, CalendarPeriod::Month),
        concurrency(capacity, HOUR),
    ]
}

pub async fn decide(store: &dyn CounterStore, charges: &[CounterCharge]) -> Vec<Decision> {
    let decisions = crate::support::decide(store, order(charges)).await.decisions;
    assert_eq!(decisions.len(), charges.len());
    decisions
}

pub async fn one(store: &dyn CounterStore, charge: &CounterCharge) -> Decision {
    decide(store, std::slice::from_ref(charge)).await[0]
}

pub async fn peek(store: &dyn CounterStore, charge: &CounterCharge) -> Decision {
    let look = Order { peek: true, ..order(std::slice::from_ref(charge)) };
    crate::support::decide(store, look).await.decisions[0]
}

/// The charge with a receipt of that name.
pub fn once(charge: &CounterCharge, name: &str) -> Arc<Order> {
    let receipt = ReceiptOrder {
        key: ReceiptKey::new("test", name),
        memo: format!("memo of {name}\n").into(),
        kept_for: HOUR,
        kept_if_denied: HOUR / 2,
    };
    Arc::new(Order { slot: name.into(), receipt: Some(receipt), ..order(std::slice::from_ref(charge)) })
}

pub fn refund_of(order: &Order, decided: &Decided) -> Refund {
    let charges = order.charges.iter().cloned().zip(decided.decisions.iter().copied());
    Refund {
        charges: charges.collect(),
        charged_us: decided.at_us,
        slot: order.slot.clone(),
        receipt: order.receipt.as_ref().map(|receipt| receipt.key.clone()),
        local: false,
    }
}

pub fn with_cost(charge: &CounterCharge, cost: u64) -> CounterCharge {
    let mut charge = charge.clone();
    charge.charge.cost = cost;
    charge
}

pub fn in_shadow(charge: &CounterCharge) -> CounterCharge {
    let mut charge = charge.clone();
    charge.charge.shadow = true;
    charge
}

/// 64 tasks call 3,000 times together; half of them through each of the two handles.
pub async fn admitted_of_3000(stores: [Arc<dyn CounterStore>; 2], charge: &CounterCharge) -> usize {
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

pub async fn is_exact_under_concurrency(store: Arc<dyn CounterStore>) {
    for algorithm in each_with(1000) {
        let charge = charge("flood", algorithm);
        assert_eq!(admitted_of_3000([store.clone(), store.clone()], &charge).await, 1000, "{charge:?}");
    }
    let leaky = charge("flood", leaky_bucket(1, HOUR));
    assert_eq!(admitted_of_3000([store.clone(), store], &leaky).await, 1);
}

pub async fn charges_all_or_nothing(store: Arc<dyn CounterStore>) {
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

pub async fn shadow_never_denies_and_counts(store: Arc<dyn CounterStore>) {
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

pub async fn a_cost_is_charged_whole(store: Arc<dyn CounterStore>) {
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

pub async fn a_peek_changes_nothing(store: Arc<dyn CounterStore>) {
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

pub async fn a_window_ends(store: Arc<dyn CounterStore>) {
    let charge = charge("short", fixed_window(1, Duration::from_millis(100)));
    assert!(one(&*store, &charge).await.allowed);
    stack::until("the window ends", PATIENCE, async || one(&*store, &charge).await.allowed).await.unwrap();
    stack::until("the next one ends", PATIENCE, async || peek(&*store, &charge).await.remaining == 1)
        .await
        .unwrap();
}

pub async fn a_bucket_refills_to_its_burst(store: Arc<dyn CounterStore>) {
    let charge = charge("refill", token_bucket(5, Duration::from_millis(250), 5));
    assert_eq!(one(&*store, &with_cost(&charge, 5)).await.remaining, 0);
    stack::until("tokens come back", PATIENCE, async || one(&*store, &charge).await.allowed).await.unwrap();
    stack::until("it is full again", PATIENCE, async || peek(&*store, &charge).await.remaining == 5)
        .await
        .unwrap();
    let full = one(&*store, &with_cost(&charge, 6)).await;
    assert!(!full.allowed, "it holds no more than its burst");
}

pub async fn limits_of_different_parameters_are_apart(store: Arc<dyn CounterStore>) {
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

pub async fn a_cost_of_nothing_looks(store: Arc<dyn CounterStore>) {
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

pub async fn a_repeated_request_is_answered_as_the_first_time(store: Arc<dyn CounterStore>) {
    for algorithm in each_with(3) {
        let charge = charge("repeated", algorithm);
        let first = once(&with_cost(&charge, 2), charge.charge.algorithm.name());
        let told = decided(store.charge(&first).await.unwrap());
        let known = Receipt {
            decided: told.clone(),
            memo: first.receipt.as_ref().unwrap().memo.clone(),
            given_back: false,
            local: false,
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

pub async fn a_request_that_is_repeated_at_once_is_charged_once(store: Arc<dyn CounterStore>) {
    let charge = charge("at once", fixed_window(1000, HOUR));
    let mut tasks = JoinSet::new();
    for task in 0..64 {
        let (store, order) = (store.clone(), once(&charge, &format!("request {}", task % 8)));
        tasks.spawn(async move { matches!(store.charge(&order).await.unwrap(), Answer::Decided(_)) });
    }
    let charged = tasks.join_all().await.into_iter().filter(|charged| *charged).count();
    assert_eq!((charged, peek(&*store, &charge).await.remaining), (8, 992));
}

pub async fn a_refund_gives_back_once(store: Arc<dyn CounterStore>) {
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
        assert!(store.receipts(&key).await.unwrap()[0].given_back);
        let Answer::Known(again) = store.charge(&order).await.unwrap() else { panic!("it was forgotten") };
        assert_eq!(again.decided, told, "what was given back is not charged again");
    }
}

pub async fn a_refund_of_nothing_gives_nothing_back(store: Arc<dyn CounterStore>) {
    let charge = charge("unknown", fixed_window(5, HOUR));
    let told = one(&*store, &charge).await;
    let decided = Decided { at_us: 1, decisions: vec![told], grants: Vec::new() };
    assert!(!store.give_back(&refund_of(&once(&charge, "unknown"), &decided)).await.unwrap());
    assert_eq!(peek(&*store, &charge).await.remaining, 4);
    assert!(store.receipts(&ReceiptKey::new("test", "unknown")).await.unwrap().is_empty());
}

pub async fn a_reset_forgets(store: Arc<dyn CounterStore>) {
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

pub async fn a_slot_is_free_after_its_period(store: Arc<dyn CounterStore>) {
    let charge = charge("short slot", concurrency(1, Duration::from_millis(100)));
    assert!(one(&*store, &charge).await.allowed);
    stack::until("the slot is free", PATIENCE, async || one(&*store, &charge).await.allowed).await.unwrap();
}
