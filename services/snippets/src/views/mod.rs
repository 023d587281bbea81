//! Counting views: in memory on the request path, in batches to the counter worker, and back as totals.
//!
//! A view is added to the open window of the [`ViewAggregator`]. The [`ViewFlusher`] closes windows and makes batches of
//! them, which wait in a backlog until the broker has confirmed them: in memory, or on disk in a [`Spool`].

mod aggregator;
mod backlog;
mod batches;
mod counts;
mod deletions;
mod flusher;
mod instruments;
mod keeper;
mod lists;
mod places;
mod reader;
mod sender;
mod spool;
mod window;

pub use aggregator::ViewAggregator;
pub use batches::BatchLimits;
pub use counts::ViewCounts;
pub use deletions::DeletionTeller;
pub use flusher::{Options, ViewFlusher};
pub use lists::ListViews;
pub use spool::{OpenSpoolError, Spool, SpoolOptions};
pub use window::Window;

#[cfg(test)]
mod tests;
