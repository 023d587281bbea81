//! The worker's metrics, in one place.

use std::time::{Duration, SystemTime};

#[cfg(feature = "amqp")]
use metrics::gauge;
use metrics::{counter, histogram};

use crate::{domain::Batch, flush::Flush, ports::Applied};

/// Batches were committed.
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

/// A flush was committed as a whole.
pub(crate) fn flushed(flush: &Flush) {
    let size = |n: usize| u32::try_from(n).map_or(f64::INFINITY, f64::from);
    histogram!("counter_worker_flush_batches").record(size(flush.len()));
    histogram!("counter_worker_flush_counts").record(size(flush.counts()));
}

/// The queue delivered a batch that it had delivered before.
pub(crate) fn redelivered() {
    counter!("counter_worker_redeliveries_total").increment(1);
}

/// How many messages of a queue wait to be delivered.
#[cfg(feature = "amqp")]
pub(crate) fn queue_depth(queue: &'static str, messages: u32) {
    gauge!("counter_worker_queue_messages", "queue" => queue).set(messages);
}

/// Nobody knows how many messages wait in a queue; the last number would be taken for the present one.
#[cfg(feature = "amqp")]
pub(crate) fn queue_depth_unknown(queue: &'static str) {
    gauge!("counter_worker_queue_messages", "queue" => queue).set(f64::NAN);
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
