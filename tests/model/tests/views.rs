//! Every order of events, up to a bound: nothing is lost, nothing counts twice; and each mistake is found.

use model::{Flaw, Pipeline};
use stateright::{Checker, Model as _};

fn check(pipeline: Pipeline) -> impl Checker<Pipeline> {
    pipeline.checker().spawn_bfs().join()
}

#[test]
fn every_view_counts_once_in_every_order_of_events() {
    let checked = check(Pipeline::default());
    println!("{} states", checked.unique_state_count());
    checked.assert_properties();
    assert!(checked.unique_state_count() > 10_000, "that much can happen");
}

#[test]
fn with_a_spool_a_killed_replica_loses_its_open_window_at_most() {
    check(Pipeline { spool: true, ..Pipeline::default() }).assert_properties();
}

#[test]
fn each_mistake_is_found() {
    let found_by = [
        (Flaw::AcksBeforeCommit, "never lost once confirmed"),
        (Flaw::TrustsSends, "never lost once confirmed"),
        (Flaw::ForgetsBatchIds, "never twice"),
        (Flaw::NewIdForEachSend, "never twice"),
        (Flaw::KeepsWindowsInMemory, "with a spool, no more than the open window is lost"),
    ];
    for (flaw, property) in found_by {
        let checked = check(Pipeline { spool: true, flaw: Some(flaw), ..Pipeline::default() });
        assert!(checked.discovery(property).is_some(), "{flaw:?} is not found");
    }
}
