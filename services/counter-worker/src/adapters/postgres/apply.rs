//! One flush, in one transaction.
//!
//! Workers never wait for each other in a circle: a transaction takes its stripes first, in their order, then the ids of its
//! batches in theirs. Of what it writes then nobody else has anything but the pruner, which waits for no flush.

use std::collections::HashSet;

use database::Transaction;
use sqlx::{Decode, Error as SqlxError, Postgres, Row as _, Type, postgres::PgRow};
use uuid::Uuid;

use super::{
    classify,
    rollups::{self, DELETE_ROLLUPS},
    stripes,
};
use crate::{
    domain::{Batch, Tally, batch_id},
    ports::{Applied, StoreError},
};

const INSERT_BATCHES: &str = "INSERT INTO views.batches (batch_id)
    SELECT id FROM unnest($1::uuid[]) AS id ORDER BY id
    ON CONFLICT DO NOTHING RETURNING batch_id";
const CLOCK: &str = "SELECT floor(extract(epoch FROM now()))::bigint, (SELECT batches_to FROM views.pruned)";
// A deletion that is told again is remembered from now on.
const INSERT_DELETED: &str = "INSERT INTO views.deleted (snippet_id)
    SELECT id FROM unnest($1::text[]) AS id ORDER BY id COLLATE \"C\"
    ON CONFLICT (snippet_id) DO UPDATE SET deleted_at = excluded.deleted_at";
// A total that would overflow stops, or its snippet could never be counted again.
const UPSERT_TOTALS: &str = "INSERT INTO views.totals_by_stripe AS total (stripe, snippet_id, views)
    SELECT $1, snippet_id, views FROM unnest($2::text[], $3::bigint[]) AS new (snippet_id, views)
    ORDER BY snippet_id COLLATE \"C\"
    ON CONFLICT (snippet_id, stripe) DO UPDATE SET
        views = CASE WHEN total.views > 9223372036854775807 - excluded.views THEN 9223372036854775807
                     ELSE total.views + excluded.views END,
        updated_at = excluded.updated_at";
const FIND_DELETED: &str = "SELECT snippet_id FROM views.deleted WHERE snippet_id = ANY($1::text[])";
const DELETE_TOTALS: &str = "DELETE FROM views.totals_by_stripe WHERE snippet_id = ANY($1::text[])";
/// The most rows of a roll-up that are deleted together with a flush, which must stay within its deadline. What is beyond is
/// deleted before the deletion is forgotten.
const DELETED_ROWS_MAX: u32 = 20_000;

/// Does all of a flush but the commit.
pub(super) async fn apply(transaction: &mut Transaction, batches: &[Batch]) -> Result<Applied, StoreError> {
    let stripe = if batches.iter().any(Batch::deletes) {
        stripes::take_all(transaction).await
    } else {
        stripes::take_one(transaction).await
    };
    let stripe = stripe.map_err(classify)?;
    let new = insert_batches(transaction, batches).await.map_err(classify)?;
    // In this order: an id that is being forgotten keeps our insert waiting, and goes in only when it is forgotten; then, each
    // statement seeing what was committed before it, we see here how far ids are forgotten. The other way around one could be
    // forgotten after we have looked and before we insert it, and would count again.
    let clock = clock(transaction).await.map_err(classify)?;
    let is_new = batch_id::check_new(&new, clock.forgotten_to);
    is_new.map_err(|forgotten| StoreError::Refused(Box::new(forgotten)))?;
    let mut tally = Tally::of(batches, &new, clock.now);
    add(transaction, stripe, &mut tally).await.map_err(classify)?;
    Ok(Applied::new(batches.len(), new.len(), &tally))
}

async fn insert_batches(
    transaction: &mut Transaction,
    batches: &[Batch],
) -> Result<HashSet<Uuid>, SqlxError> {
    let ids: Vec<Uuid> = batches.iter().map(Batch::id).collect();
    let inserted = transaction.fetch_all(sqlx::query(INSERT_BATCHES).bind(ids)).await?;
    Ok(column(&inserted)?.into_iter().collect())
}

struct Clock {
    /// The database's, in seconds since 1970.
    now: i64,
    /// Ids up to this one are forgotten.
    forgotten_to: Option<Uuid>,
}

async fn clock(transaction: &mut Transaction) -> Result<Clock, SqlxError> {
    let rows = transaction.fetch_all(sqlx::query(CLOCK)).await?;
    let row = rows.first().ok_or(SqlxError::RowNotFound)?;
    Ok(Clock { now: row.try_get(0)?, forgotten_to: row.try_get(1)? })
}

async fn add(transaction: &mut Transaction, stripe: i16, tally: &mut Tally<'_>) -> Result<(), SqlxError> {
    delete(transaction, &tally.deleted()).await?;
    drop_deleted(transaction, tally).await?;
    let (snippets, views): (Vec<&str>, Vec<i64>) = tally.totals().into_iter().unzip();
    if !snippets.is_empty() {
        transaction.execute(sqlx::query(UPSERT_TOTALS).bind(stripe).bind(snippets).bind(views)).await?;
        rollups::add(transaction, stripe, tally).await?;
    }
    Ok(())
}

/// Remembers that these snippets are deleted, and deletes what is kept of them.
async fn delete(transaction: &mut Transaction, snippets: &[&str]) -> Result<(), SqlxError> {
    if snippets.is_empty() {
        return Ok(());
    }
    for statement in [INSERT_DELETED, DELETE_TOTALS] {
        transaction.execute(sqlx::query(statement).bind(snippets)).await?;
    }
    for statement in DELETE_ROLLUPS {
        let statement = sqlx::query(statement).bind(snippets).bind(i64::from(DELETED_ROWS_MAX));
        transaction.execute(statement).await?;
    }
    Ok(())
}

/// Leaves out what was counted of snippets that were deleted before.
async fn drop_deleted(transaction: &mut Transaction, tally: &mut Tally<'_>) -> Result<(), SqlxError> {
    let snippets: Vec<&str> = tally.totals().into_iter().map(|(id, _)| id).collect();
    if snippets.is_empty() {
        return Ok(());
    }
    let found: Vec<String> = column(&transaction.fetch_all(sqlx::query(FIND_DELETED).bind(snippets)).await?)?;
    let found: HashSet<&str> = found.iter().map(String::as_str).collect();
    tally.drop_counts(|id| found.contains(id));
    Ok(())
}

/// The first column of the rows.
pub(super) fn column<T>(rows: &[PgRow]) -> Result<Vec<T>, SqlxError>
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
{
    rows.iter().map(|row| row.try_get(0)).collect()
}
