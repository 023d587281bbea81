//! Counting views: in memory on the request path, in batches to the counter worker, and back as totals.

mod aggregator;
mod counts;
mod flusher;

pub use aggregator::{ViewAggregator, Window};
pub use counts::ViewCounts;
pub use flusher::{Options, ViewFlusher};
