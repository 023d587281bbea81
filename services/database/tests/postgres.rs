//! Statements and transactions on a Postgres that works, hangs, or refuses.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use database::{Database, Options, Transaction};
use sqlx::{Error, Row as _};
use tokio::time::timeout;

const CONNECTIONS_MAX: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);
/// Far beyond the deadlines below, and far from for ever.
const SOON: Duration = Duration::from_secs(5);

fn connect(url: &str, statement_timeout: Duration) -> Database {
    let options = Options {
        connections_max: CONNECTIONS_MAX,
        acquire_timeout: Duration::from_millis(500),
        statement_timeout,
        ..Options::new(url.into())
    };
    Database::new("test", &options).unwrap()
}

/// A table with one number in it.
async fn table(database: &Database) {
    database.fetch_all(sqlx::query("create table numbers (n int primary key)")).await.unwrap();
    add(&mut database.begin().await.unwrap(), 0).await.unwrap();
}

async fn add(transaction: &mut Transaction, n: i32) -> Result<u64, Error> {
    transaction.execute(sqlx::query("insert into numbers values ($1)").bind(n)).await
}

async fn count(database: &Database) -> i64 {
    let rows = database.fetch_all(sqlx::query("select count(*) from numbers")).await.unwrap();
    rows[0].get(0)
}

