//! Several Redis that belong together, and one that is full.

use anyhow::Context as _;
use stack::{Redis, RedisCluster, RedisOptions, RedisPolicy, RedisSentinel};

#[tokio::test]
async fn a_replica_has_what_its_master_has_and_takes_no_writes() -> anyhow::Result<()> {
    let master = Redis::start(RedisPolicy::Counters).await?;
    master.ask("SET kept 42").await?;
    let replica = Redis::replica_of(&master).await?;
    assert_eq!(replica.ask("GET kept").await?, ["42"]);
    master.ask("INCR kept").await?;
    replica.until_in_sync().await?;
    assert_eq!(replica.ask("GET kept").await?, ["43"]);
    let refused = replica.ask("SET kept 44").await.unwrap_err().to_string();
    assert!(refused.starts_with("READONLY"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_full_redis_refuses_writes_and_keeps_what_it_has() -> anyhow::Result<()> {
    let settings = "maxmemory 8mb\n".to_owned();
    let options = RedisOptions { settings, ..RedisOptions::of(RedisPolicy::Counters) };
    let redis = Redis::start_with(options).await?;
    redis.ask("SET kept 42").await?;
    // The limit is looked at before a command, not while it runs: this one passes it by.
    redis.ask("SETRANGE large 10485760 x").await?;
    let refused = redis.ask("SET more 1").await.unwrap_err().to_string();
    assert!(refused.starts_with("OOM"), "{refused}");
    assert_eq!(redis.ask("GET kept").await?, ["42"]);
    redis.ask("CONFIG SET maxmemory 0").await?;
    redis.ask("SET more 1").await?;
    Ok(())
}

#[tokio::test]
async fn a_cluster_shares_the_slots_and_survives_the_loss_of_a_node() -> anyhow::Result<()> {
    let cluster = RedisCluster::start(3).await?;
    let urls: Vec<String> = cluster.urls().into_iter().map(str::to_owned).collect();
    assert_eq!(urls.len(), 3);

    let [one, two, three] = cluster.nodes() else { panic!("three nodes") };
    let (key, moved) = key_of_another(one).await?;
    let owner = if two.url().contains(&moved) { two } else { three };
    assert!(owner.url().contains(&moved), "sent to {moved}, which is no node");
    owner.ask(&format!("SET {key} 42")).await?;

    owner.kill();
    assert!(owner.ask("PING").await.is_err(), "a killed node answered");
    owner.restart().await?;
    cluster.until_ok().await?;
    assert_eq!(owner.ask(&format!("GET {key}")).await?, ["42"]);

    drop(cluster);
    assert_all_gone(&urls);
    Ok(())
}

/// A key that this node does not have, and the address of the one that does.
async fn key_of_another(node: &Redis) -> anyhow::Result<(String, String)> {
    for number in 0..100 {
        let key = format!("key{number}");
        if let Err(error) = node.ask(&format!("GET {key}")).await {
            let error = error.to_string();
            let moved = error.strip_prefix("MOVED ").with_context(|| error.clone())?;
            return Ok((key, moved.split(' ').nth(1).context("no address")?.to_owned()));
        }
    }
    anyhow::bail!("a node has all keys")
}

#[tokio::test]
async fn sentinels_promote_the_replica() -> anyhow::Result<()> {
    let group = RedisSentinel::start().await?;
    let mut urls: Vec<String> = group.sentinel_urls().into_iter().map(str::to_owned).collect();
    assert_eq!(urls.len(), 3);
    urls.extend([group.master().url().to_owned(), group.replica_url().to_owned()]);
    group.master().ask("SET kept 42").await?;
    group.replica().until_in_sync().await?;
    assert_eq!(group.current_master().await?.url(), group.master().url());
    group.fail_over().await?;
    assert_eq!(group.current_master().await?.url(), group.replica_url());
    assert_eq!(group.replica().ask("INCR kept").await?, ["43"]);

    // It knows what it has become also when it comes back.
    group.replica().restart().await?;
    assert_eq!(group.replica().ask("INCR kept").await?, ["44"]);

    drop(group);
    assert_all_gone(&urls);
    Ok(())
}

fn assert_all_gone(urls: &[String]) {
    for url in urls {
        let addr = url.trim_start_matches("redis://").trim_end_matches('/');
        assert!(std::net::TcpStream::connect(addr).is_err(), "a dropped server listens at {addr}");
    }
}
