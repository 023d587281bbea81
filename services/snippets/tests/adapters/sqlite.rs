//! The stores in SQLite.

use crate::{
    contract::{HasSnippets, World, stores_hold},
    sample,
};
use async_trait::async_trait;
use snippets::{
    adapters::sqlite::{Database, SqliteAccountStore, SqliteSnippetStore, SqliteViewTotals},
    ports::{AccountStore, SnippetStore, ViewTotals},
};
use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tempfile::TempDir;

struct SqliteWorld {
    data_dir: TempDir,
    database: Database,
    snippets: SqliteSnippetStore,
    accounts: SqliteAccountStore,
    totals: SqliteViewTotals,
}

async fn world() -> SqliteWorld {
    let data_dir = TempDir::new().unwrap();
    let database = Database::open(data_dir.path()).await.unwrap();
    SqliteWorld {
        data_dir,
        snippets: SqliteSnippetStore::new(database.clone()),
        accounts: SqliteAccountStore::new(database.clone()),
        totals: SqliteViewTotals::new(database.clone()),
        database,
    }
}

impl HasSnippets for SqliteWorld {
    fn snippets(&self) -> &dyn SnippetStore {
        &self.snippets
    }
}

#[async_trait]
impl World for SqliteWorld {
    fn accounts(&self) -> &dyn AccountStore {
        &self.accounts
    }

    fn totals(&self) -> &dyn ViewTotals {
        &self.totals
    }

    async fn count_views(&self, totals: &[(&str, i64)]) {
        let options = SqliteConnectOptions::new()
            .filename(self.data_dir.path().join("views.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let table = "create table totals (snippet_id text primary key, views integer not null) strict";
        sqlx::query(table).execute(&mut connection).await.unwrap();
        for (id, views) in totals {
            let insert = sqlx::query("insert into totals values (?1, ?2)").bind((*id).to_owned()).bind(views);
            insert.execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
    }
}

stores_hold!(super::world);

#[tokio::test]
async fn what_was_stored_survives_opening_again() {
    let world = world().await;
    let snippet = sample::snippet();
    world.snippets.insert(&snippet).await.unwrap();
    world.database.check().await.unwrap();
    world.database.close().await;

    let again = Database::open(world.data_dir.path()).await.unwrap();
    assert_eq!(SqliteSnippetStore::new(again).get(&snippet.id).await.unwrap(), Some(snippet));
}

#[tokio::test]
async fn many_writers_wait_for_each_other() {
    let world = world().await;
    let snippets: Vec<_> = (0..50).map(|_| sample::snippet()).collect();
    let inserts = snippets.iter().map(|snippet| world.snippets.insert(snippet));
    for inserted in futures_util::future::join_all(inserts).await {
        inserted.unwrap();
    }
}
