//! What is old enough to be forgotten. Workers that prune side by side skip each other's rows.

use std::time::Duration;

use database::Transaction;
use sqlx::Error as SqlxError;

use super::{apply::column, rollups::DELETE_ROLLUPS};

const PRUNE_BATCHES: &str = "DELETE FROM views.batches WHERE batch_id IN (
    SELECT batch_id FROM views.batches WHERE applied_at < now() - make_interval(secs => $1)
    ORDER BY applied_at LIMIT $2 FOR UPDATE SKIP LOCKED)";
const OLD_DELETED: &str = "SELECT snippet_id FROM views.deleted
    WHERE deleted_at < now() - make_interval(secs => $1)
    ORDER BY deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED";
const DELETE_TOTALS: &str = "DELETE FROM views.totals WHERE snippet_id IN (
    SELECT snippet_id FROM views.totals WHERE snippet_id = ANY($1::text[]) LIMIT $2 FOR UPDATE SKIP LOCKED)";
// Only where nothing is left, be it since others hold it, or since there was too much for one step.
const FORGET_DELETED: &str = "DELETE FROM views.deleted AS deleted WHERE snippet_id = ANY($1::text[])
    AND NOT EXISTS (SELECT FROM views.totals WHERE snippet_id = deleted.snippet_id)
    AND NOT EXISTS (SELECT FROM views.hourly WHERE snippet_id = deleted.snippet_id)
    AND NOT EXISTS (SELECT FROM views.daily WHERE snippet_id = deleted.snippet_id)";

/// Forgets ids of batches.
pub(super) async fn batches(
    transaction: &mut Transaction,
    age: Duration,
    limit: u32,
) -> Result<u64, SqlxError> {
    let query = sqlx::query(PRUNE_BATCHES).bind(age.as_secs_f64()).bind(i64::from(limit));
    transaction.execute(query).await
}

/// Forgets deleted snippets, and deletes whatever is still kept of them.
pub(super) async fn deleted(
    transaction: &mut Transaction,
    age: Duration,
    limit: u32,
) -> Result<u64, SqlxError> {
    let limit = i64::from(limit);
    let old = sqlx::query(OLD_DELETED).bind(age.as_secs_f64()).bind(limit);
    let old: Vec<String> = column(&transaction.fetch_all(old).await?)?;
    if old.is_empty() {
        return Ok(0);
    }
    let mut pruned = 0;
    for delete in DELETE_ROLLUPS.into_iter().chain([DELETE_TOTALS]) {
        pruned += transaction.execute(sqlx::query(delete).bind(&old).bind(limit)).await?;
    }
    Ok(pruned + transaction.execute(sqlx::query(FORGET_DELETED).bind(old)).await?)
}