/// As many transactions at once as there are connections.
async fn use_all(database: &Database) -> Result<(), Error> {
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut transaction = database.begin().await?;
        transaction.fetch_all(sqlx::query("select 1")).await?;
        open.push(transaction);
    }
    for transaction in open {
        transaction.commit().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_costs_no_connection() {
    let server = stack::Postgres::start().await.unwrap();
    let database = connect(server.database().await.unwrap().url(), SHORT);
    table(&database).await;
    use_all(&database).await.unwrap();
    let mut open = database.begin().await.unwrap();

    server.pause();
    let began = Instant::now();
    assert!(matches!(add(&mut open, 1).await, Err(Error::Io(_))));
    assert!(open.commit().await.is_err(), "what is not known to have been done can't be committed");
    for _ in 0..2 * CONNECTIONS_MAX {
        assert!(database.fetch_all(sqlx::query("select 1")).await.is_err());
        assert!(database.begin().await.is_err());
        // A caller that goes away half way.
        let left = timeout(Duration::from_millis(20), database.fetch_all(sqlx::query("select 1"))).await;
        assert!(left.is_err());
    }
    assert!(began.elapsed() < SOON * CONNECTIONS_MAX, "{:?}", began.elapsed());

    server.resume();
    let all = async || Ok(use_all(&database).await?);
    stack::eventually(PATIENCE, all).await.unwrap();
    assert_eq!(count(&database).await, 0);
}

// Unlike a server that was paused, one that was out of reach never answers what was lost on the way.
#[tokio::test]
async fn connections_that_fell_silent_are_replaced() {
    let place = stack::shared().database().await;
    let (proxy, url) = stack::Proxy::before_url(place.url()).await.unwrap();
    let database = connect(&url, Duration::from_secs(2));
    let sleep = || database.fetch_all(sqlx::query("select pg_sleep(60)"));
    let cut = async {
        let query = "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)'
            and state = 'active' and datname = current_database()";
        let asleep = async || place.execute(query).await.unwrap() == CONNECTIONS_MAX.to_string();
        stack::until("all of them are asleep", PATIENCE, asleep).await.unwrap();
        proxy.black_hole();
    };
    let (one, two, three, ()) = tokio::join!(sleep(), sleep(), sleep(), cut);
    assert!(one.is_err() && two.is_err() && three.is_err());

    proxy.restore().await.unwrap();
    let all = async || Ok(use_all(&database).await?);
    stack::eventually(PATIENCE, all).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_is_not_committed_never_was() {
    let database = connect(stack::shared().database().await.url(), SHORT);
    table(&database).await;
    assert_eq!(count(&database).await, 0, "dropped");

    let mut transaction = database.begin().await.unwrap();
    assert_eq!(add(&mut transaction, 1).await.unwrap(), 1);
    assert!(matches!(add(&mut transaction, 1).await, Err(Error::Database(_))));
    assert!(transaction.commit().await.is_err(), "Postgres would say yes, and roll back");
    assert_eq!(count(&database).await, 0);

    let mut transaction = database.begin().await.unwrap();
    add(&mut transaction, 1).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(count(&database).await, 1);
}

#[tokio::test]
async fn one_deadline_is_for_the_whole_transaction() {
    let database = connect(stack::shared().database().await.url(), SHORT);
    let mut transaction = database.begin().await.unwrap();
    let mut nap = async || transaction.fetch_all(sqlx::query("select pg_sleep(0.15)")).await;
    let began = Instant::now();
    let mut slept = 0;
    while nap().await.is_ok() {
        slept += 1;
        assert!(slept < 3, "each is short enough for itself");
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[tokio::test]
async fn each_statement_of_a_transaction_sees_what_was_committed_before_it() {
    let place = stack::shared().database().await;
    let name = place.execute("select current_database()").await.unwrap();
    let stricter = format!("alter database {name} set default_transaction_isolation = 'serializable'");
    place.execute(&stricter).await.unwrap();
    let database = connect(place.url(), SHORT);
    table(&database).await;

    let mut transaction = database.begin().await.unwrap();
    let query = "select count(*) from numbers";
    let before: i64 = transaction.fetch_all(sqlx::query(query)).await.unwrap()[0].get(0);
    place.execute("insert into numbers values (7)").await.unwrap();
    let after: i64 = transaction.fetch_all(sqlx::query(query)).await.unwrap()[0].get(0);
    assert_eq!((before, after), (0, 1));
}

#[tokio::test]
async fn what_is_asked_again_is_prepared_and_not_without_bound() {
    let options =
        Options { connections_max: 1, ..Options::new(stack::shared().database().await.url().into()) };
    let database = Database::new("test", &options).unwrap();
    let prepared = async || {
        let query = "select count(*), count(*) filter (where statement like 'select 0 + %') from pg_prepared_statements";
        let row = database.fetch_all(sqlx::query(query)).await.unwrap().remove(0);
        (row.get::<i64, _>(0), row.get::<i64, _>(1))
    };
    for number in 0..3_i32 {
        database.fetch_all(sqlx::query("select 0 + $1").bind(number)).await.unwrap();
    }
    assert_eq!(prepared().await.1, 1);
    for number in 0..300 {
        let sql = sqlx::AssertSqlSafe(format!("select {number} + $1"));
        database.fetch_all(sqlx::query(sql).bind(1_i32)).await.unwrap();
    }
    assert_eq!(prepared().await, (100, 0));
}

// Also by the server, which sets free what a process holds that was cut off.
#[tokio::test]
async fn nothing_waits_or_runs_for_longer_than_it_may() {
    let place = stack::shared().database().await;
    let database = connect(place.url(), SHORT);
    table(&database).await;
    let row = database.fetch_all(sqlx::query(
        "select array_agg(name || ' ' || setting order by name) from pg_settings where name in
            ('idle_in_transaction_session_timeout', 'lock_timeout', 'statement_timeout')",
    ));
    let settings: Vec<String> = row.await.unwrap()[0].get(0);
    let expected = ["idle_in_transaction_session_timeout 300", "lock_timeout 150", "statement_timeout 300"];
    assert_eq!(settings, expected);

    let mut holder = database.begin().await.unwrap();
    holder.execute(sqlx::query("lock table numbers")).await.unwrap();
    let refused = database.fetch_all(sqlx::query("select * from numbers")).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "55P03", "{refused}");
    let slow = database.fetch_all(sqlx::query("select pg_sleep(60)")).await.unwrap_err();
    assert_eq!(slow.as_database_error().unwrap().code().unwrap(), "57014", "{slow}");
}
