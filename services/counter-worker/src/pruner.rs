//! Forgets what is old.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    instruments,
    ports::{StoreError, TotalsStore},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Rows deleted in one transaction, so that none holds its locks for long.
const ROWS_MAX: u32 = 5_000;
/// Deleted snippets forgotten in one transaction: each may have many rows left.
const DELETED_MAX: u32 = 1_000;

/// How long what is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The ids of batches, and of deleted snippets: longer than a batch is on its way. One that comes back later is refused.
    pub batches: Duration,
    /// Views by the hour.
    pub hourly: Duration,
}

impl Default for Retention {
    /// A week, which outlasts the queue's own limit on deliveries; and 90 days.
    fn default() -> Self {
        Self { batches: 7 * DAY, hourly: 90 * DAY }
    }
}

/// Forgets what is old, once an hour.
pub struct Pruner {
    store: Arc<dyn TotalsStore>,
    retention: Retention,
}

impl Pruner {
    /// A pruner of `store`. Any number may run side by side.
    pub fn new(store: Arc<dyn TotalsStore>, retention: Retention) -> Self {
        Self { store, retention }
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
        self.prune_batches().await?;
        while self.store.prune_hourly(self.retention.hourly, ROWS_MAX).await? > 0 {}
        while self.store.prune_deleted(self.retention.batches, DELETED_MAX).await? > 0 {}
        Ok(())
    }

    async fn prune_batches(&self) -> Result<(), StoreError> {
        let mut from = Uuid::nil();
        loop {
            let pruned = self.store.prune_batches(self.retention.batches, ROWS_MAX, &mut from).await?;
            instruments::pruned(pruned);
            if pruned < u64::from(ROWS_MAX) {
                return Ok(());
            }
        }
    }
}
