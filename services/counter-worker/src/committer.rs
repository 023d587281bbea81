//! Commits what was gathered, for as long as it takes, and only then acknowledges it.

use std::{
    slice,
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::Batch,
    flush::Flush,
    instruments,
    ports::{Applied, QueueError, Settlement, StoreError, TotalsStore},
};

/// The longest that one attempt at a transaction may take; beyond it, its outcome is unknown. Longer than Postgres is given
/// for a connection and a transaction together, whose own errors say more.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// A flush that did not finish in time for so often in a row is too large for this store.
const TOO_SLOW_MAX: u32 = 2;
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(3);
/// Pauses while the store is away: doubling, plus up to as much again by chance, without an end.
const RETRY: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(RETRY_PAUSE_MAX)
    .with_factor(2.0)
    .with_jitter()
    .without_max_times();

/// Moves flushes into a store.
///
/// While the store is away, a flush is kept and tried again at a growing pace. Where the store works but refuses
/// the data of a flush, its batches are applied one by one, and the culprit is rejected. So they are where the store does not
/// finish the flush in time.
pub(crate) struct Committer {
    store: Arc<dyn TotalsStore>,
}

/// What has become of the deliveries of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Each is acknowledged or rejected.
    All,
    /// Some are still open, since the worker is to stop and the store is away. None that came after may be acknowledged: an
    /// acknowledgement speaks for all before it.
    NotAll,
}

/// Why batches were not committed.
enum NotApplied {
    Refused(StoreError),
    /// Of several batches; one alone is tried for as long as it takes.
    TooSlow(StoreError),
    Stopped,
}

impl Committer {
    pub(crate) fn new(store: Arc<dyn TotalsStore>) -> Self {
        Self { store }
    }

    /// Waits until the store is ready, or `stop` is cancelled.
    pub(crate) async fn wait_for_store(&self, stop: &CancellationToken) {
        let mut pauses = RETRY.build();
        while let Some(Err(error)) = stop.run_until_cancelled(self.store.ready()).await {
            if !pause(&mut pauses, &error, stop).await {
                return;
            }
        }
    }

    /// Commits a flush and settles its deliveries. Once `stop` is cancelled a store that is away is not waited
    /// for.
    pub(crate) async fn settle(
        &self,
        flush: &Flush,
        settlement: &dyn Settlement,
        stop: &CancellationToken,
    ) -> Result<Settled, QueueError> {
        match self.apply(&flush.batches, stop).await {
            Ok(()) => {
                instruments::flushed(flush);
                ack_last(&flush.tags, settlement).await?;
                Ok(Settled::All)
            }
            Err(NotApplied::Stopped) => Ok(Settled::NotAll),
            Err(NotApplied::Refused(error) | NotApplied::TooSlow(error)) => {
                tracing::error!(%error, batches = flush.len(), "a flush is committed batch by batch");
                self.settle_one_by_one(flush, settlement, stop).await
            }
        }
    }

    async fn settle_one_by_one(
        &self,
        flush: &Flush,
        settlement: &dyn Settlement,
        stop: &CancellationToken,
    ) -> Result<Settled, QueueError> {
        let (mut applied, mut settled) = (Vec::new(), Settled::All);
        for (batch, tag) in flush.batches.iter().zip(&flush.tags) {
            match self.apply(slice::from_ref(batch), stop).await {
                Ok(()) => applied.push(*tag),
                Err(NotApplied::Stopped | NotApplied::TooSlow(_)) => {
                    settled = Settled::NotAll;
                    break;
                }
                Err(NotApplied::Refused(error)) => {
                    tracing::error!(batch_id = %batch.id(), %error, "a batch was refused");
                    instruments::rejected();
                    settlement.reject(*tag).await?;
                }
            }
        }
        ack_last(&applied, settlement).await?;
        Ok(settled)
    }

    async fn apply(&self, batches: &[Batch], stop: &CancellationToken) -> Result<(), NotApplied> {
        let (mut pauses, mut too_slow) = (RETRY.build(), 0);
        loop {
            let begun = Instant::now();
            match self.attempt(batches).await {
                Ok(applied) => {
                    instruments::committed(&applied, batches, begun.elapsed());
                    return Ok(());
                }
                Err(error) if !error.is_transient() => return Err(NotApplied::Refused(error)),
                Err(error) => {
                    instruments::commit_failed();
                    too_slow = if matches!(error, StoreError::TooSlow(_)) { too_slow + 1 } else { 0 };
                    if too_slow >= TOO_SLOW_MAX && batches.len() > 1 {
                        return Err(NotApplied::TooSlow(error));
                    }
                    if !pause(&mut pauses, &error, stop).await {
                        return Err(NotApplied::Stopped);
                    }
                }
            }
        }
    }

    async fn attempt(&self, batches: &[Batch]) -> Result<Applied, StoreError> {
        let attempt = timeout(ATTEMPT_TIMEOUT, self.store.apply(batches)).await;
        attempt.unwrap_or_else(|elapsed| Err(StoreError::TooSlow(Box::new(elapsed))))
    }
}

/// A rejected delivery is settled already, and must not be named; hence the last of those that were applied.
async fn ack_last(applied: &[u64], settlement: &dyn Settlement) -> Result<(), QueueError> {
    match applied.last() {
        Some(tag) => settlement.ack_up_to(*tag).await,
        None => Ok(()),
    }
}

/// Waits before the store is tried again. False when the worker is to stop instead.
async fn pause(pauses: &mut ExponentialBackoff, error: &StoreError, stop: &CancellationToken) -> bool {
    let pause = pauses.next().unwrap_or(RETRY_PAUSE_MAX);
    tracing::warn!(%error, ?pause, "the store can't be used");
    stop.run_until_cancelled(sleep(pause)).await.is_some()
}
