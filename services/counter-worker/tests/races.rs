//! One worker counts what another deletes or forgets, each order of the two forced.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use counter_worker::{
    adapters::postgres::PostgresTotals,
    domain::Batch,
    ports::{Applied, StoreError, TotalsStore as _},
};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, PgPool};
use stack::until;
use support::{batch, parsed, view_batch, worker::PATIENCE};
use uuid::Uuid;

struct Place {
    store: PostgresTotals,
    sql: PgPool,
}

impl Place {
    async fn new() -> Self {
        let url = stack::shared().database().await.url().to_owned();
        let sql = PgPool::connect(&url).await.expect("connected");
        let url = SecretString::from(url);
        PostgresTotals::migrate(&url).await.expect("migrated");
        Self { store: PostgresTotals::new(&url).expect("a valid URL"), sql }
    }

    /// Applies the batch while another worker's transaction, which has done `held`, is open; that one is committed, after
    /// `last`, once the batch waits for it.
    async fn apply_against(&self, held: &str, last: &str, batch: Batch) -> Result<Applied, StoreError> {
        let mut other = self.sql.begin().await.expect("begun");
        sqlx::raw_sql(AssertSqlSafe(held.to_owned())).execute(&mut *other).await.expect("done");
        let commit = async {
            until("the batch waits", PATIENCE, async || self.somebody_waits().await).await.expect("waits");
            sqlx::raw_sql(AssertSqlSafe(last.to_owned())).execute(&mut *other).await.expect("done");
            other.commit().await.expect("committed");
        };
        let batches = [batch];
        let (applied, ()) = tokio::join!(self.store.apply(&batches), commit);
        applied
    }

    async fn somebody_waits(&self) -> bool {
        let sql = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE NOT granted AND datname = current_database()";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&self.sql).await.expect("read") > 0
    }

    async fn sum(&self) -> i64 {
        let sql = "SELECT sum(views)::bigint FROM views.totals";
        sqlx::query_scalar(sql).fetch_one(&self.sql).await.expect("read")
    }

    async fn rows(&self) -> i64 {
        let sql = "SELECT (SELECT count(*) FROM views.totals_by_stripe) + (SELECT count(*) FROM views.hourly_by_stripe)
            + (SELECT count(*) FROM views.daily_by_stripe)";
        sqlx::query_scalar(sql).fetch_one(&self.sql).await.expect("read")
    }
}

/// As another worker does it, in the second stripe: the lock's key is "view" in ASCII.
const COUNT: &str = "SELECT pg_advisory_xact_lock(x'76696577'::integer, 1);
    INSERT INTO views.totals_by_stripe (snippet_id, stripe, views) VALUES ('a', 1, 1)";
const COUNT_THE_HOUR: &str =
    "INSERT INTO views.hourly_by_stripe VALUES ('a', date_trunc('hour', now()), 1, 1);
    INSERT INTO views.daily_by_stripe VALUES ('a', date_trunc('day', now()), 1, 1)";
const TAKE_ALL: &str =
    "SELECT pg_advisory_xact_lock(x'76696577'::integer, stripe) FROM generate_series(0, 7) AS stripe";
const DELETE: &str = "INSERT INTO views.deleted VALUES ('a')";
const DELETE_THE_REST: &str = "DELETE FROM views.totals_by_stripe; DELETE FROM views.hourly_by_stripe; DELETE FROM views.daily_by_stripe";

#[tokio::test]
async fn a_deletion_waits_for_what_is_being_counted_and_deletes_that_too() {
    for is_known in [false, true] {
        let place = Place::new().await;
        if is_known {
            place.store.apply(&[batch(Uuid::now_v7(), &[("a", 1)])]).await.expect("applied");
        }
        let mut deletion = view_batch(Uuid::now_v7(), &[]);
        deletion.deleted_snippet_ids = vec!["a".to_owned()];
        place.apply_against(COUNT, COUNT_THE_HOUR, parsed(&deletion)).await.expect("applied");
        assert_eq!(place.rows().await, 0, "known before: {is_known}");
    }
}

#[tokio::test]
async fn what_is_counted_during_a_deletion_is_dropped() {
    for is_known in [false, true] {
        let place = Place::new().await;
        if is_known {
            place.store.apply(&[batch(Uuid::now_v7(), &[("a", 1)])]).await.expect("applied");
        }
        let count = batch(Uuid::now_v7(), &[("a", 5)]);
        let applied = place
            .apply_against(&[TAKE_ALL, DELETE].join(";"), DELETE_THE_REST, count)
            .await
            .expect("applied");
        assert_eq!(applied, Applied { new_batches: 1, duplicates: 0, views: 0, dropped_views: 5 });
        assert_eq!(place.rows().await, 0, "known before: {is_known}");
    }
}

#[tokio::test]
async fn flushes_of_the_same_snippets_do_not_wait_for_each_other() {
    let place = Place::new().await;
    let mut others = Vec::new();
    for stripe in 0..7 {
        let mut other = place.sql.begin().await.expect("begun");
        let lock = format!("SELECT pg_advisory_xact_lock(x'76696577'::integer, {stripe})");
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *other).await.expect("locked");
        sqlx::query("INSERT INTO views.totals_by_stripe (snippet_id, stripe, views) VALUES ('a', $1, 1)")
            .bind(stripe)
            .execute(&mut *other)
            .await
            .expect("counted");
        others.push(other);
    }
    place.store.apply(&[batch(Uuid::now_v7(), &[("a", 5)])]).await.expect("applied meanwhile");
    for other in others {
        other.commit().await.expect("committed");
    }
    assert_eq!(place.sum().await, 12);
    assert_eq!(place.rows().await, 8 + 2);
}

#[tokio::test]
async fn when_every_stripe_is_taken_a_flush_waits_for_one() {
    let place = Place::new().await;
    let count = batch(Uuid::now_v7(), &[("a", 5)]);
    let applied = place.apply_against(TAKE_ALL, "", count).await.expect("applied");
    assert_eq!(applied.views, 5);
}

#[tokio::test]
async fn a_batch_that_comes_again_while_it_is_forgotten_is_refused() {
    let place = Place::new().await;
    let again = batch(Uuid::now_v7(), &[("a", 1)]);
    place.store.apply(std::slice::from_ref(&again)).await.expect("applied");
    let remember = format!("UPDATE views.pruned SET batches_to = '{}'", again.id());
    let applied = place.apply_against("DELETE FROM views.batches", &remember, again).await;
    assert!(matches!(applied, Err(StoreError::Refused(_))), "{applied:?}");
    assert_eq!(place.sum().await, 1);
}
