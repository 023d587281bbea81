use super::database::{Database, store_error};
use crate::{
    adapters::sql::parsed,
    domain::{SnippetId, now},
    ports::{Deletions, StoreError},
};
use async_trait::async_trait;
use sqlx::Row as _;
use std::time::Duration;

const TAKE: &str = "update deletions set due = ?2
    where snippet_id in (select snippet_id from deletions where due <= ?3 order by due limit ?1)
    returning snippet_id";
const TOLD: &str = "delete from deletions where snippet_id in (select value from json_each(?1))";

/// The table `deletions`, which a trigger fills.
#[derive(Debug, Clone)]
pub struct SqliteDeletions(Database);

impl SqliteDeletions {
    /// Over this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }
}

#[async_trait]
impl Deletions for SqliteDeletions {
    async fn take(&self, limit: u32, lease: Duration) -> Result<Vec<SnippetId>, StoreError> {
        let now = now();
        let due = (now + lease).timestamp_micros();
        let query = sqlx::query(TAKE).bind(i64::from(limit)).bind(due).bind(now.timestamp_micros());
        let rows = self.0.fetch_all(query).await.map_err(store_error)?;
        let ids = rows.iter().map(|row| parsed(SnippetId::parse(row.try_get("snippet_id")?)));
        ids.collect::<Result<_, _>>().map_err(store_error)
    }

    async fn told(&self, ids: &[SnippetId]) -> Result<(), StoreError> {
        let ids = ids.iter().map(SnippetId::as_str).collect::<serde_json::Value>().to_string();
        self.0.fetch_all(sqlx::query(TOLD).bind(ids)).await.map(drop).map_err(store_error)
    }
}
