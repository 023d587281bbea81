//! The file, and the pool of connections to it.

use super::super::sql::{self, Failure};
use crate::ports::StoreError;
use ::database::{Migration, Migrations};
use anyhow::Context as _;
use sqlx::{
    Error, Executor as _, Sqlite, SqlitePool, Transaction,
    query::Query,
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};
use std::{path::Path, time::Duration};

const MIGRATIONS: Migrations = Migrations(&[
    Migration::new(1, "initial", include_str!("../../../migrations/sqlite/0001_initial.sql")),
    Migration::new(2, "lifetimes", include_str!("../../../migrations/sqlite/0002_lifetimes.sql")),
    Migration::new(3, "page token key", include_str!("../../../migrations/sqlite/0003_page_token_key.sql")),
    Migration::new(4, "lists", include_str!("../../../migrations/sqlite/0004_lists.sql")),
    Migration::new(5, "deletions", include_str!("../../../migrations/sqlite/0005_deletions.sql")),
]);

/// Readers never wait in WAL mode, and there is one writer at a time: a few connections are enough.
const CONNECTIONS_MAX: u32 = 4;
/// How long a writer waits for another one, and a caller for a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// `snippets.db` in a data directory. Cloning shares the connections.
#[derive(Debug, Clone)]
pub struct Database(SqlitePool);

impl Database {
    /// Opens `snippets.db` in an existing directory, brings its schema up to date, and attaches `views.db`
    /// beside it; either file is made if there is none.
    pub async fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let views_path = data_dir.join("views.db").to_str().context("DATA_DIR is not UTF-8")?.to_owned();
        let options = SqliteConnectOptions::new()
            .filename(data_dir.join("snippets.db"))
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What was acknowledged survives a power cut too, at the price of one fsync per write.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(PATIENCE);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(PATIENCE)
            // A file does not hang up.
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let attach = sqlx::query("attach database ? as views").bind(views_path.clone());
                Box::pin(async move { attach.execute(connection).await.map(drop) })
            })
            .connect_with(options)
            .await
            .context("opening snippets.db")?;
        MIGRATIONS.migrator().run(&pool).await.context("migrating snippets.db")?;
        Ok(Self(pool))
    }

    /// Succeeds when the file can be read.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.fetch_all(sqlx::query("select 1 from snippets limit 0")).await.map(drop).map_err(store_error)
    }

    /// Closes the connections, waiting for what is under way.
    pub async fn close(&self) {
        self.0.close().await;
    }

    /// Immediate: a transaction that begins by reading can't wait for its turn to write.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        self.0.begin_with("BEGIN IMMEDIATE").await
    }

    pub(super) async fn fetch_optional(
        &self,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Option<SqliteRow>, Error> {
        // Runs the statement to its end, which `fetch_optional` of sqlx does not: a write would be left open.
        self.fetch_all(query).await.map(|mut rows| rows.pop())
    }

    pub(super) async fn fetch_all(
        &self,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Vec<SqliteRow>, Error> {
        self.0.fetch_all(query).await
    }
}

/// Sorts by primary result code; <https://www.sqlite.org/rescode.html>.
pub(super) fn store_error(error: Error) -> StoreError {
    sql::classify(error, |database| {
        let code = database.code().and_then(|code| code.parse::<i32>().ok());
        match code.map(|code| code & 0xff) {
            // Busy, locked, disk full, can't open.
            Some(5 | 6 | 13 | 14) => Failure::Unavailable,
            // An I/O error.
            Some(10) => Failure::Indeterminate,
            _ => Failure::Internal,
        }
    })
}
