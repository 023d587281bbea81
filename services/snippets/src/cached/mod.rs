//! Cache-aside: a store that answers from a cache where it can.

mod many;
mod pending;
mod relay;

use crate::{
    domain::{Snippet, SnippetId, SnippetPatch, Version},
    ports::{
        CacheEntry, CacheError, ChangeError, CreateRequest, Found, InsertError, Inserted, SnippetCache,
        SnippetStore, StoreError,
    },
};
use async_trait::async_trait;
use chassis::LogGate;
use chrono::{DateTime, Utc};
use pending::{Due, Pending, Write};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// A copy that was read from the store longer ago is not put into the cache: the tombstone that would refuse it,
/// had it been outdated, is kept for twice as long.
const FILL_AGE_MAX: Duration = Duration::from_secs(30);
/// How often invalidations that failed are tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// How many are tried in a row.
const RETRY_BATCH: usize = 100;
/// How long the last try takes at most.
const LAST_TRY_TIMEOUT: Duration = Duration::from_secs(1);

/// A [`SnippetStore`] in front of another. Public and unlisted snippets without a limit of views are cached; every write is followed by a
/// versioned invalidation, so that the next read through any replica sees it.
///
/// An invalidation that fails is kept and tried again until it succeeds, by [`run`](Self::run); until then
/// this replica leaves the cache alone for that snippet. The cache being away costs speed, never an answer.
#[derive(Debug)]
pub struct CachedSnippets<S, C> {
    store: S,
    cache: C,
    pending: Arc<Pending>,
}

impl<S: SnippetStore, C: SnippetCache> CachedSnippets<S, C> {
    /// Puts `cache` in front of `store`.
    pub fn new(store: S, cache: C) -> Self {
        Self { store, cache, pending: Arc::default() }
    }

    /// Makes up for invalidations that failed, until stopped; then once more.
    pub async fn run(&self, stop: CancellationToken) {
        let mut ticks = interval(RETRY_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.retry().await;
        }
        if timeout(LAST_TRY_TIMEOUT, self.retry()).await.is_err() || self.pending.len() > 0 {
            tracing::warn!(
                pending = self.pending.len(),
                "stale copies may stay in the cache until they expire"
            );
        }
    }

    /// As [`SnippetCache::follow`].
    pub async fn follow(&self, listener: Arc<dyn Fn(SnippetId) + Send + Sync>, stop: CancellationToken) {
        self.cache.follow(listener, stop).await;
    }

    async fn retry(&self) {
        for (id, due) in self.pending.due(RETRY_BATCH) {
            if let Err(error) = self.settle(&id, due).await {
                tracing::debug!(%id, %error, "invalidation failed again");
                return;
            }
            self.pending.settled(&id, due);
        }
    }

    async fn settle(&self, id: &SnippetId, due: Due) -> anyhow::Result<()> {
        let version = match due {
            Due::Invalidate(version) => version,
            // An id is never used again: no copy of a snippet that is gone may stay.
            Due::LookUp(_) => {
                self.store.get(id).await?.map_or(Version::MAX, |snippet| snippet.metadata.version)
            }
        };
        Ok(self.cache.invalidate(id, version).await?)
    }

    /// The cached copy, and whether the cache is to be filled if there is none.
    async fn look_up(&self, id: &SnippetId) -> (Option<Snippet>, bool) {
        if self.pending.bypasses(id) {
            count("bypass");
            return (None, false);
        }
        match self.cache.get(id).await {
            Ok(CacheEntry::Hit(snippet)) => {
                count("hit");
                (Some(*snippet), false)
            }
            Ok(CacheEntry::Tombstone) => {
                count("tombstone");
                (None, true)
            }
            Ok(CacheEntry::Miss) => {
                count("miss");
                (None, true)
            }
            Err(error) => {
                count("error");
                tracing::debug!(%error, "cache look-up failed");
                (None, false)
            }
        }
    }

