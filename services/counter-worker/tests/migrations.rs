//! The schema is brought up to date while it is read and written.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may")]

use counter_worker::adapters::postgres::PostgresTotals;
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The tables as they were before there were stripes, and what stood in the book.
const BEFORE: [&str; 2] = [
    include_str!("../migrations/postgres/0001_totals.sql"),
    include_str!("../migrations/postgres/0002_rollups.sql"),
];
const FILL: &str = "
    insert into views.totals select lpad(n::text, 11, '0'), n from generate_series(1, 200000) as n;
    insert into views.hourly select lpad(n::text, 11, '0'), timestamptz '2026-01-01Z', n from generate_series(1, 200000) as n;
    insert into views.daily select lpad(n::text, 11, '0'), timestamptz '2026-01-01Z', n from generate_series(1, 200000) as n";
const READ: &str =
    "select views from views.totals where snippet_id = lpad(floor(random() * 200000)::text, 11, '0')";
/// As a worker of the version before does it, until the new ones take over.
const WRITE: &str = "insert into views.totals as total values ('00000000001', 1)
    on conflict (snippet_id) do update set views = total.views + 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_get_their_stripes_while_they_are_read_and_written() {
    let database = stack::shared().database().await;
    let url = SecretString::from(database.url());
    // All of it is made, and undone but for the first two steps, whose place in the book only a migration can make.
    PostgresTotals::migrate(&url).await.unwrap();
    database
        .execute(
            "drop view views.totals, views.hourly, views.daily;
            drop table views.totals_by_stripe, views.hourly_by_stripe, views.daily_by_stripe, views.batches,
                views.deleted, views.pruned;
            delete from views._sqlx_migrations where version > 2",
        )
        .await
        .unwrap();
    for sql in BEFORE.into_iter().chain([FILL]) {
        database.execute(sql).await.unwrap();
    }

    let (mut users, stop) = (JoinSet::new(), CancellationToken::new());
    for sql in [READ, WRITE] {
        let mut connection = PgConnection::connect(database.url()).await.unwrap();
        sqlx::raw_sql("set lock_timeout = '3s'").execute(&mut connection).await.unwrap();
        let stop = stop.clone();
        users.spawn(async move {
            let mut done = 0;
            while !stop.is_cancelled() {
                match sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await {
                    Ok(_) => done += 1,
                    // The old workers' end: what they write is a view now.
                    Err(error) if sql == WRITE && !error.to_string().contains("lock timeout") => break,
                    Err(error) => panic!("{sql}: {error}"),
                }
            }
            (sql, done)
        });
    }
    PostgresTotals::migrate(&url).await.unwrap();
    stop.cancel();
    let done: Vec<(&str, i64)> = users.join_all().await;
    let written = done.iter().find(|(sql, _)| *sql == WRITE).unwrap().1;
    assert!(done.iter().all(|(_, done)| *done > 10), "{done:?}");
    let counted = database.execute("select views from views.totals where snippet_id = '00000000001'").await;
    assert_eq!(counted.unwrap(), (written + 1).to_string());
    let sums = "select (select count(*) from views.totals), (select count(*) from views.hourly_by_stripe),
        (select count(*) from views.daily where snippet_id = '00000000007' and views = 7)";
    assert_eq!(database.execute(sums).await.unwrap(), "200000|200000|1");
}
