//! The cache in memory.

use crate::{contract::cache_holds, sample};
use snippets::{
    adapters::memory_cache::MemorySnippetCache,
    domain::{Body, Snippet},
    ports::{CacheEntry, SnippetCache as _},
};

async fn cache() -> MemorySnippetCache {
    MemorySnippetCache::new(1 << 20)
}

cache_holds!(super::cache);

#[tokio::test]
async fn is_bounded_by_bytes_and_lets_the_oldest_go() {
    let cache = cache().await;
    let body = Body::parse("x".repeat(100_000)).unwrap();
    let snippets: Vec<_> = (0..50).map(|_| Snippet { body: body.clone(), ..sample::snippet() }).collect();
    for snippet in &snippets {
        assert!(cache.put(snippet).await.unwrap());
    }
    cache.settle();
    let mut held = Vec::new();
    for snippet in &snippets {
        held.push(matches!(cache.get(&snippet.metadata.id).await.unwrap(), CacheEntry::Hit(_)));
    }
    assert_eq!(held.iter().filter(|held| **held).count(), 10, "{held:?}");
    assert!(held[40..].iter().all(|held| *held), "{held:?}");
}
