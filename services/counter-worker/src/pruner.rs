//! Forgets what is old.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    instruments,
    ports::{StoreError, TotalsStore},
};

/// Longer than any redelivery can take: the queue's own limit on deliveries ends earlier.
const AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Rows deleted in one transaction, so that none holds its locks for long.
const ROWS_MAX: u32 = 5_000;
/// Deleted snippets forgotten in one transaction: each may have thousands of rows left.
const DELETED_MAX: u32 = 1_000;

/// Keeps the ids of batches and of deleted snippets for seven days.
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
                Some(Ok(())) => tracing::debug!("pruned"),
                None => {}
            }
        }
    }

    async fn prune(&self) -> Result<(), StoreError> {
        loop {
            let pruned = self.store.prune_batches(AGE, ROWS_MAX).await?;
            instruments::pruned(pruned);
            if pruned < u64::from(ROWS_MAX) {
                break;
            }
        }
        while self.store.prune_deleted(AGE, DELETED_MAX).await? > 0 {}
        Ok(())
    }
}
