//! What is counted, and that it is counted once.

use std::slice;

use counter_worker::{
    domain::Batch,
    ports::{Applied, TotalsStore as _},
};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    place::Place,
    support::{self, Totals, add, batch, totals},
};

fn flood(batches: usize) -> (Vec<Batch>, Totals) {
    let (payloads, totals) = support::flood(batches);
    (payloads.iter().map(|it| Batch::parse(it).expect("well-formed")).collect(), totals)
}

pub async fn a_batch_counts_once_however_often_it_comes<P: Place>() {
    let place = P::create().await;
    let once = batch(Uuid::now_v7(), &[("a", 2), ("b", 3)]);
    let store = place.store().await;
    let twice = [once.clone(), once.clone()];
    let applied = store.apply(&twice).await.expect("applied");
    assert_eq!(applied, Applied { new_batches: 1, duplicates: 1, views: 5, dropped_views: 0 });
    for _ in 0..3 {
        let applied = store.apply(slice::from_ref(&once)).await.expect("applied");
        assert_eq!(applied, Applied { new_batches: 0, duplicates: 1, views: 0, dropped_views: 0 });
    }
    assert_eq!(place.totals().await, totals(&[("a", 2), ("b", 3)]));
}

pub async fn a_batch_counts_once_when_it_comes_everywhere_at_once<P: Place>() {
    let place = P::create().await;
    let once = batch(Uuid::now_v7(), &[("a", 2), ("b", 3)]);
    let mut workers = JoinSet::new();
    for _ in 0..5 {
        let (store, once) = (place.store().await, once.clone());
        workers.spawn(async move { store.apply(&[once]).await.expect("applied") });
    }
    let applied = workers.join_all().await;
    assert_eq!(applied.iter().map(|applied| applied.new_batches).sum::<u64>(), 1);
    assert_eq!(place.totals().await, totals(&[("a", 2), ("b", 3)]));
}

pub async fn batches_add_up<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    let old = batch(Uuid::now_v7(), &[("a", 1), ("b", 10)]);
    store.apply(slice::from_ref(&old)).await.expect("applied");
    let mixed = [batch(Uuid::now_v7(), &[("b", 5), ("c", 7)]), old, batch(Uuid::now_v7(), &[("b", 100)])];
    let applied = store.apply(&mixed).await.expect("applied");
    assert_eq!(applied, Applied { new_batches: 2, duplicates: 1, views: 112, dropped_views: 0 });
    assert_eq!(place.totals().await, totals(&[("a", 1), ("b", 115), ("c", 7)]));
}

const WORKERS: usize = 8;

/// Applies each worker's flushes, all workers side by side.
pub async fn apply_side_by_side<P: Place>(place: &P, workers: Vec<Vec<Vec<Batch>>>) {
    let mut running = JoinSet::new();
    for flushes in workers {
        let store = place.store().await;
        running.spawn(async move {
            for flush in flushes {
                store.apply(&flush).await.expect("no deadlock");
            }
        });
    }
    running.join_all().await;
}

/// Such as a queue whose every message is delivered eight times, in no order.
pub async fn workers_with_the_same_batches_neither_deadlock_nor_miscount<P: Place>() {
    let place = P::create().await;
    let (batches, expected) = flood(400);
    let flushes = |worker: usize| {
        let mut flushes: Vec<Vec<Batch>> = batches.chunks(40).map(<[Batch]>::to_vec).collect();
        if worker % 2 == 1 {
            for flush in &mut flushes {
                flush.reverse();
            }
        }
        flushes
    };
    apply_side_by_side(&place, (0..WORKERS).map(flushes).collect()).await;
    assert_eq!(place.totals().await, expected);
}

pub async fn workers_on_the_same_snippets_neither_deadlock_nor_miscount<P: Place>() {
    let place = P::create().await;
    let (mut expected, mut workers) = (Totals::new(), Vec::new());
    for _ in 0..WORKERS {
        let (batches, more) = flood(400);
        add(&mut expected, more);
        workers.push(batches.chunks(20).map(<[Batch]>::to_vec).collect());
    }
    apply_side_by_side(&place, workers).await;
    assert_eq!(place.totals().await, expected);
}

pub async fn a_total_stops_at_the_largest_number<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    for views in [i64::MAX.unsigned_abs() - 1, 5, 5] {
        store.apply(&[batch(Uuid::now_v7(), &[("a", views), ("b", 1)])]).await.expect("applied");
    }
    assert_eq!(place.totals().await, totals(&[("a", i64::MAX), ("b", 3)]));
}
