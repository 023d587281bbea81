//! What is forgotten, and what is not.

use std::{
    slice,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use counter_worker::{
    domain::Batch,
    ports::{StoreError, TotalsStore},
};
use uuid::{Timestamp, Uuid};

use crate::{
    place::Place,
    support::{batch, parsed, totals, view_batch},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn days_ago(days: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(now).expect("not for ever") - days * 24 * 60 * 60
}

/// The id of a batch that a publisher made so many days ago.
fn id(days: i64) -> Uuid {
    Uuid::new_v7(Timestamp::from_unix_time(days_ago(days).unsigned_abs(), 0, 0, 0))
}

fn made(days: i64) -> Batch {
    batch(id(days), &[("a", 1)])
}

/// An id that says nothing of a time, at the place of those that do.
fn other(like: Uuid) -> Batch {
    let mut bytes = like.into_bytes();
    bytes[6] = 0x40 | (bytes[6] & 0x0f);
    batch(Uuid::from_bytes(bytes), &[("a", 1)])
}

/// Forgets what is older than a day, in steps of two, and says how much that was.
async fn prune(store: &impl TotalsStore) -> u64 {
    let (mut from, mut pruned) = (Uuid::nil(), 0);
    loop {
        let step = store.prune_batches(DAY, 2, &mut from).await.expect("pruned");
        assert!(step <= 2);
        pruned += step;
        if step < 2 {
            return pruned;
        }
    }
}

async fn assert_refused(store: &impl TotalsStore, batches: &[Batch], culprit: Uuid) {
    let error = store.apply(batches).await.expect_err("refused");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(!error.is_transient() && error.to_string().contains(&culprit.to_string()), "{error}");
}

pub async fn only_old_batches_are_pruned_and_boundedly<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    let made_long_ago: Vec<Batch> = (0..5).map(|_| made(8)).collect();
    store.apply(&made_long_ago).await.expect("applied");
    assert_eq!(prune(&store).await, 0, "they were applied just now");
    let made_now = made(0);
    store.apply(slice::from_ref(&made_now)).await.expect("applied");
    place.age().await;
    let both_now = made(0);
    store.apply(slice::from_ref(&both_now)).await.expect("applied");
    assert_eq!(prune(&store).await, 5);
    assert_eq!(store.apply(&[made_now, both_now]).await.expect("applied").duplicates, 2);
    assert_eq!(place.totals().await, totals(&[("a", 7)]), "pruning takes no views away");
}

pub async fn a_batch_that_was_forgotten_is_refused_and_not_counted<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    let [oldest, older, old] = [made(10), made(9), made(8)];
    store.apply(&[old.clone(), older.clone()]).await.expect("applied");
    place.age().await;
    assert_eq!(prune(&store).await, 2);
    for forgotten in [&old, &older] {
        assert_refused(&store, slice::from_ref(forgotten), forgotten.id()).await;
    }
    assert_refused(&store, &[made(0), old.clone(), made(0)], old.id()).await;
    // Nobody can tell this one, which comes for the first time, from those.
    assert_refused(&store, slice::from_ref(&oldest), oldest.id()).await;
    assert_eq!(place.totals().await, totals(&[("a", 2)]));
    let younger = made(7);
    assert_eq!(store.apply(&[younger]).await.expect("applied").new_batches, 1);
}

pub async fn a_backlog_that_nothing_was_pruned_past_counts<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    store.apply(&[made(300)]).await.expect("applied");
    place.age().await;
    assert_eq!(prune(&store).await, 1);
    let backlog: Vec<Batch> = (10..20).map(made).collect();
    store.apply(&backlog).await.expect("applied");
    assert_eq!(place.totals().await, totals(&[("a", 11)]));
    assert_eq!(store.apply(&backlog).await.expect("applied").duplicates, 10);
}

pub async fn ids_without_a_time_are_pruned_by_when_they_were_applied<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    let first = batch(Uuid::from_u128(1), &[("a", 1)]);
    let last = batch(Uuid::max(), &[("a", 1)]);
    let others = [first, other(id(9)), other(id(-9)), last.clone()];
    store.apply(&others).await.expect("applied");
    assert_eq!(prune(&store).await, 0);
    place.age().await;
    assert_eq!(prune(&store).await, 4);
    // They tell nothing of the age of others.
    store.apply(&[made(300), last]).await.expect("applied");
    assert_eq!(place.totals().await, totals(&[("a", 6)]));
}

pub async fn a_publisher_whose_clock_is_ahead_does_not_make_others_old<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    let (ahead, old) = (made(-3000), made(8));
    store.apply(&[ahead.clone(), old]).await.expect("applied");
    place.age().await;
    assert_eq!(prune(&store).await, 1);
    let applied = store.apply(&[ahead, made(0), made(7)]).await.expect("applied");
    assert_eq!((applied.new_batches, applied.duplicates), (2, 1));
}

pub async fn old_hours_are_pruned_and_days_stay<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    let viewed = |days: i64| {
        let mut batch = view_batch(Uuid::now_v7(), &[("a", 1), ("b", 1)]);
        let then = UNIX_EPOCH + Duration::from_secs(days_ago(days).unsigned_abs());
        batch.window_start = Some(then.into());
        parsed(&batch)
    };
    store.apply(&[viewed(0), viewed(29), viewed(31), viewed(100)]).await.expect("applied");
    let mut steps = Vec::new();
    while steps.last() != Some(&0) {
        steps.push(store.prune_hourly(30 * DAY, 3).await.expect("pruned"));
    }
    assert_eq!(steps, [3, 1, 0]);
    assert_eq!(place.buckets("hourly").await.len(), 4);
    assert_eq!(place.buckets("daily").await.len(), 8);
    assert_eq!(place.totals().await, totals(&[("a", 4), ("b", 4)]));
}
