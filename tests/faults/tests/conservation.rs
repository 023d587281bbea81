//! Every view that a client was answered is counted, once, through a few of the schedules that `make faults` runs many of.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use faults::conservation::Plan;

async fn assert_conserved(plan: Plan) {
    let outcome = plan.run().await.unwrap();
    assert!(outcome.is_pass(), "{outcome}\n{}", plan.command());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_is_counted_whatever_dies() {
    let length = Duration::from_secs(12);
    assert_conserved(Plan { seed: 1, length, kill_replicas: false, spool: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_takes_no_more_with_it_than_was_unconfirmed() {
    let length = Duration::from_secs(10);
    assert_conserved(Plan { seed: 4, length, kill_replicas: true, spool: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_with_a_spool_takes_its_open_window_at_most() {
    let length = Duration::from_secs(10);
    assert_conserved(Plan { seed: 6, length, kill_replicas: true, spool: true }).await;
}
