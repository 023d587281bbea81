use super::database::{Database, store_error};
use crate::{
    adapters::sql::parsed,
    domain::SnippetId,
    ports::{StoreError, Sweep},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Row as _, Sqlite, query::Query, sqlite::SqliteArguments};

const REMOVE_EXPIRED: &str = "delete from snippets where id in (
    select id from snippets where expire_time <= ?2
    order by expire_time limit ?1)
    returning id";
const REMOVE_BURNT: &str = "delete from snippets where id in (
    select id from snippets where claimed_views >= max_views
    limit ?1)
    returning id";
const FORGET_CREATE_REQUESTS: &str = "delete from create_requests where rowid in (
    select rowid from create_requests where create_time <= ?2
    order by create_time limit ?1)
    returning request_id";

/// What is over, in the file of snippets.
#[derive(Debug, Clone)]
pub struct SqliteSweep(Database);

impl SqliteSweep {
    /// Over this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    async fn remove(&self, query: Query<'_, Sqlite, SqliteArguments>) -> Result<Vec<SnippetId>, StoreError> {
        let rows = self.0.fetch_all(query).await.map_err(store_error)?;
        let ids = rows.iter().map(|row| parsed(SnippetId::parse(row.try_get("id")?)));
        ids.collect::<Result<_, _>>().map_err(store_error)
    }
}

#[async_trait]
impl Sweep for SqliteSweep {
    async fn remove_expired(&self, by: DateTime<Utc>, limit: u32) -> Result<Vec<SnippetId>, StoreError> {
        self.remove(sqlx::query(REMOVE_EXPIRED).bind(i64::from(limit)).bind(by.timestamp_micros())).await
    }

    async fn remove_burnt(&self, limit: u32) -> Result<Vec<SnippetId>, StoreError> {
        self.remove(sqlx::query(REMOVE_BURNT).bind(i64::from(limit))).await
    }

    async fn forget_create_requests(&self, by: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        let query = sqlx::query(FORGET_CREATE_REQUESTS).bind(i64::from(limit)).bind(by.timestamp_micros());
        self.0.fetch_all(query).await.map(|rows| rows.len() as u64).map_err(store_error)
    }
}
