//! The stores in SQLite.

use crate::{
    contract::{HasAccounts, HasSnippets, World, stores_hold},
    sample,
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use snippets::{
    adapters::sqlite::{
        Database, SqliteAccountStore, SqliteDeletions, SqlitePageTokenKeys, SqliteSnippetLists,
        SqliteSnippetStore, SqliteSweep, SqliteViewHistory, SqliteViewTotals,
    },
    domain::Granularity,
    ports::{
        AccountStore, Deletions, PageTokenKeys, SnippetLists, SnippetStore, Sweep, ViewHistory, ViewTotals,
    },
};
use sqlx::{
    AssertSqlSafe, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tempfile::TempDir;

/// The counter worker's: what it publishes is what snippets reads.
const VIEW_TABLES: &str = concat!(
    include_str!("../../../counter-worker/migrations/sqlite/0001_totals.sql"),
    include_str!("../../../counter-worker/migrations/sqlite/0002_rollups.sql"),
);

struct SqliteWorld {
    data_dir: TempDir,
    database: Database,
    snippets: SqliteSnippetStore,
    lists: SqliteSnippetLists,
    accounts: SqliteAccountStore,
    sweep: SqliteSweep,
    deletions: SqliteDeletions,
    page_token_keys: SqlitePageTokenKeys,
    totals: SqliteViewTotals,
    history: SqliteViewHistory,
}

async fn world() -> SqliteWorld {
    let data_dir = TempDir::new().unwrap();
    let database = Database::open(data_dir.path()).await.unwrap();
    SqliteWorld {
        data_dir,
        snippets: SqliteSnippetStore::new(database.clone()),
        lists: SqliteSnippetLists::new(database.clone()),
        accounts: SqliteAccountStore::new(database.clone()),
        deletions: SqliteDeletions::new(database.clone()),
        sweep: SqliteSweep::new(database.clone()),
        page_token_keys: SqlitePageTokenKeys::new(database.clone()),
        totals: SqliteViewTotals::new(database.clone()),
        history: SqliteViewHistory::new(database.clone()),
        database,
    }
}

impl HasSnippets for SqliteWorld {
    fn snippets(&self) -> &dyn SnippetStore {
        &self.snippets
    }
}

impl HasAccounts for SqliteWorld {
    fn accounts(&self) -> &dyn AccountStore {
        &self.accounts
    }
}

#[async_trait]
impl World for SqliteWorld {
    fn lists(&self) -> &dyn SnippetLists {
        &self.lists
    }

    fn sweep(&self) -> &dyn Sweep {
        &self.sweep
    }

    fn deletions(&self) -> &dyn Deletions {
        &self.deletions
    }

    fn page_token_keys(&self) -> &dyn PageTokenKeys {
        &self.page_token_keys
    }

    fn totals(&self) -> &dyn ViewTotals {
        &self.totals
    }

    fn history(&self) -> &dyn ViewHistory {
        &self.history
    }

    async fn make_view_tables(&self) {
        self.execute(VIEW_TABLES).await;
    }

    async fn count_views(&self, totals: &[(&str, i64)]) {
        let rows: Vec<_> = totals.iter().map(|(id, views)| format!("('{id}', {views}, 0)")).collect();
        self.execute(&format!("insert into totals values {}", rows.join(", "))).await;
    }

    async fn count_buckets(&self, granularity: Granularity, buckets: &[(&str, DateTime<Utc>, i64)]) {
        let table = match granularity {
            Granularity::Hour => "hourly",
            Granularity::Day => "daily",
        };
        let row = |(id, start, views): &(&str, DateTime<Utc>, i64)| {
            format!("('{id}', {}, {views})", start.timestamp())
        };
        let rows: Vec<_> = buckets.iter().map(row).collect();
        self.execute(&format!("insert into {table} values {}", rows.join(", "))).await;
    }
}

impl SqliteWorld {
    /// Over a connection of its own, as the counter worker has one.
    async fn execute(&self, sql: &str) {
        let options = SqliteConnectOptions::new()
            .filename(self.data_dir.path().join("views.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

stores_hold!(super::world);

#[tokio::test]
async fn each_database_has_a_page_token_key_of_its_own() {
    let [one, two] = [world().await, world().await];
    let [one, two] = [one.page_token_keys.page_token_key().await, two.page_token_keys.page_token_key().await];
    assert_ne!(one.unwrap().expose(), two.unwrap().expose());
}

#[tokio::test]
async fn what_was_stored_survives_opening_again() {
    let world = world().await;
    let snippet = sample::snippet();
    world.snippets.insert(&snippet, None).await.unwrap();
    let key = world.page_token_keys.page_token_key().await.unwrap();
    world.database.check().await.unwrap();
    world.database.close().await;

    let again = Database::open(world.data_dir.path()).await.unwrap();
    let key_again = SqlitePageTokenKeys::new(again.clone()).page_token_key().await.unwrap();
    assert_eq!(key_again.expose(), key.expose());
    assert_eq!(SqliteSnippetStore::new(again).get(&snippet.metadata.id).await.unwrap(), Some(snippet));
}

#[tokio::test]
async fn many_writers_wait_for_each_other() {
    let world = world().await;
    let snippets: Vec<_> = (0..50).map(|_| sample::snippet()).collect();
    let inserts = snippets.iter().map(|snippet| world.snippets.insert(snippet, None));
    for inserted in futures_util::future::join_all(inserts).await {
        inserted.unwrap();
    }
}
