//! One flush, in one transaction. There is one writer at a time, so nothing can come in between.

use std::collections::HashSet;

use sqlx::{Error as SqlxError, Sqlite, Transaction};
use uuid::Uuid;

use super::{DELETE_ALL_OF, classify};
use crate::{
    domain::{Batch, Tally, batch_id},
    ports::{Applied, StoreError},
};

const INSERT_BATCH: &str =
    "INSERT INTO batches (batch_id, applied_at) VALUES (?, unixepoch()) ON CONFLICT DO NOTHING";
const CLOCK: &str = "SELECT unixepoch(), (SELECT batches_to FROM pruned)";
// A deletion that is told again is remembered from now on.
const INSERT_DELETED: &str = "INSERT INTO deleted (snippet_id, deleted_at) VALUES (?, unixepoch())
    ON CONFLICT (snippet_id) DO UPDATE SET deleted_at = excluded.deleted_at";
// A sum beyond 64 bits would become a floating point number, which the column refuses.
const UPSERT_TOTAL: &str = "INSERT INTO totals (snippet_id, views, updated_at)
    SELECT ?1, ?2, unixepoch() WHERE NOT EXISTS (SELECT 1 FROM deleted WHERE snippet_id = ?1)
    ON CONFLICT (snippet_id) DO UPDATE SET
        views = CASE WHEN views > 9223372036854775807 - excluded.views THEN 9223372036854775807
                     ELSE views + excluded.views END,
        updated_at = excluded.updated_at";

macro_rules! upsert {
    ($table:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (snippet_id, start_time, views) VALUES (?, ?, ?)
            ON CONFLICT (snippet_id, start_time) DO UPDATE SET
                views = CASE WHEN views > 9223372036854775807 - excluded.views THEN 9223372036854775807
                             ELSE views + excluded.views END"
        )
    };
}
const UPSERT_HOUR: &str = upsert!("hourly");
const UPSERT_DAY: &str = upsert!("daily");

/// Does all of a flush but the commit.
pub(super) async fn apply(
    transaction: &mut Transaction<'_, Sqlite>,
    batches: &[Batch],
) -> Result<Applied, StoreError> {
    let new = insert_batches(transaction, batches).await.map_err(classify)?;
    let clock = sqlx::query_as(CLOCK).fetch_one(&mut **transaction).await;
    let (now, forgotten_to): (i64, Option<Uuid>) = clock.map_err(classify)?;
    let is_new = batch_id::check_new(&new, forgotten_to);
    is_new.map_err(|forgotten| StoreError::Refused(Box::new(forgotten)))?;
    let mut tally = Tally::of(batches, &new, now);
    delete(transaction, &tally).await.map_err(classify)?;
    add(transaction, &mut tally).await.map_err(classify)?;
    Ok(Applied::new(batches.len(), new.len(), &tally))
}

async fn insert_batches(
    transaction: &mut Transaction<'_, Sqlite>,
    batches: &[Batch],
) -> Result<HashSet<Uuid>, SqlxError> {
    let mut new = HashSet::new();
    for batch in batches {
        let inserted = sqlx::query(INSERT_BATCH).bind(batch.id()).execute(&mut **transaction).await?;
        if inserted.rows_affected() > 0 {
            new.insert(batch.id());
        }
    }
    Ok(new)
}

async fn delete(transaction: &mut Transaction<'_, Sqlite>, tally: &Tally<'_>) -> Result<(), SqlxError> {
    for id in tally.deleted() {
        sqlx::query(INSERT_DELETED).bind(id).execute(&mut **transaction).await?;
        for delete in DELETE_ALL_OF {
            sqlx::query(delete).bind(id).execute(&mut **transaction).await?;
        }
    }
    Ok(())
}

async fn add(transaction: &mut Transaction<'_, Sqlite>, tally: &mut Tally<'_>) -> Result<(), SqlxError> {
    let mut gone = HashSet::new();
    for (id, views) in tally.totals() {
        let upsert = sqlx::query(UPSERT_TOTAL).bind(id).bind(views).execute(&mut **transaction).await?;
        if upsert.rows_affected() == 0 {
            gone.insert(id);
        }
    }
    tally.drop_counts(|id| gone.contains(id));
    for (upsert, buckets) in [(UPSERT_HOUR, tally.hourly()), (UPSERT_DAY, tally.daily())] {
        for (id, start, views) in buckets {
            sqlx::query(upsert).bind(id).bind(start).bind(views).execute(&mut **transaction).await?;
        }
    }
    Ok(())
}
