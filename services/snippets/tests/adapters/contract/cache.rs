use crate::sample::{at_version, snippet, visible};
use futures_util::future::join_all;
use snippets::{
    domain::{Snippet, SnippetId, Version, Visibility},
    ports::{CacheEntry, SnippetCache},
};

async fn get(cache: &impl SnippetCache, id: &SnippetId) -> CacheEntry {
    cache.get(id).await.unwrap()
}

fn hit(snippet: &Snippet) -> CacheEntry {
    CacheEntry::Hit(Box::new(snippet.clone()))
}

pub async fn returns_what_was_put(cache: &impl SnippetCache) {
    for visibility in [Visibility::Public, Visibility::Unlisted] {
        let snippet = visible(visibility);
        assert_eq!(get(cache, &snippet.metadata.id).await, CacheEntry::Miss);
        assert!(cache.put(&snippet).await.unwrap());
        assert_eq!(get(cache, &snippet.metadata.id).await, hit(&snippet));
    }
}

pub async fn keeps_snippets_apart(cache: &impl SnippetCache) {
    let (one, two) = (snippet(), snippet());
    cache.put(&one).await.unwrap();
    cache.put(&two).await.unwrap();
    cache.invalidate(&one.metadata.id, Version::new(2)).await.unwrap();
    assert_eq!(get(cache, &one.metadata.id).await, CacheEntry::Tombstone);
    assert_eq!(get(cache, &two.metadata.id).await, hit(&two));
}

pub async fn a_newer_copy_replaces_an_older_one_and_not_the_reverse(cache: &impl SnippetCache) {
    let first = snippet();
    // More than one digit, so that versions compared as text would fail.
    let (ninth, tenth) = (at_version(&first, 9), at_version(&first, 10));
    assert!(cache.put(&ninth).await.unwrap());
    assert!(cache.put(&ninth).await.unwrap());
    assert!(cache.put(&tenth).await.unwrap());
    assert!(!cache.put(&ninth).await.unwrap());
    assert_eq!(get(cache, &first.metadata.id).await, hit(&tenth));
}

pub async fn a_tombstone_replaces_older_copies_and_refuses_them(cache: &impl SnippetCache) {
    let first = snippet();
    let second = at_version(&first, 2);
    cache.put(&first).await.unwrap();
    cache.invalidate(&first.metadata.id, second.metadata.version).await.unwrap();
    assert_eq!(get(cache, &first.metadata.id).await, CacheEntry::Tombstone);
    assert!(!cache.put(&first).await.unwrap());
    assert_eq!(get(cache, &first.metadata.id).await, CacheEntry::Tombstone);
    // What the tombstone stands for may come.
    assert!(cache.put(&second).await.unwrap());
    assert_eq!(get(cache, &first.metadata.id).await, hit(&second));
}

pub async fn a_tombstone_of_the_past_changes_nothing(cache: &impl SnippetCache) {
    let third = at_version(&snippet(), 3);
    cache.put(&third).await.unwrap();
    for version in [1, 2, 3] {
        cache.invalidate(&third.metadata.id, Version::new(version)).await.unwrap();
        assert_eq!(get(cache, &third.metadata.id).await, hit(&third));
    }
    // Nor does an older tombstone replace a newer one.
    cache.invalidate(&third.metadata.id, Version::new(5)).await.unwrap();
    cache.invalidate(&third.metadata.id, Version::new(4)).await.unwrap();
    assert!(!cache.put(&at_version(&third, 4)).await.unwrap());
}

pub async fn nothing_fills_the_place_of_what_was_deleted(cache: &impl SnippetCache) {
    let last = at_version(&snippet(), 7);
    cache.invalidate(&last.metadata.id, last.metadata.version.next()).await.unwrap();
    assert!(!cache.put(&last).await.unwrap());
    cache.invalidate(&last.metadata.id, Version::MAX).await.unwrap();
    assert!(!cache.put(&at_version(&last, 1_000_000)).await.unwrap());
    assert_eq!(get(cache, &last.metadata.id).await, CacheEntry::Tombstone);
}

pub async fn of_concurrent_puts_and_invalidations_the_newest_stays(cache: &impl SnippetCache) {
    let first = snippet();
    let newest = at_version(&first, 30);
    let puts = (1..=30).rev().map(|version| {
        let copy = at_version(&first, version);
        async move { cache.put(&copy).await.map(drop) }
    });
    let invalidations = (1..=30).map(|version| cache.invalidate(&first.metadata.id, Version::new(version)));
    let (puts, invalidations) = tokio::join!(join_all(puts), join_all(invalidations));
    assert!(puts.into_iter().chain(invalidations).all(|result| result.is_ok()));
    // Whichever of the last two came last: the copy is there, or may be put.
    if get(cache, &first.metadata.id).await == CacheEntry::Tombstone {
        assert!(cache.put(&newest).await.unwrap());
    }
    assert_eq!(get(cache, &first.metadata.id).await, hit(&newest));
}
