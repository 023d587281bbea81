//! Takes batches from the queue and gathers them for the next commit.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    committer::Committer,
    domain::Batch,
    flush::Flush,
    instruments,
    ports::{BatchQueue, Delivery, QueueError, Subscription, TotalsStore},
};

/// A flush is committed early once it holds so many counts, so that no transaction grows without bound.
const FLUSH_COUNTS_MAX: usize = 50_000;

/// How much the worker gathers before it commits.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long the first batch of a flush waits for others.
    pub flush_interval: Duration,
    /// How many batches make a flush that waits no longer, 1 at least.
    pub flush_batches_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { flush_interval: Duration::from_millis(200), flush_batches_max: 256 }
    }
}

/// Moves batches from a queue into a store. A malformed one is rejected at once.
pub struct Worker {
    queue: Box<dyn BatchQueue>,
    status: watch::Sender<Option<String>>,
    intake: Intake,
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
        Self { queue: Box::new(queue), status, intake: Intake { committer: Committer::new(store), settings } }
    }

    /// Tells whether this worker receives batches, for as long as it runs.
    pub fn status(&self) -> Status {
        Status(self.status.subscribe())
    }

    /// Works until `stop` is cancelled: then what was gathered is committed, if the store lets it, and
    /// acknowledged. Everything else stays in the queue.
    pub async fn run(self, stop: CancellationToken) {
        let Self { mut queue, status, intake } = self;
        // Nothing is taken from the queue before it can be put somewhere.
        intake.committer.wait_for_store(&stop).await;
        let mut lost = None;
        while let Some(mut subscription) = queue.subscribe(lost.take(), &stop).await {
            status.send_replace(None);
            tracing::info!("receiving view batches");
            match intake.consume(subscription.as_mut(), &stop).await {
                Ok(()) => {
                    subscription.close().await;
                    break;
                }
                Err(error) => {
                    status.send_replace(Some(error.to_string()));
                    lost = Some(error);
                }
            }
        }
        status.send_replace(Some("stopped".to_owned()));
    }
}

struct Intake {
    committer: Committer,
    settings: Settings,
}

impl Intake {
    /// Ends well when `stop` is cancelled or the queue has no more to give.
    async fn consume(
        &self,
        subscription: &mut dyn Subscription,
        stop: &CancellationToken,
    ) -> Result<(), QueueError> {
        loop {
            let flush = self.gather(subscription, stop).await?;
            if flush.is_empty() {
                return Ok(());
            }
            let span = flush.span();
            self.committer.settle(&flush, subscription, stop).instrument(span).await?;
        }
    }

    /// Waits for a batch and then for others, up to the flush interval. Empty only when there will be no more.
    async fn gather(
        &self,
        subscription: &mut dyn Subscription,
        stop: &CancellationToken,
    ) -> Result<Flush, QueueError> {
        let mut flush = Flush::default();
        let mut deadline = None;
        while flush.len() < self.settings.flush_batches_max && flush.counts() < FLUSH_COUNTS_MAX {
            let delivery = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => break,
                delivery = subscription.next() => delivery?,
            };
            let Some(delivery) = delivery else { break };
            admit(delivery, &mut flush, subscription).await?;
            if !flush.is_empty() {
                deadline.get_or_insert_with(|| Instant::now() + self.settings.flush_interval);
            }
        }
        Ok(flush)
    }
}

async fn admit(
    delivery: Delivery,
    flush: &mut Flush,
    subscription: &mut dyn Subscription,
) -> Result<(), QueueError> {
    match Batch::parse(&delivery.payload) {
        Ok(batch) => flush.push(batch, delivery.tag, delivery.trace),
        Err(malformed) => {
            tracing::warn!(%malformed, bytes = delivery.payload.len(), "a malformed batch was rejected");
            instruments::rejected();
            subscription.reject(delivery.tag).await?;
        }
    }
    Ok(())
}
