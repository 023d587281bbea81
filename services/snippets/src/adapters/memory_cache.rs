//! Copies of snippets in the memory of this process.

use super::lifetime;
use crate::{
    domain::{Snippet, SnippetId, Version},
    lasting::{Lasting, OwnLifetime},
    ports::{CacheEntry, CacheError, SnippetCache},
};
use async_trait::async_trait;
use moka::{
    ops::compute::{CompResult, Op},
    policy::EvictionPolicy,
    sync::Cache,
};
use std::time::Duration;

/// What an entry takes beside its texts, roughly: the entry, its key, and the cache's own book-keeping.
const ENTRY_BYTES: usize = 512;

/// A cache bounded by bytes, of which the least recently used entries go first. As exact as the one in Redis,
/// for a service of one replica.
#[derive(Debug, Clone)]
pub struct MemorySnippetCache(Cache<SnippetId, Entry>);

#[derive(Debug, Clone)]
struct Entry {
    version: Version,
    /// `None` in a tombstone.
    copy: Option<Snippet>,
    lifetime: Duration,
}

impl MemorySnippetCache {
    /// Holds up to about `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(bytes_max)
            .weigher(|_, entry: &Entry| entry.weight())
            .expire_after(OwnLifetime)
            // The default policy may refuse a new entry for the sake of old ones, and a tombstone must never be.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self(cache)
    }

    /// Lets go at once of what is beyond the bound, rather than with the next writes.
    pub fn settle(&self) {
        self.0.run_pending_tasks();
    }

    /// Puts the entry unless `keeps` the one that is there, in one step; whether it was put.
    fn replace_unless(&self, id: &SnippetId, entry: Entry, keeps: impl FnOnce(&Entry) -> bool) -> bool {
        let result = self.0.entry_by_ref(id).and_compute_with(|there| match there {
            Some(there) if keeps(there.value()) => Op::Nop,
            _ => Op::Put(entry),
        });
        !matches!(result, CompResult::Unchanged(_))
    }
}

#[async_trait]
impl SnippetCache for MemorySnippetCache {
    async fn get(&self, id: &SnippetId) -> Result<CacheEntry, CacheError> {
        Ok(match self.0.get(id) {
            None => CacheEntry::Miss,
            Some(Entry { copy: None, .. }) => CacheEntry::Tombstone,
            Some(Entry { copy: Some(snippet), .. }) => CacheEntry::Hit(Box::new(snippet)),
        })
    }

    async fn put(&self, snippet: &Snippet) -> Result<bool, CacheError> {
        let version = snippet.metadata.version;
        let entry = Entry { version, copy: Some(snippet.clone()), lifetime: lifetime::of_copy() };
        Ok(self.replace_unless(&snippet.metadata.id, entry, |there| there.version > version))
    }

    async fn invalidate(&self, id: &SnippetId, version: Version) -> Result<(), CacheError> {
        let tombstone = Entry { version, copy: None, lifetime: lifetime::OF_TOMBSTONE };
        self.replace_unless(id, tombstone, |there| there.version >= version);
        Ok(())
    }
}

impl Entry {
    fn weight(&self) -> u32 {
        let texts = self.copy.as_ref().map_or(0, Snippet::text_bytes);
        u32::try_from(ENTRY_BYTES + texts).unwrap_or(u32::MAX)
    }
}

impl Lasting for Entry {
    fn lifetime(&self) -> Duration {
        self.lifetime
    }
}
