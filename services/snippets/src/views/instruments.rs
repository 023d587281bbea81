//! The metrics of views. None is touched on the request path.

use metrics::{counter, gauge};

use super::{aggregator::Tally, backlog::Waits};

/// Adds what became of views since the last time.
pub(super) fn counted(tally: Tally) {
    counter!("snippets_views_accepted_total").increment(tally.accepted);
    dropped("bound", tally.bound);
}

/// Adds the views of a window that was closed.
pub(super) fn batched(views: u64) {
    counter!("snippets_views_batched_total").increment(views);
}

/// Adds a batch that is safe.
pub(super) fn confirmed(views: u64) {
    batch("confirmed");
    counter!("snippets_views_confirmed_total").increment(views);
}

/// Adds a batch that is to be sent again.
pub(super) fn failed() {
    batch("failed");
}

/// Adds a batch that never will be safe.
pub(super) fn refused(views: u64) {
    batch("refused");
    dropped("refused", views);
}

/// Adds views that could be neither sent nor spooled in time.
pub(super) fn stopped(views: u64) {
    dropped("stopped", views);
}

/// Tells what waits: snippets in the open window, and what the backlog has.
pub(super) fn waiting(open: usize, closed: usize, waits: &Waits) {
    snippets("open", open);
    snippets("unconfirmed", closed);
    set("snippets_view_batches_unconfirmed", waits.batches + waits.spooled);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
    gauge!("snippets_view_spool_bytes").set(waits.spool_bytes as f64);
}

/// Has the spool's failures show as none before there is one.
pub(super) fn no_spool_failure_yet() {
    counter!("snippets_view_spool_failures_total").increment(0);
    for reason in ["corrupt", "missing"] {
        counter!("snippets_view_spool_files_lost_total", "reason" => reason).increment(0);
    }
}

/// Adds a failure of the disk.
pub(super) fn spool_failed() {
    counter!("snippets_view_spool_failures_total").increment(1);
}

/// Adds a file of the spool that holds no batch.
pub(super) fn spool_file_lost(reason: &'static str) {
    counter!("snippets_view_spool_files_lost_total", "reason" => reason).increment(1);
}

fn batch(outcome: &'static str) {
    counter!("snippets_view_batches_total", "outcome" => outcome).increment(1);
}

/// That there is no such metric is good news.
fn dropped(reason: &'static str, views: u64) {
    if views > 0 {
        counter!("snippets_views_dropped_total", "reason" => reason).increment(views);
    }
}

fn snippets(state: &'static str, snippets: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
    gauge!("snippets_view_snippets_pending", "state" => state).set(snippets as f64);
}

fn set(name: &'static str, value: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
    gauge!(name).set(value as f64);
}
