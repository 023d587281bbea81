//! What tests take from the shared servers is theirs alone.

mod amqp;

use std::collections::HashSet;

use stack::{Backends, shared};
use tokio::task::JoinSet;

const SIDE_BY_SIDE: usize = 12;

#[tokio::test]
async fn backends_made_side_by_side_are_apart_and_answer() -> anyhow::Result<()> {
    let mut making = JoinSet::new();
    for _ in 0..SIDE_BY_SIDE {
        making.spawn(Backends::fresh(shared()));
    }
    let made = making.join_all().await;

    let urls: HashSet<&String> = made
        .iter()
        .flat_map(|it| [&it.database_url, &it.cache_redis_url, &it.counters_redis_url, &it.amqp_url])
        .collect();
    assert_eq!(urls.len(), 4 * SIDE_BY_SIDE, "{urls:?}");
    for backends in &made {
        amqp::open(&backends.amqp_url).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_database_is_fresh_and_empty() -> anyhow::Result<()> {
    let database = shared().database().await;
    let tables =
        "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    assert_eq!(database.execute(tables).await?, "0");
    Ok(())
}
