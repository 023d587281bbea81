//! What is old enough to be forgotten.
//!
//! Workers that prune side by side skip each other's rows. The rows that were picked are deleted by their places: by their
//! keys, Postgres would rather read a whole table of a million rows for five thousand of them.

use std::time::Duration;

use database::Transaction;
use sqlx::Error as SqlxError;
use uuid::Uuid;

use super::{apply::column, rollups::DELETE_ROLLUPS};
use crate::domain::batch_id;

const NOW_MS: &str = "SELECT floor(extract(epoch FROM now()) * 1000)::bigint";
const PRUNE_BATCHES: &str = "DELETE FROM views.batches WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM views.batches
    WHERE batch_id >= $1 AND batch_id < $2 AND applied_at < now() - make_interval(secs => $3)
    ORDER BY batch_id LIMIT $4 FOR UPDATE SKIP LOCKED))
    RETURNING batch_id";
const PRUNE_OTHERS: &str = "DELETE FROM views.batches WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM views.batches
    WHERE batch_id >= $1 AND substr(batch_id::text, 15, 1) <> '7'
        AND applied_at < now() - make_interval(secs => $2)
    ORDER BY batch_id LIMIT $3 FOR UPDATE SKIP LOCKED))";
const REMEMBER: &str = "UPDATE views.pruned SET batches_to = $1 WHERE batches_to IS NULL OR batches_to < $1";
const PRUNE_HOURLY: &str = "DELETE FROM views.hourly_by_stripe WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM views.hourly_by_stripe WHERE start_time < now() - make_interval(secs => $1)
    ORDER BY start_time LIMIT $2 FOR UPDATE SKIP LOCKED))";
const OLD_DELETED: &str = "SELECT snippet_id FROM views.deleted
    WHERE deleted_at < now() - make_interval(secs => $1)
    ORDER BY deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED";
const DELETE_TOTALS: &str = "DELETE FROM views.totals_by_stripe WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM views.totals_by_stripe WHERE snippet_id = ANY($1::text[]) LIMIT $2 FOR UPDATE SKIP LOCKED))";
// Only where nothing is left, be it since others hold it, or since there was too much for one step.
const FORGET_DELETED: &str = "DELETE FROM views.deleted AS deleted WHERE snippet_id = ANY($1::text[])
    AND NOT EXISTS (SELECT FROM views.totals_by_stripe WHERE snippet_id = deleted.snippet_id)
    AND NOT EXISTS (SELECT FROM views.hourly_by_stripe WHERE snippet_id = deleted.snippet_id)
    AND NOT EXISTS (SELECT FROM views.daily_by_stripe WHERE snippet_id = deleted.snippet_id)";

/// Ids of a day from now on are those of publishers whose clocks are wrong, or say nothing of a time.
const AHEAD_MS: i64 = 24 * 60 * 60 * 1000;

/// Forgets ids of batches, and remembers how far.
///
/// Ids begin with their time, so the old ones are the first of the primary key, and each step goes on where the one before
/// has stopped. Ids of other kinds lie anywhere. Among the old ones they go along, in the week before now they will once that
/// is over, and behind it, where there is nothing as a rule, they are looked for. An id whose time is still to come stays.
pub(super) async fn batches(
    transaction: &mut Transaction,
    age: Duration,
    limit: u32,
    from: &mut Uuid,
) -> Result<u64, SqlxError> {
    let now_ms = column(&transaction.fetch_all(sqlx::query(NOW_MS)).await?)?;
    let now_ms: i64 = now_ms.first().copied().ok_or(SqlxError::RowNotFound)?;
    let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    let to = batch_id::least_at(now_ms.saturating_sub(age_ms));
    let old = sqlx::query(PRUNE_BATCHES).bind(*from).bind(to).bind(age.as_secs_f64()).bind(i64::from(limit));
    let old: Vec<Uuid> = column(&transaction.fetch_all(old).await?)?;
    if let Some(to) = batch_id::forgotten_to(&old) {
        transaction.execute(sqlx::query(REMEMBER).bind(to)).await?;
    }
    *from = old.iter().copied().max().unwrap_or(*from);
    let future = batch_id::least_at(now_ms.saturating_add(AHEAD_MS));
    let left = i64::from(limit).saturating_sub_unsigned(old.len() as u64);
    let others = sqlx::query(PRUNE_OTHERS).bind(future).bind(age.as_secs_f64()).bind(left);
    Ok(transaction.execute(others).await? + old.len() as u64)
}

/// Deletes old hours.
pub(super) async fn hourly(
    transaction: &mut Transaction,
    age: Duration,
    limit: u32,
) -> Result<u64, SqlxError> {
    transaction.execute(sqlx::query(PRUNE_HOURLY).bind(age.as_secs_f64()).bind(i64::from(limit))).await
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
