//! What is old enough to be forgotten; see the same for Postgres.

use std::time::Duration;

use sqlx::{Error as SqlxError, Sqlite, SqlitePool, Transaction};
use uuid::Uuid;

use super::DELETE_ALL_OF;
use crate::domain::batch_id;

const NOW: &str = "SELECT unixepoch()";
const PRUNE_BATCHES: &str = "DELETE FROM batches WHERE batch_id IN (
    SELECT batch_id FROM batches WHERE batch_id >= ? AND batch_id < ? AND applied_at < ?
    ORDER BY batch_id LIMIT ?)
    RETURNING batch_id";
const PRUNE_OTHERS: &str = "DELETE FROM batches WHERE batch_id IN (
    SELECT batch_id FROM batches
    WHERE batch_id >= ? AND substr(hex(batch_id), 13, 1) <> '7' AND applied_at < ?
    ORDER BY batch_id LIMIT ?)";
const REMEMBER: &str = "UPDATE pruned SET batches_to = ?1 WHERE batches_to IS NULL OR batches_to < ?1";
const PRUNE_HOURLY: &str = "DELETE FROM hourly WHERE (snippet_id, start_time) IN (
    SELECT snippet_id, start_time FROM hourly WHERE start_time < unixepoch() - ?
    ORDER BY start_time LIMIT ?)";
const OLD_DELETED: &str = "SELECT snippet_id FROM deleted WHERE deleted_at < unixepoch() - ?
    ORDER BY deleted_at LIMIT ?";
const FORGET_DELETED: &str = "DELETE FROM deleted WHERE snippet_id = ?";
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Forgets ids of batches, and remembers how far.
pub(super) async fn batches(
    transaction: &mut Transaction<'_, Sqlite>,
    age: Duration,
    limit: u32,
    from: &mut Uuid,
) -> Result<u64, SqlxError> {
    let now: i64 = sqlx::query_scalar(NOW).fetch_one(&mut **transaction).await?;
    let before = now.saturating_sub(seconds(age));
    let to = batch_id::least_at(before.saturating_mul(1000));
    let old = sqlx::query_scalar(PRUNE_BATCHES).bind(*from).bind(to).bind(before).bind(limit);
    let old: Vec<Uuid> = old.fetch_all(&mut **transaction).await?;
    if let Some(to) = batch_id::forgotten_to(&old) {
        sqlx::query(REMEMBER).bind(to).execute(&mut **transaction).await?;
    }
    *from = old.iter().copied().max().unwrap_or(*from);
    let future = batch_id::least_at(now.saturating_add(DAY_SECONDS).saturating_mul(1000));
    let left = i64::from(limit).saturating_sub_unsigned(old.len() as u64);
    let others = sqlx::query(PRUNE_OTHERS).bind(future).bind(before).bind(left);
    Ok(others.execute(&mut **transaction).await?.rows_affected() + old.len() as u64)
}

/// Deletes old hours.
pub(super) async fn hourly(pool: &SqlitePool, age: Duration, limit: u32) -> Result<u64, SqlxError> {
    let query = sqlx::query(PRUNE_HOURLY).bind(seconds(age)).bind(limit).execute(pool);
    Ok(query.await?.rows_affected())
}

/// Forgets deleted snippets, and deletes whatever is still kept of them.
pub(super) async fn deleted(
    transaction: &mut Transaction<'_, Sqlite>,
    age: Duration,
    limit: u32,
) -> Result<u64, SqlxError> {
    let old = sqlx::query_scalar(OLD_DELETED).bind(seconds(age)).bind(limit);
    let old: Vec<String> = old.fetch_all(&mut **transaction).await?;
    let mut rows = 0;
    for id in old {
        for delete in DELETE_ALL_OF.into_iter().chain([FORGET_DELETED]) {
            rows += sqlx::query(delete).bind(&id).execute(&mut **transaction).await?.rows_affected();
        }
    }
    Ok(rows)
}

fn seconds(age: Duration) -> i64 {
    i64::try_from(age.as_secs()).unwrap_or(i64::MAX)
}
