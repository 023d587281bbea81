//! Copies that replicas share.

use super::Cause;
use crate::domain::{Snippet, SnippetId, Version};
use async_trait::async_trait;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What a cache knows about an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheEntry {
    /// The snippet.
    Hit(Box<Snippet>),
    /// It was changed a moment ago; ask the store.
    Tombstone,
    /// Nothing.
    Miss,
}

/// Why a cache could not answer.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It can't be reached, or not in time.
    #[error("the cache is unavailable: {0}")]
    Unavailable(#[source] Cause),
    /// What it holds can't be read.
    #[error("the cache holds something unreadable: {0}")]
    Corrupt(#[source] Cause),
}

/// Holds copies of snippets under versions, so that a slow reader can't bring an old body back.
#[async_trait]
pub trait SnippetCache: Send + Sync + 'static {
    /// What is known about the id.
    async fn get(&self, id: &SnippetId) -> Result<CacheEntry, CacheError>;

    /// Stores a copy and returns true, unless a copy or a tombstone of a newer version is there.
    async fn put(&self, snippet: &Snippet) -> Result<bool, CacheError>;

    /// Replaces what is older than `version` by a tombstone, which refuses older copies for a minute.
    async fn invalidate(&self, id: &SnippetId, version: Version) -> Result<(), CacheError>;

    /// Calls `listener` with each snippet that any replica has invalidated, until `stop` is cancelled. It may miss some. A
    /// cache that no other process shares has nothing to tell.
    async fn follow(&self, listener: Arc<dyn Fn(SnippetId) + Send + Sync>, stop: CancellationToken) {
        let _ = listener;
        stop.cancelled().await;
    }
}
