//! Stripes, by which flushes are committed side by side though they count the same snippets.
//!
//! A flush writes nearly every hot snippet's rows and would hold them until its commit, so that of any number of workers one
//! would be writing. Instead a counter has a row for each stripe, and is their sum (Google's "sharded counters", the cells of
//! Java's `LongAdder`). Whoever counts takes a stripe that nobody else has; whoever deletes takes all, and so finds all that
//! was counted before, while all that is counted later finds the deletion. A stripe is held until the transaction ends.
//!
//! One worker alone always has the first stripe, and no counter a second row.

use database::Transaction;
use sqlx::Error as SqlxError;

use super::apply::column;

/// How many flushes can be committed at once. It may grow only together with a change that older workers wait for: these
/// would not take the new stripes before they delete.
const STRIPES: i32 = 8;
/// The first half of the advisory locks' keys, so that they are nobody else's; the second half is the stripe.
const LOCKS: i32 = i32::from_be_bytes(*b"view");

const TAKE_FREE: &str = "SELECT stripe::smallint FROM generate_series(0, $2 - 1) AS stripe
    WHERE pg_try_advisory_xact_lock($1, stripe) LIMIT 1";
const WAIT_FOR_ONE: &str = "SELECT stripe::smallint, pg_advisory_xact_lock($1, stripe)
    FROM (SELECT pg_backend_pid() % $2 AS stripe) AS mine";
// In this order, also when several do it.
const TAKE_ALL: &str = "SELECT pg_advisory_xact_lock($1, stripe) FROM generate_series(0, $2 - 1) AS stripe";

/// Takes a stripe to count in, the first that is free. If none is, waits for one.
pub(super) async fn take_one(transaction: &mut Transaction) -> Result<i16, SqlxError> {
    for take in [TAKE_FREE, WAIT_FOR_ONE] {
        let taken = transaction.fetch_all(sqlx::query(take).bind(LOCKS).bind(STRIPES)).await?;
        if let Some(stripe) = column(&taken)?.first() {
            return Ok(*stripe);
        }
    }
    Err(SqlxError::RowNotFound)
}

/// Takes all stripes, to delete and to count in the first.
pub(super) async fn take_all(transaction: &mut Transaction) -> Result<i16, SqlxError> {
    transaction.execute(sqlx::query(TAKE_ALL).bind(LOCKS).bind(STRIPES)).await?;
    Ok(0)
}
