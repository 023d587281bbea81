//! Counting views, and telling how many there were.

use super::StoreError;
use crate::domain::{SnippetId, StatsRange, ViewStats};
use async_trait::async_trait;
use bytes::Bytes;
use std::{collections::HashMap, sync::Arc};
use uuid::Uuid;

/// Reads how often snippets were viewed. Another service writes that.
#[async_trait]
pub trait ViewTotals: Send + Sync + 'static {
    /// The views of each snippet that has any; also while nobody has counted yet.
    async fn totals(&self, ids: &[SnippetId]) -> Result<HashMap<SnippetId, u64>, StoreError>;
}

/// Reads when a snippet was viewed. Another service writes that.
#[async_trait]
pub trait ViewHistory: Send + Sync + 'static {
    /// The views in each bucket of the range; zeros while nobody has counted yet.
    async fn stats(&self, id: &SnippetId, range: StatsRange) -> Result<ViewStats, StoreError>;
}

/// Takes note of views.
pub trait ViewSink: Send + Sync + 'static {
    /// Counts one view. Never waits.
    fn record(&self, id: &SnippetId);
}

/// A batch of views on its way to the counter worker.
#[derive(Debug, Clone)]
pub struct PendingBatch {
    /// Stays the same however often the batch is sent: the effect is exactly once.
    pub id: Uuid,
    /// An encoded `views.v1.ViewBatch`.
    pub payload: Bytes,
    /// W3C trace context, as header names and values.
    pub trace: Vec<(String, String)>,
}

/// Why a batch is not known to be safe. It may have arrived all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Nobody took it; it is to be sent again.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// It was turned down for what it is: to send it again is of no use.
    #[error("the batch was refused: {0}")]
    Refused(String),
}

/// Hands batches of views over.
#[async_trait]
pub trait BatchPublisher: Send + Sync + 'static {
    /// Publishes some batches together. Returns, once each is known to be safe or not, what became of each, in their
    /// order. A batch that is refused in a way that may be any of several's fault is told to be refused only when it is
    /// published alone.
    async fn publish(&self, batches: &[PendingBatch]) -> Vec<Result<(), PublishError>>;
}

#[async_trait]
impl<P: BatchPublisher + ?Sized> BatchPublisher for Arc<P> {
    async fn publish(&self, batches: &[PendingBatch]) -> Vec<Result<(), PublishError>> {
        (**self).publish(batches).await
    }
}
