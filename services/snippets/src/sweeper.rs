//! Removes snippets that are over, and what is remembered of old requests.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::SnippetId,
    ports::{CREATE_REQUEST_LIFETIME, StoreError, Sweep},
};

const INTERVAL: Duration = Duration::from_secs(30);
/// Rows removed in one statement, so that none holds its locks for long: a body may have 1 MiB.
const ROWS_MAX: u32 = 500;
/// No replica whose clock is slow by less shows a snippet that is removed as expired.
const GRACE: Duration = Duration::from_secs(60);

/// Sweeps every 30 s. Nobody waits for it: what is over is not shown, removed or not. Any number may run side by side.
pub struct Sweeper {
    store: Arc<dyn Sweep>,
}

impl Sweeper {
    /// Removes from `store`.
    pub fn new(store: Arc<dyn Sweep>) -> Self {
        Self { store }
    }

    /// Sweeps until stopped. A failure waits for the next time.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Some(Err(error)) = stop.run_until_cancelled(self.sweep()).await {
                tracing::warn!(%error, "sweeping failed");
            }
        }
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        let now = Utc::now();
        while removed("expired", &self.store.remove_expired(now - GRACE, ROWS_MAX).await?) {}
        while removed("burnt", &self.store.remove_burnt(ROWS_MAX).await?) {}
        let old = now - CREATE_REQUEST_LIFETIME;
        while self.store.forget_create_requests(old, ROWS_MAX).await? == u64::from(ROWS_MAX) {}
        Ok(())
    }
}

/// Whether there may be more.
fn removed(reason: &'static str, ids: &[SnippetId]) -> bool {
    metrics::counter!("snippets_swept_total", "reason" => reason).increment(ids.len() as u64);
    ids.len() == ROWS_MAX as usize
}
