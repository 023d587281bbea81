//! What the worker needs from the outside: a queue of batches and a store of totals.

use std::{error::Error, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::Batch;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::domain::Tally;

/// The W3C trace context headers that came with a message, names in lower case.
pub type TraceHeaders = Vec<(String, String)>;

/// The cause of a failure, for the log.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Keeps the totals and their roll-ups by hour and day, and remembers which batches they contain and which snippets are gone.
#[async_trait]
pub trait TotalsStore: Send + Sync + 'static {
    /// Whether the store can be reached and its schema is there.
    ///
    /// # Errors
    /// When it is not ready; each of them may pass.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Adds the batches to totals, hours and days, all in one transaction, leaving out those that were added before. What is
    /// kept of the snippets that they delete goes, and whatever is counted of them from then on is dropped. Safe to repeat
    /// after any error, also when the outcome is unknown. A sum stops at `i64::MAX`.
    ///
    /// # Errors
    /// When nothing is known to have been committed. [`StoreError::Refused`] too where one of the batches is not remembered, and
    /// so old that it might have been forgotten.
    async fn apply(&self, batches: &[Batch]) -> Result<Applied, StoreError>;

    /// Forgets up to `limit` of the batches that were applied longer than `age` ago and, where their ids say so, made longer
    /// ago; says how many. From then on batches with an id as old as one of these are [`StoreError::Refused`], unless they are
    /// remembered. `from` is where the call before has stopped, nil at first; less than `limit` is all that there was from
    /// there.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn prune_batches(&self, age: Duration, limit: u32, from: &mut Uuid) -> Result<u64, StoreError>;

    /// Deletes up to `limit` of the hours that began longer than `age` ago, and says how many.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn prune_hourly(&self, age: Duration, limit: u32) -> Result<u64, StoreError>;

    /// Forgets up to `limit` of the snippets that were deleted longer than `age` ago, each once nothing is kept of it any
    /// more; what still is gets deleted, up to `limit` rows of each table. Says how many rows went in all: there may be more
    /// to do until it is 0.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn prune_deleted(&self, age: Duration, limit: u32) -> Result<u64, StoreError>;
}

/// What [`TotalsStore::apply`] has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Batches that the totals did not contain before.
    pub new_batches: u64,
    /// Batches that they did, a repetition within the same call included.
    pub duplicates: u64,
    /// The views added.
    pub views: u64,
    /// The views of the new batches that were not added, since their snippets are deleted.
    pub dropped_views: u64,
}

impl Applied {
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn new(batches: usize, new: usize, tally: &Tally<'_>) -> Self {
        Self {
            new_batches: new as u64,
            duplicates: batches.saturating_sub(new) as u64,
            views: tally.views(),
            dropped_views: tally.dropped_views(),
        }
    }
}

/// Why a store did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, is too busy, or is not set up as it must be.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[source] Cause),
    /// It did not finish in time: there may have been too much to do, or it hangs.
    #[error("the store did not finish in time: {0}")]
    TooSlow(#[source] Cause),
    /// Its tables are not there, or not all of them.
    #[error("the schema is missing or old: run `counter-worker migrate`")]
    NotMigrated,
    /// It works, and refuses this very data.
    #[error("the store refuses the data: {0}")]
    Refused(#[source] Cause),
}

impl StoreError {
    /// Whether the same call can succeed later, with nothing changed about its arguments.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

/// A queue that delivers every batch at least once.
#[async_trait]
pub trait BatchQueue: Send + 'static {
    /// Waits until the queue delivers, for as long as that takes; `None` once `stop` is cancelled or no
    /// message can ever come again. `lost` is why the last subscription failed, so that the queue can pace
    /// its attempts.
    async fn subscribe(&mut self, lost: Option<QueueError>, stop: &CancellationToken)
    -> Option<Subscription>;
}

/// Deliveries of a queue, and the way to settle them: two halves, so that some are settled while others arrive.
pub struct Subscription {
    /// Where they come from.
    pub deliveries: Box<dyn Deliveries>,
    /// Where they are settled.
    pub settlement: Arc<dyn Settlement>,
}

/// Deliveries of a queue, in order. What is neither acknowledged nor rejected when they are lost, closed or dropped, is
/// delivered again.
#[async_trait]
pub trait Deliveries: Send {
    /// The next delivery; `None` when no more will come. Safe to drop while waiting.
    ///
    /// # Errors
    /// When the subscription is lost.
    async fn next(&mut self) -> Result<Option<Delivery>, QueueError>;

    /// Ends the subscription in good order.
    async fn close(self: Box<Self>);
}

/// Tells a queue what has become of its deliveries.
#[async_trait]
pub trait Settlement: Send + Sync {
    /// Settles the delivery `tag` and all before it that are still open: their effect is safe. `tag` is open.
    ///
    /// # Errors
    /// When the subscription is lost.
    async fn ack_up_to(&self, tag: u64) -> Result<(), QueueError>;

    /// Settles the delivery `tag` alone, as one that can never be applied: it goes to the dead letters.
    ///
    /// # Errors
    /// When the subscription is lost.
    async fn reject(&self, tag: u64) -> Result<(), QueueError>;
}

/// A message from the queue, not looked into yet.
#[derive(Debug)]
pub struct Delivery {
    /// Names the delivery within its subscription; later ones have higher tags.
    pub tag: u64,
    /// An encoded `views.v1.ViewBatch`, it is hoped.
    pub payload: Bytes,
    /// Whether the queue has delivered it before, to whomever.
    pub redelivered: bool,
    /// The publisher's trace context.
    pub trace: TraceHeaders,
}

/// A subscription that failed: its open deliveries will come again.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct QueueError(#[from] pub Cause);
