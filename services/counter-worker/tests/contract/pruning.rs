//! What is forgotten, and what is not.

use std::{slice, time::Duration};

use counter_worker::{domain::Batch, ports::TotalsStore as _};
use uuid::Uuid;

use crate::{
    place::Place,
    support::{batch, totals},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub async fn only_old_batches_are_pruned_and_boundedly<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    let old: Vec<Batch> = (0..5).map(|_| batch(Uuid::now_v7(), &[("a", 1)])).collect();
    store.apply(&old).await.expect("applied");
    assert_eq!(store.prune_batches(DAY, 100).await.expect("pruned"), 0);
    place.age().await;
    let young = batch(Uuid::now_v7(), &[("a", 1)]);
    store.apply(slice::from_ref(&young)).await.expect("applied");
    assert_eq!(store.prune_batches(DAY, 3).await.expect("pruned"), 3);
    assert_eq!(store.prune_batches(DAY, 3).await.expect("pruned"), 2);
    assert_eq!(store.apply(&[young]).await.expect("applied").duplicates, 1, "the young one is remembered");
    assert_eq!(place.totals().await, totals(&[("a", 6)]), "pruning takes no views away");
}
