//! Snippets that are gone.

use std::time::Duration;

use counter_worker::{
    domain::Batch,
    ports::{Applied, TotalsStore as _},
};
use rand::RngExt as _;
use uuid::Uuid;

use crate::{
    counting::apply_side_by_side,
    place::Place,
    support::{Totals, add, batch, parsed, totals, view_batch},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const WORKERS: usize = 8;

fn deletion(ids: &[&str], counts: &[(&str, u64)]) -> Batch {
    let mut batch = view_batch(Uuid::now_v7(), counts);
    batch.deleted_snippet_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    parsed(&batch)
}

/// The snippets of which anything is kept.
async fn kept<P: Place>(place: &P) -> Vec<Vec<String>> {
    let mut kept = vec![place.totals().await.into_keys().collect()];
    for table in ["hourly", "daily"] {
        let mut ids: Vec<String> = place.buckets(table).await.into_keys().map(|(id, _)| id).collect();
        ids.dedup();
        kept.push(ids);
    }
    kept
}

pub async fn a_deleted_snippet_takes_everything_along<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    store.apply(&[batch(Uuid::now_v7(), &[("a", 1), ("b", 2), ("c", 4)])]).await.expect("applied");
    // Counted and deleted by the same batch, and by another one of the same flush.
    let flush = [deletion(&["a", "never counted"], &[("a", 8), ("c", 16)]), deletion(&["b"], &[("a", 32)])];
    let applied = store.apply(&flush).await.expect("applied");
    assert_eq!(applied, Applied { new_batches: 2, duplicates: 0, views: 16, dropped_views: 40 });
    assert_eq!(place.totals().await, totals(&[("c", 20)]));
    assert_eq!(kept(&place).await, [["c"], ["c"], ["c"]]);
    assert_eq!(place.deleted().await, ["a", "b", "never counted"]);
}

pub async fn what_still_comes_of_a_deleted_snippet_is_dropped<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    store.apply(&[deletion(&["a"], &[])]).await.expect("applied");
    let late = [batch(Uuid::now_v7(), &[("a", 1), ("b", 2)]), batch(Uuid::now_v7(), &[("a", 4)])];
    let applied = store.apply(&late).await.expect("applied");
    assert_eq!(applied, Applied { new_batches: 2, duplicates: 0, views: 2, dropped_views: 5 });
    let applied = store.apply(&late).await.expect("applied to no effect");
    assert_eq!(applied, Applied { new_batches: 0, duplicates: 2, views: 0, dropped_views: 0 });
    assert_eq!(kept(&place).await, [["b"], ["b"], ["b"]]);
}

pub async fn a_repeated_deletion_is_a_duplicate<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    let deletion = [deletion(&["a"], &[])];
    store.apply(&deletion).await.expect("applied");
    let applied = store.apply(&deletion).await.expect("applied");
    assert_eq!(applied, Applied { new_batches: 0, duplicates: 1, views: 0, dropped_views: 0 });
    // Told by another batch, it is one.
    store.apply(&[self::deletion(&["a"], &[])]).await.expect("applied");
    assert_eq!(place.deleted().await, ["a"]);
}

/// Small flushes over few snippets, in no order: what is called `gone` is counted and deleted, the rest is only counted.
fn flushes(expected: &mut Totals) -> Vec<Vec<Batch>> {
    let mut rng = rand::rng();
    let mut flush = || {
        let mut name = |kind: &str| format!("{} {kind}", rng.random_range(0..6));
        let (counted, deleted) = ([name("stays"), name("gone"), name("gone")], name("gone"));
        let counts: Totals = counted.iter().map(|id| (id.clone(), 1)).collect();
        let wire: Vec<(&str, u64)> = counts.keys().map(|id| (id.as_str(), 1)).collect();
        let batch = deletion(&[&deleted], &wire);
        add(expected, counts.into_iter().filter(|(id, _)| id.ends_with("stays")).collect());
        vec![batch]
    };
    (0..150).map(|_| flush()).collect()
}

pub async fn workers_that_count_and_delete_neither_deadlock_nor_leave_anything<P: Place>() {
    let place = P::create().await;
    let mut expected = Totals::new();
    let workers = (0..WORKERS).map(|_| flushes(&mut expected)).collect();
    apply_side_by_side(&place, workers).await;
    let deleted = place.deleted().await;
    assert!(!deleted.is_empty() && deleted.iter().all(|id| id.ends_with("gone")));
    for ids in kept(&place).await {
        assert!(ids.iter().all(|id| !deleted.contains(id)), "{ids:?} is kept, {deleted:?} is deleted");
    }
    let mut counted = place.totals().await;
    counted.retain(|id, _| id.ends_with("stays"));
    assert_eq!(counted, expected);
}

pub async fn what_was_left_behind_goes_before_the_deletion_is_forgotten<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    store.apply(&[batch(Uuid::now_v7(), &[("a", 1), ("b", 2)])]).await.expect("applied");
    // As if the rows of "a" had been too many for the flush that deleted it.
    place.execute("INSERT INTO views.deleted SELECT 'a', max(applied_at) FROM views.batches").await;
    place.age().await;
    let mut steps = 0;
    while store.prune_deleted(DAY, 1).await.expect("pruned") > 0 {
        steps += 1;
    }
    assert!(steps > 0);
    assert_eq!(kept(&place).await, [["b"], ["b"], ["b"]]);
    assert!(place.deleted().await.is_empty());
    store.apply(&[batch(Uuid::now_v7(), &[("a", 4)])]).await.expect("applied");
    assert_eq!(place.totals().await, totals(&[("a", 4), ("b", 2)]), "nothing is known of it any more");
}

pub async fn young_deletions_are_remembered<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    store.apply(&[deletion(&["a", "b"], &[])]).await.expect("applied");
    place.age().await;
    // Told once more, it begins anew.
    store.apply(&[deletion(&["b", "c"], &[])]).await.expect("applied");
    while store.prune_deleted(DAY, 1).await.expect("pruned") > 0 {}
    assert_eq!(place.deleted().await, ["b", "c"]);
}
