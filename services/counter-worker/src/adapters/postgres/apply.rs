//! One flush, in one transaction.
//!
//! Workers never wait for each other in a circle, since all transactions take their locks in one order: ids of batches,
//! deleted snippets, totals, hours, days, and in each of these tables the order of the keys.
//!
//! A snippet's row of totals stands for all that is kept of the snippet: whoever counts it and whoever deletes it takes that
//! row first, making it if need be, and of two such transactions the second waits. If that is the one that deletes, it finds
//! all that the first has left. If it is the one that counts, it looks into `views.deleted` when it has the row, finds the
//! deletion that was committed meanwhile, and takes its own row away again.

use std::collections::HashSet;

use database::Transaction;
use sqlx::{Decode, Error as SqlxError, Postgres, Row as _, Type, postgres::PgRow};
use uuid::Uuid;

use super::{
    classify,
    rollups::{self, DELETE_ROLLUPS},
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
const UPSERT_TOTALS: &str = "INSERT INTO views.totals AS total (snippet_id, views)
    SELECT snippet_id, views FROM unnest($1::text[], $2::bigint[]) AS new (snippet_id, views)
    ORDER BY snippet_id COLLATE \"C\"
    ON CONFLICT (snippet_id) DO UPDATE SET
        views = CASE WHEN total.views > 9223372036854775807 - excluded.views THEN 9223372036854775807
                     ELSE total.views + excluded.views END,
        updated_at = excluded.updated_at";
const FIND_DELETED: &str = "SELECT snippet_id FROM views.deleted WHERE snippet_id = ANY($1::text[])";
const DELETE_TOTALS: &str = "DELETE FROM views.totals WHERE snippet_id = ANY($1::text[])";
/// The most rows of a roll-up that are deleted together with a flush, which must stay within its deadline. What is beyond is
/// deleted before the deletion is forgotten.
const DELETED_ROWS_MAX: u32 = 20_000;

/// Does all of a flush but the commit.
pub(super) async fn apply(transaction: &mut Transaction, batches: &[Batch]) -> Result<Applied, StoreError> {
    let new = insert_batches(transaction, batches).await.map_err(classify)?;
    // In this order: an id that is being forgotten keeps our insert waiting, and goes in only when it is forgotten; then, each
    // statement seeing what was committed before it, we see here how far ids are forgotten. The other way around one could be
    // forgotten after we have looked and before we insert it, and would count again.
    let clock = clock(transaction).await.map_err(classify)?;
    let is_new = batch_id::check_new(&new, clock.forgotten_to);
    is_new.map_err(|forgotten| StoreError::Refused(Box::new(forgotten)))?;
    let mut tally = Tally::of(batches, &new, clock.now);
    add(transaction, &mut tally).await.map_err(classify)?;
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

async fn add(transaction: &mut Transaction, tally: &mut Tally<'_>) -> Result<(), SqlxError> {
    let deleted = tally.deleted();
    if !deleted.is_empty() {
        transaction.execute(sqlx::query(INSERT_DELETED).bind(deleted)).await?;
    }
    let gone = add_totals(transaction, tally).await?;
    rollups::add(transaction, tally).await?;
    if !gone.is_empty() {
        for delete in DELETE_ROLLUPS {
            transaction.execute(sqlx::query(delete).bind(&gone).bind(i64::from(DELETED_ROWS_MAX))).await?;
        }
    }
    Ok(())
}

/// Adds to the totals of all snippets that the flush counts or deletes, takes those away that are deleted, and says which.
async fn add_totals(transaction: &mut Transaction, tally: &mut Tally<'_>) -> Result<Vec<String>, SqlxError> {
    let deleted = tally.deleted().into_iter().map(|id| (id, 0));
    let (snippets, views): (Vec<&str>, Vec<i64>) = tally.totals().into_iter().chain(deleted).unzip();
    if snippets.is_empty() {
        return Ok(Vec::new());
    }
    transaction.execute(sqlx::query(UPSERT_TOTALS).bind(&snippets).bind(views)).await?;
    let found = transaction.fetch_all(sqlx::query(FIND_DELETED).bind(snippets)).await?;
    let gone: Vec<String> = column(&found)?;
    if !gone.is_empty() {
        transaction.execute(sqlx::query(DELETE_TOTALS).bind(&gone)).await?;
        let gone: HashSet<&str> = gone.iter().map(String::as_str).collect();
        tally.drop_counts(|id| gone.contains(id));
    }
    Ok(gone)
}

/// The first column of the rows.
pub(super) fn column<T>(rows: &[PgRow]) -> Result<Vec<T>, SqlxError>
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
{
    rows.iter().map(|row| row.try_get(0)).collect()
}
