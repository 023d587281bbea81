//! Forgets the ids of old batches.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    instruments,
    ports::{StoreError, TotalsStore},
};

/// Longer than any redelivery can take: the queue's own limit on deliveries ends earlier.
const AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Ids forgotten in one statement, so that none holds its locks for long.
const STATEMENT_BATCHES_MAX: u32 = 5_000;

/// Keeps the ids of the batches of seven days, once an hour.
pub struct Pruner {
    store: Arc<dyn TotalsStore>,
}

impl Pruner {
    /// A pruner of `store`. Any number may run side by side.
    pub fn new(store: Arc<dyn TotalsStore>) -> Self {
        Self { store }
    }

    /// Prunes now and every hour until stopped. A failure waits for the next time.
    pub async fn run(self, stop: CancellationToken) {
        let mut interval = tokio::time::interval(INTERVAL);
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            match stop.run_until_cancelled(self.prune()).await {
                Some(Err(error)) => tracing::warn!(%error, "pruning failed"),
                Some(Ok(batches)) => tracing::debug!(batches, "pruned"),
                None => {}
            }
        }
    }

    async fn prune(&self) -> Result<u64, StoreError> {
        let mut sum = 0;
        loop {
            let pruned = self.store.prune(AGE, STATEMENT_BATCHES_MAX).await?;
            instruments::pruned(pruned);
            sum += pruned;
            if pruned < u64::from(STATEMENT_BATCHES_MAX) {
                return Ok(sum);
            }
        }
    }
}
