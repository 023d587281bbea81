//! Where the stores keep what they are given, as others see it.

use std::collections::BTreeMap;

use counter_worker::{
    adapters::{postgres::PostgresTotals, sqlite::SqliteTotals},
    ports::TotalsStore,
};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};

use crate::support::Totals;

/// Views by snippet and the begin of an hour or a day, in seconds since 1970.
pub type Buckets = BTreeMap<(String, i64), i64>;

const TOTALS: &str = "SELECT snippet_id, views FROM views.totals";

/// A fresh place for totals.
pub trait Place: Sized {
    type Store: TotalsStore;

    async fn create() -> Self;
    /// A store as another worker would have it.
    async fn store(&self) -> Self::Store;
    /// What a reader sees.
    async fn totals(&self) -> Totals;
    /// What a reader sees of `hourly` or `daily`.
    async fn buckets(&self, table: &str) -> Buckets;
    /// The snippets that are known to be deleted.
    async fn deleted(&self) -> Vec<String>;
    /// Changes something behind the store's back, by SQL that every database understands.
    async fn execute(&self, sql: &str);
    /// Makes all batches and deletions a week older.
    async fn age(&self);
}

pub struct Postgres {
    url: SecretString,
    reader: PgPool,
}

impl Place for Postgres {
    type Store = PostgresTotals;

    async fn create() -> Self {
        let url = stack::shared().database().await.url().to_owned();
        let reader = PgPool::connect(&url).await.expect("connected");
        let url = SecretString::from(url);
        PostgresTotals::migrate(&url).await.expect("migrated");
        Self { url, reader }
    }

    async fn store(&self) -> PostgresTotals {
        let store = PostgresTotals::new(&self.url).expect("a valid URL");
        store.ready().await.expect("ready");
        store
    }

    async fn totals(&self) -> Totals {
        let rows = sqlx::query_as(TOTALS).fetch_all(&self.reader).await;
        rows.expect("read").into_iter().collect()
    }

    async fn buckets(&self, table: &str) -> Buckets {
        let sql =
            format!("SELECT snippet_id, extract(epoch FROM start_time)::bigint, views FROM views.{table}");
        let rows = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&self.reader).await;
        rows.expect("read").into_iter().map(|(id, start, views)| ((id, start), views)).collect()
    }

    async fn deleted(&self) -> Vec<String> {
        let sql = "SELECT snippet_id FROM views.deleted ORDER BY snippet_id";
        sqlx::query_scalar(sql).fetch_all(&self.reader).await.expect("read")
    }

    async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.reader).await.expect("executed");
    }

    async fn age(&self) {
        self.execute("UPDATE views.batches SET applied_at = applied_at - interval '7 days'").await;
        self.execute("UPDATE views.deleted SET deleted_at = deleted_at - interval '7 days'").await;
    }
}

pub struct Sqlite {
    file: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Sqlite {
    /// The way the snippets service reads: a file of its own, with this one attached.
    async fn reader(&self) -> SqlitePool {
        let own = self.file.with_file_name("reader.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(own).create_if_missing(true);
        let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
        let reader = pool.connect_with(options).await.expect("connected");
        let attach = sqlx::query("ATTACH ? AS views").bind(self.file.to_str()).execute(&reader);
        attach.await.expect("attached");
        reader
    }
}

impl Place for Sqlite {
    type Store = SqliteTotals;

    async fn create() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        Self { file: dir.path().join("views.db"), _dir: dir }
    }

    async fn store(&self) -> SqliteTotals {
        let store = SqliteTotals::open(&self.file).await.expect("opened");
        store.ready().await.expect("ready");
        store
    }

    async fn totals(&self) -> Totals {
        let rows = sqlx::query_as(TOTALS).fetch_all(&self.reader().await).await;
        rows.expect("read").into_iter().collect()
    }

    async fn buckets(&self, table: &str) -> Buckets {
        let sql = format!("SELECT snippet_id, start_time, views FROM views.{table}");
        let rows = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&self.reader().await).await;
        rows.expect("read").into_iter().map(|(id, start, views)| ((id, start), views)).collect()
    }

    async fn deleted(&self) -> Vec<String> {
        let sql = "SELECT snippet_id FROM views.deleted ORDER BY snippet_id";
        sqlx::query_scalar(sql).fetch_all(&self.reader().await).await.expect("read")
    }

    async fn execute(&self, sql: &str) {
        let reader = self.reader().await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&reader).await.expect("executed");
    }

    async fn age(&self) {
        self.execute("UPDATE views.batches SET applied_at = applied_at - 7 * 86400").await;
        self.execute("UPDATE views.deleted SET deleted_at = deleted_at - 7 * 86400").await;
    }
}
