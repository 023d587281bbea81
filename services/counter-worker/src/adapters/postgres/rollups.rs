//! Views by the hour and by the day.

use database::Transaction;
use sqlx::Error as SqlxError;

use crate::domain::Tally;

macro_rules! upsert {
    ($table:literal) => {
        concat!(
            "INSERT INTO views.",
            $table,
            " AS bucket (stripe, snippet_id, start_time, views)
            SELECT $1, snippet_id, to_timestamp(start_time), views
            FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS new (snippet_id, start_time, views)
            ORDER BY snippet_id COLLATE \"C\", start_time
            ON CONFLICT (snippet_id, start_time, stripe) DO UPDATE SET
                views = CASE WHEN bucket.views > 9223372036854775807 - excluded.views THEN 9223372036854775807
                             ELSE bucket.views + excluded.views END"
        )
    };
}
const UPSERT_HOURLY: &str = upsert!("hourly_by_stripe");
const UPSERT_DAILY: &str = upsert!("daily_by_stripe");

macro_rules! delete {
    ($table:literal) => {
        concat!(
            "DELETE FROM views.",
            $table,
            " WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM views.",
            $table,
            " WHERE snippet_id = ANY($1::text[]) LIMIT $2 FOR UPDATE SKIP LOCKED))"
        )
    };
}
/// Delete what is kept of snippets, but for their totals, up to a number of rows each. Nobody is waited for: what is locked
/// is being deleted by somebody else.
pub(super) const DELETE_ROLLUPS: [&str; 2] = [delete!("hourly_by_stripe"), delete!("daily_by_stripe")];

/// Adds to hours and days.
pub(super) async fn add(
    transaction: &mut Transaction,
    stripe: i16,
    tally: &Tally<'_>,
) -> Result<(), SqlxError> {
    for (upsert, buckets) in [(UPSERT_HOURLY, tally.hourly()), (UPSERT_DAILY, tally.daily())] {
        let (mut snippets, mut starts, mut views) = (Vec::new(), Vec::new(), Vec::new());
        for (snippet, start, count) in buckets {
            snippets.push(snippet);
            starts.push(start);
            views.push(count);
        }
        let upsert = sqlx::query(upsert).bind(stripe).bind(snippets).bind(starts).bind(views);
        transaction.execute(upsert).await?;
    }
    Ok(())
}
