//! Moves batches from a queue into a store, for as long as the process runs.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    committer::Committer,
    pipeline::Pipeline,
    ports::{BatchQueue, Subscription, TotalsStore},
};

/// How much the worker gathers before it commits.
///
/// It holds two flushes at most: one that is being committed, and one that is being gathered. Once that one is full nothing is
/// received until the other is committed.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long the first batch of a flush waits for others; longer while the flush before is being committed.
    pub flush_interval: Duration,
    /// How many batches make a flush that waits no longer, 1 at least.
    pub flush_batches_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { flush_interval: Duration::from_millis(200), flush_batches_max: 128 }
    }
}

/// Moves batches from a queue into a store. A malformed one is rejected at once.
pub struct Worker {
    queue: Box<dyn BatchQueue>,
    status: watch::Sender<Option<String>>,
    committer: Committer,
    settings: Settings,
}

/// Whether a worker is receiving batches.
#[derive(Debug, Clone)]
pub struct Status(watch::Receiver<Option<String>>);

impl Status {
    /// Whether batches are being received now.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), String> {
        self.0.borrow().clone().map_or(Ok(()), Err)
    }
}

impl Worker {
    /// A worker that takes from `queue` and adds to `store`.
    pub fn new(store: Arc<dyn TotalsStore>, queue: impl BatchQueue, settings: Settings) -> Self {
        let status = watch::Sender::new(Some("not subscribed yet".to_owned()));
        Self { queue: Box::new(queue), status, committer: Committer::new(store), settings }
    }

    /// Tells whether this worker receives batches, for as long as it runs.
    pub fn status(&self) -> Status {
        Status(self.status.subscribe())
    }

    /// Works until `stop` is cancelled: then what was gathered is committed, if the store lets it, and
    /// acknowledged. Everything else stays in the queue.
    pub async fn run(self, stop: CancellationToken) {
        let Self { mut queue, status, committer, settings } = self;
        // Nothing is taken from the queue before it can be put somewhere.
        committer.wait_for_store(&stop).await;
        let mut lost = None;
        while let Some(Subscription { mut deliveries, settlement }) =
            queue.subscribe(lost.take(), &stop).await
        {
            status.send_replace(None);
            tracing::info!("receiving view batches");
            let mut pipeline = Pipeline::new(&committer, &*settlement, settings, &stop);
            let Err(error) = pipeline.run(deliveries.as_mut()).await else {
                deliveries.close().await;
                break;
            };
            status.send_replace(Some(error.to_string()));
            pipeline.finish().await;
            lost = Some(error);
        }
        status.send_replace(Some("stopped".to_owned()));
    }
}
