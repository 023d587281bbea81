//! Telling the counter worker which snippets are gone.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::batches::deletion_batch;
use crate::{
    domain::{SnippetId, now},
    ports::{BatchPublisher, Deletions, PublishError, StoreError},
};

/// How often it is looked for some. Nobody waits for it.
const INTERVAL: Duration = Duration::from_secs(1);
/// Told in one batch, of 13 KB.
const TOGETHER_MAX: u32 = 1_000;
/// For how long others keep away from what was taken: longer than telling it takes.
const LEASE: Duration = Duration::from_secs(15);
/// How long one try to publish takes at most.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes what is noted as deleted, and forgets it once the broker has it for certain. Any number may do so side by side; what
/// is told twice has the effect of once. What is counted of a snippet after its deletion was told is dropped by the worker, so the
/// order of the two does not matter.
pub struct DeletionTeller {
    deletions: Arc<dyn Deletions>,
    publisher: Arc<dyn BatchPublisher>,
    publisher_name: String,
}

/// Why deletions wait.
#[derive(Debug, thiserror::Error)]
enum TellError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl DeletionTeller {
    /// Tells what is noted in `deletions` through `publisher`, in the name of this replica.
    pub fn new(
        deletions: Arc<dyn Deletions>,
        publisher: Arc<dyn BatchPublisher>,
        publisher_name: String,
    ) -> Self {
        Self { deletions, publisher, publisher_name }
    }

    /// Tells until stopped. What was not told by then waits for whoever comes next.
    pub async fn run(self, stop: CancellationToken) {
        // To show as none before there is one.
        metrics::counter!("snippets_deletions_told_total").increment(0);
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let telling = async {
            let mut was_told = true;
            loop {
                ticks.tick().await;
                let told = self.tell_all().await;
                if let (Err(error), true) = (&told, was_told) {
                    tracing::warn!(%error, "deletions can't be told, and wait");
                }
                was_told = told.is_ok();
            }
        };
        stop.run_until_cancelled(telling).await;
    }

    async fn tell_all(&self) -> Result<(), TellError> {
        while self.tell_some().await? == TOGETHER_MAX as usize {}
        Ok(())
    }

    /// How many. After a failure the taken ones wait until their lease is over.
    async fn tell_some(&self) -> Result<usize, TellError> {
        let ids = self.deletions.take(TOGETHER_MAX, LEASE).await?;
        if !ids.is_empty() {
            self.publish(&ids).await?;
            self.deletions.told(&ids).await?;
            metrics::counter!("snippets_deletions_told_total").increment(ids.len() as u64);
        }
        Ok(ids.len())
    }

    async fn publish(&self, ids: &[SnippetId]) -> Result<(), PublishError> {
        let batch = [deletion_batch(ids, &self.publisher_name, now())];
        let published = timeout(PUBLISH_TIMEOUT, self.publisher.publish(&batch)).await;
        let outcome = published.ok().and_then(|outcomes| outcomes.into_iter().next());
        outcome.unwrap_or_else(|| Err(PublishError::Unavailable("it took too long".to_owned())))
    }
}
