//! The worker's metrics, in one place.

use std::time::{Duration, SystemTime};

use metrics::{counter, histogram};

use crate::{domain::Batch, ports::Applied};

/// A flush was committed.
pub(crate) fn committed(applied: &Applied, batches: &[Batch], took: Duration) {
    counter!("counter_worker_batches_total", "outcome" => "applied").increment(applied.new_batches);
    counter!("counter_worker_batches_total", "outcome" => "duplicate").increment(applied.duplicates);
    counter!("counter_worker_views_total").increment(applied.views);
    counter!("counter_worker_views_dropped_total").increment(applied.dropped_views);
    histogram!("counter_worker_commit_seconds").record(took.as_secs_f64());
    let now = SystemTime::now();
    for end in batches.iter().filter_map(Batch::window_end) {
        // A publisher's clock may be ahead of ours.
        let lag = now.duration_since(end).unwrap_or_default();
        histogram!("counter_worker_lag_seconds").record(lag.as_secs_f64());
    }
}

/// A batch went to the dead letters.
pub(crate) fn rejected() {
    counter!("counter_worker_batches_total", "outcome" => "rejected").increment(1);
}

/// A commit failed and will be tried again.
pub(crate) fn commit_failed() {
    counter!("counter_worker_commit_failures_total").increment(1);
}

/// Old batch ids were forgotten.
pub(crate) fn pruned(batches: u64) {
    counter!("counter_worker_pruned_batches_total").increment(batches);
}
