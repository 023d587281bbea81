//! Sends batches, and sends them again until they are safe.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{backlog::Backlog, flusher::Options};
use crate::ports::{BatchPublisher, PendingBatch, PublishError};

const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// Publishes what is in the backlog.
#[derive(Debug)]
pub(super) struct BatchSender<P> {
    publisher: P,
    backlog: Arc<Backlog>,
    publish_timeout: Duration,
    backoff_max: Duration,
    failures: u32,
}

impl<P: BatchPublisher> BatchSender<P> {
    /// Sends what is in `backlog` through `publisher`.
    pub(super) fn new(publisher: P, backlog: Arc<Backlog>, options: &Options) -> Self {
        let Options { publish_timeout, backoff_max, .. } = *options;
        Self { publisher, backlog, publish_timeout, backoff_max, failures: 0 }
    }

    /// Sends for ever. Cancelling it loses nothing.
    pub(super) async fn run(&mut self) {
        loop {
            let batch = self.backlog.oldest().await;
            match self.publish(&batch).await {
                Ok(()) => self.confirmed(&batch),
                Err(error) => self.failed(&error).await,
            }
        }
    }

    async fn publish(&self, batch: &PendingBatch) -> Result<(), PublishError> {
        let publishing = self.publisher.publish(batch);
        let elapsed = |_| PublishError::Unavailable("it took too long".to_owned());
        timeout(self.publish_timeout, publishing).await.map_err(elapsed)?
    }

    fn confirmed(&mut self, batch: &PendingBatch) {
        self.backlog.remove(batch.id);
        metrics::counter!("snippets_view_batches_total", "outcome" => "confirmed").increment(1);
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "views are being sent again");
            self.failures = 0;
        }
    }

    async fn failed(&mut self, error: &PublishError) {
        metrics::counter!("snippets_view_batches_total", "outcome" => "failed").increment(1);
        if self.failures == 0 {
            tracing::warn!(%error, "views can't be sent and are held");
        }
        // Any number of doublings beyond the sixteenth is longer than the longest wait.
        let backoff = BACKOFF_MIN * 2_u32.pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        sleep(backoff.min(self.backoff_max)).await;
    }
}
