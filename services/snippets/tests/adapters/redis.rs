//! The cache in Redis.

use crate::{contract::cache_holds, sample};
use snippets::{
    adapters::redis_cache::{Options, RedisSnippetCache},
    domain::{Snippet, SnippetId, Version},
    ports::{CacheEntry, CacheError, SnippetCache as _},
};
use std::time::{Duration, Instant};

fn options(url: &str) -> Options {
    // Patient, so that a busy machine does not look like a broken cache.
    let command_timeout = Duration::from_secs(2);
    Options { key_prefix: stack::unique("snippets"), command_timeout, ..Options::new(url.into()) }
}

async fn cache() -> RedisSnippetCache {
    RedisSnippetCache::new(&options(stack::shared().cache_redis_url())).unwrap()
}

cache_holds!(super::cache);

#[tokio::test]
async fn copies_live_for_minutes_and_tombstones_for_one() {
    let options = options(stack::shared().cache_redis_url());
    let cache = RedisSnippetCache::new(&options).unwrap();
    let snippet = sample::snippet();
    let key = format!("{}:{}", options.key_prefix, snippet.metadata.id);
    let client = redis::Client::open(stack::shared().cache_redis_url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();

    cache.put(&snippet).await.unwrap();
    let seconds: u64 = redis::cmd("TTL").arg(&key).query_async(&mut connection).await.unwrap();
    assert!((295..=331).contains(&seconds), "{seconds}");
    cache.invalidate(&snippet.metadata.id, Version::new(2)).await.unwrap();
    let seconds: u64 = redis::cmd("TTL").arg(&key).query_async(&mut connection).await.unwrap();
    assert!((55..=60).contains(&seconds), "{seconds}");

    // What somebody else wrote there is no entry, and never mistaken for one.
    () = redis::cmd("SET")
        .arg(&key)
        .arg("something else altogether")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(matches!(cache.get(&snippet.metadata.id).await, Err(CacheError::Corrupt(_))));
    assert!(cache.put(&snippet).await.unwrap());
}

#[tokio::test]
async fn starts_with_redis_away_and_recovers_from_restarts() {
    let server = stack::Redis::start(stack::RedisPolicy::Cache).await.unwrap();
    server.kill();
    let cache = RedisSnippetCache::new(&options(server.url())).unwrap();
    let snippet = sample::snippet();
    let began = Instant::now();
    assert!(matches!(cache.get(&snippet.metadata.id).await, Err(CacheError::Unavailable(_))));
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());

    // The scripts are gone with the first server, too.
    for _ in 0..2 {
        server.restart().await.unwrap();
        let put = async || Ok(cache.put(&snippet).await?);
        assert!(stack::eventually(Duration::from_secs(10), put).await.unwrap());
        assert!(matches!(cache.get(&snippet.metadata.id).await, Ok(CacheEntry::Hit(_))));
        server.kill();
        assert!(cache.get(&snippet.metadata.id).await.is_err());
    }
}

#[tokio::test]
async fn a_redis_that_hangs_costs_little_and_is_used_again_once_it_answers() {
    let server = stack::Redis::start(stack::RedisPolicy::Cache).await.unwrap();
    let options = Options { command_timeout: Duration::from_millis(200), ..options(server.url()) };
    let cache = RedisSnippetCache::new(&options).unwrap();
    stack::eventually(Duration::from_secs(10), async || Ok(cache.check().await?)).await.unwrap();

    server.pause();
    let began = Instant::now();
    for _ in 0..100 {
        assert!(matches!(cache.get(&SnippetId::generate()).await, Err(CacheError::Unavailable(_))));
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    server.resume();
    stack::eventually(Duration::from_secs(10), async || Ok(cache.check().await?)).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_fell_silent_is_thrown_away() {
    let server = stack::Redis::start(stack::RedisPolicy::Cache).await.unwrap();
    let (proxy, url) = stack::Proxy::before_url(server.url()).await.unwrap();
    let cache = RedisSnippetCache::new(&options(&url)).unwrap();
    stack::eventually(Duration::from_secs(10), async || Ok(cache.check().await?)).await.unwrap();

    proxy.black_hole();
    assert!(cache.check().await.is_err());
    proxy.restore().await.unwrap();
    stack::eventually(Duration::from_secs(10), async || Ok(cache.check().await?)).await.unwrap();
}

/// Another replica may owe an invalidation, which this one can't know of.
#[tokio::test]
async fn copies_from_before_an_outage_are_not_believed_after_it() {
    let server = stack::Redis::start(stack::RedisPolicy::Cache).await.unwrap();
    let (proxy, url) = stack::Proxy::before_url(server.url()).await.unwrap();
    let options = Options { command_timeout: Duration::from_millis(200), ..options(&url) };
    let cache = RedisSnippetCache::new(&options).unwrap();
    let [here, elsewhere] = [sample::snippet(), sample::snippet()];
    let is_there = async |snippet: &Snippet| Ok(cache.get(&snippet.metadata.id).await?) as anyhow::Result<_>;
    for away in ["cut off", "silent"] {
        let put = async || {
            let _ = (cache.put(&here).await?, cache.put(&elsewhere).await?);
            let entries = (is_there(&here).await?, is_there(&elsewhere).await?);
            anyhow::ensure!(matches!(entries, (CacheEntry::Hit(_), CacheEntry::Hit(_))), "{entries:?}");
            Ok(())
        };
        stack::eventually(Duration::from_secs(10), put).await.unwrap();
        if away == "silent" {
            proxy.black_hole();
        } else {
            proxy.cut().await;
        }
        let began = Instant::now();
        let long = async || cache.check().await.is_err() && began.elapsed() > Duration::from_millis(1500);
        stack::until("it is away for long", Duration::from_secs(10), long).await.unwrap();
        proxy.restore().await.unwrap();
        let back = async || is_there(&here).await;
        let entry = stack::eventually(Duration::from_secs(10), back).await.unwrap();
        assert_eq!(entry, CacheEntry::Miss, "{away}");
        assert_eq!(is_there(&elsewhere).await.unwrap(), CacheEntry::Miss, "{away}");
    }
}
