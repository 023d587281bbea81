//! Tells the cache what other replicas have changed and could not tell it: they may be cut off from it, or gone.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::CachedSnippets;
use crate::ports::{Invalidations, SnippetCache, SnippetStore};

/// With the quarter of a second that whoever writes has for itself, much less than the second within which an edit has to show.
const INTERVAL: Duration = Duration::from_millis(250);
/// How many are made up for at a time.
const OWED_MAX: u32 = 100;

impl<S: SnippetStore, C: SnippetCache> CachedSnippets<S, C> {
    /// Makes up for what other replicas owe to the cache, and notes what this one has paid, until stopped.
    pub async fn relay(&self, invalidations: Arc<dyn Invalidations>, stop: CancellationToken) {
        self.pending.remember_settled();
        // To show as none before there is one.
        metrics::counter!("snippets_cache_invalidations_relayed_total").increment(0);
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let relayed = stop.run_until_cancelled(self.relay_all(&*invalidations)).await;
            if let Some(Err(error)) = relayed {
                tracing::debug!(%error, "what others owe to the cache was not paid");
            }
        }
    }

    async fn relay_all(&self, invalidations: &dyn Invalidations) -> anyhow::Result<()> {
        let settled = self.pending.take_settled();
        if !settled.is_empty() {
            // What is not noted is told the cache once more, which changes nothing.
            invalidations.settled(&settled).await?;
        }
        loop {
            let owed = invalidations.owed(OWED_MAX).await?;
            for (id, version) in &owed {
                self.cache.invalidate(id, *version).await?;
                metrics::counter!("snippets_cache_invalidations_relayed_total").increment(1);
            }
            if !owed.is_empty() {
                invalidations.settled(&owed).await?;
            }
            if owed.len() < OWED_MAX as usize {
                return Ok(());
            }
        }
    }
}
