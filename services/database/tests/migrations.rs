//! Migrations of a large table that is in use.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use database::{Migration, Migrations, Schema, SchemaError};
use secrecy::SecretString;
use sqlx::{Connection as _, PgConnection, Row as _};
use stack::until;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);
const ROWS: i64 = 200_000;
/// The longest that anybody may be kept waiting: several times as long as a migration waits for a lock.
const WAIT_MAX: &str = "set lock_timeout = '3s'";

const FIRST: Migration = Migration::new(
    1,
    "rows",
    "create table online.rows (id text collate \"C\" primary key, n bigint not null, twice bigint)",
);
const COLUMN: Migration = Migration::new(2, "column", "alter table online.rows add column note text");
const INDEX: Migration = Migration::new(
    3,
    "index",
    "drop index concurrently if exists online.rows_n; create index concurrently rows_n on online.rows (n)",
)
.concurrently();
const FILL: Migration = Migration::new(
    4,
    "fill",
    "with batch as materialized (select id from online.rows where id > $1 order by id limit $2),
    filled as (update online.rows set twice = 2 * n where id in (select id from batch) and twice is null)
    select max(id) from batch",
)
.in_batches();
const BROKEN: Migration =
    Migration::new(4, "fill", "select max(id), 1 / 0 from online.rows where $2 > 0 and id > $1").in_batches();

const fn schema(migrations: &'static [Migration]) -> Schema {
    Schema { name: "online", migrations: Migrations(migrations) }
}

/// A table of so many rows, as the first version of the schema has it.
async fn filled() -> (stack::Database, SecretString) {
    let database = stack::shared().database().await;
    let url = SecretString::from(database.url());
    schema(&[FIRST]).migrate(&url).await.unwrap();
    let fill = format!(
        "insert into online.rows select lpad(n::text, 11, '0'), n from generate_series(1, {ROWS}) as n"
    );
    database.execute(&fill).await.unwrap();
    (database, url)
}

/// Readers and writers, who each go on until told to stop, and then say how often they did.
struct Users {
    tasks: JoinSet<u64>,
    stop: CancellationToken,
}

impl Users {
    async fn of(database: &stack::Database) -> Self {
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        for sql in [
            "select * from online.rows where id = lpad(floor(random() * 200000)::text, 11, '0')",
            "update online.rows set n = n + 1, twice = 2 * (n + 1) where id = lpad(floor(random() * 200000)::text, 11, '0')",
            "insert into online.rows values (lpad(floor(random() * 1e11)::text, 11, 'x'), 1, 2) on conflict do nothing",
        ] {
            let mut connection = PgConnection::connect(database.url()).await.unwrap();
            sqlx::raw_sql(WAIT_MAX).execute(&mut connection).await.unwrap();
            let stop = stop.clone();
            tasks.spawn(async move {
                let mut done = 0;
                while !stop.is_cancelled() {
                    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                    done += 1;
                }
                done
            });
        }
        Self { tasks, stop }
    }

    /// None of them was kept waiting for too long.
    async fn stop(self) {
        self.stop.cancel();
        let done = self.tasks.join_all().await;
        assert!(done.iter().all(|done| *done > 10), "{done:?}");
    }
}

fn migrate(url: &SecretString, schema: Schema, times: usize) -> JoinSet<Result<(), SchemaError>> {
    (0..times)
        .map(|_| {
            let url = url.clone();
            async move { schema.migrate(&url).await }
        })
        .collect()
}

async fn migrated(migrations: JoinSet<Result<(), SchemaError>>) {
    migrations.join_all().await.into_iter().collect::<Result<(), _>>().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_table_is_migrated_while_it_is_read_and_written() {
    let (database, url) = filled().await;
    let users = Users::of(&database).await;
    let all = schema(&[FIRST, COLUMN, INDEX, FILL]);
    // Two at once, one of which waits; its waiting must not hold up the index of the other.
    migrated(migrate(&url, all, 2)).await;
    users.stop().await;
    let wrong = database.execute("select count(*) from online.rows where twice is distinct from 2 * n").await;
    assert_eq!(wrong.unwrap(), "0");
    let valid = "select indisvalid from pg_index where indexrelid = 'online.rows_n'::regclass";
    assert_eq!(database.execute(valid).await.unwrap(), "t");
}

// A lock that waits for somebody is waited for by all who come later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_up_a_migration_holds_up_nobody_else() {
    let (database, url) = filled().await;
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    let mut reader = connection.begin().await.unwrap();
    sqlx::raw_sql("select * from online.rows limit 1").execute(&mut *reader).await.unwrap();

    let users = Users::of(&database).await;
    let migration = migrate(&url, schema(&[FIRST, COLUMN]), 1);
    let waits =
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like 'alter table%'
        and datname = current_database()";
    for attempt in ["first", "second", "third"] {
        let is = async |count: &str| database.execute(waits).await.unwrap() == count;
        until(attempt, PATIENCE, async || is("1").await).await.unwrap();
        until("it gives up", PATIENCE, async || is("0").await).await.unwrap();
    }
    reader.commit().await.unwrap();
    migrated(migration).await;
    users.stop().await;
}

#[tokio::test]
async fn what_failed_half_way_goes_on_where_it_was() {
    let (database, url) = filled().await;
    // As a process leaves it that was killed while it built the index.
    database.execute("create index rows_n on online.rows (id)").await.unwrap();
    schema(&[FIRST, COLUMN, INDEX]).migrate(&url).await.unwrap();
    let indexed = database.execute("select indexdef like '%(n)' from pg_indexes where indexname = 'rows_n'");
    assert_eq!(indexed.await.unwrap(), "t");

    let failed = schema(&[FIRST, COLUMN, INDEX, BROKEN]).migrate(&url).await.unwrap_err();
    assert!(failed.to_string().contains("division by zero"), "{failed}");
    // What was filled before goes untouched.
    let half = format!("{:011}", ROWS / 2);
    let note = format!("insert into online._batches values (4, '{half}')");
    database.execute(&note).await.unwrap();
    schema(&[FIRST, COLUMN, INDEX, FILL]).migrate(&url).await.unwrap();
    let filled =
        database.execute("select count(*), min(id) from online.rows where twice = 2 * n").await.unwrap();
    assert_eq!(filled, format!("{}|{:011}", ROWS / 2, ROWS / 2 + 1));

    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    let book = sqlx::query("select array_agg(version order by version) from online._sqlx_migrations");
    let versions: Vec<i64> = book.fetch_one(&mut connection).await.unwrap().get(0);
    assert_eq!(versions, [1, 2, 3, 4]);
}