    async fn fill(&self, snippet: &Snippet, read_at: Instant) {
        if !snippet.metadata.may_be_cached()
            || read_at.elapsed() > FILL_AGE_MAX
            || self.pending.bypasses(&snippet.metadata.id)
        {
            return;
        }
        match self.cache.put(snippet).await {
            Ok(true) => metrics::counter!("snippets_cache_fills_total", "outcome" => "stored").increment(1),
            Ok(false) => metrics::counter!("snippets_cache_fills_total", "outcome" => "refused").increment(1),
            Err(error) => {
                metrics::counter!("snippets_cache_fills_total", "outcome" => "error").increment(1);
                tracing::debug!(%error, "cache fill failed");
            }
        }
    }

    /// Lets no copy older than `version` be read any more. The write is done, so this never fails.
    async fn invalidate(&self, mut write: Write, id: &SnippetId, version: Version) {
        write.committed(version);
        match self.cache.invalidate(id, version).await {
            Ok(()) => write.settled(),
            Err(error) => invalidation_failed(id, &error),
        }
    }
}

#[async_trait]
impl<S: SnippetStore, C: SnippetCache> SnippetStore for CachedSnippets<S, C> {
    async fn insert(
        &self,
        snippet: &Snippet,
        request: Option<&CreateRequest>,
    ) -> Result<Inserted, InsertError> {
        self.store.insert(snippet, request).await
    }

    async fn get(&self, id: &SnippetId) -> Result<Option<Snippet>, StoreError> {
        let (cached, fill) = self.look_up(id).await;
        if cached.is_some() {
            return Ok(cached);
        }
        let read_at = Instant::now();
        let found = self.store.get(id).await?;
        if let Some(snippet) = found.as_ref().filter(|_| fill) {
            self.fill(snippet, read_at).await;
        }
        Ok(found)
    }

    async fn get_many(&self, ids: &[SnippetId], body_bytes_max: usize) -> Result<Vec<Found>, StoreError> {
        self.find_many(ids, body_bytes_max).await
    }

    async fn update(
        &self,
        id: &SnippetId,
        patch: &SnippetPatch,
        expected: Option<Version>,
        now: DateTime<Utc>,
    ) -> Result<Snippet, ChangeError> {
        let write = Pending::begin(&self.pending, *id);
        match self.store.update(id, patch, expected, now).await {
            Ok(snippet) => {
                self.invalidate(write, id, snippet.metadata.version).await;
                Ok(snippet)
            }
            Err(error) => Err(failed(write, error)),
        }
    }

    async fn delete(&self, id: &SnippetId, expected: Option<Version>) -> Result<Version, ChangeError> {
        let write = Pending::begin(&self.pending, *id);
        match self.store.delete(id, expected).await {
            Ok(version) => {
                // The tombstone of the version after the last refuses the last one too.
                self.invalidate(write, id, version.next()).await;
                Ok(version)
            }
            Err(error) => Err(failed(write, error)),
        }
    }

    async fn claim_view(&self, id: &SnippetId, version: Version) -> Result<bool, StoreError> {
        self.store.claim_view(id, version).await
    }
}

/// Forgets a write that was certainly not applied. Any other stays unsettled.
fn failed(write: Write, error: ChangeError) -> ChangeError {
    match &error {
        ChangeError::NotFound
        | ChangeError::VersionMismatch
        | ChangeError::Store(StoreError::Unavailable(_)) => {
            write.settled();
        }
        ChangeError::Store(StoreError::Indeterminate(_) | StoreError::Internal(_)) => {}
    }
    error
}

fn invalidation_failed(id: &SnippetId, error: &CacheError) {
    static WARNINGS: LogGate = LogGate::new();
    metrics::counter!("snippets_cache_invalidation_failures_total").increment(1);
    if let Some(held_back) = WARNINGS.pass() {
        tracing::warn!(%id, %error, held_back, "invalidation failed and will be tried again");
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("snippets_cache_requests_total", "outcome" => outcome).increment(1);
}
