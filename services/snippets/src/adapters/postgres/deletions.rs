use super::database::{Database, store_error};
use crate::{
    adapters::sql::parsed,
    domain::SnippetId,
    ports::{Deletions, StoreError},
};
use async_trait::async_trait;
use sqlx::Row as _;
use std::time::Duration;

// Replicas that tell side by side skip each other's rows.
const TAKE: &str = "update snippets.deletions set due = now() + $2 * interval '1 second'
    where snippet_id = any (array(
        select snippet_id from snippets.deletions where due <= now()
        order by due limit $1 for update skip locked))
    returning snippet_id";
const TOLD: &str = "delete from snippets.deletions where snippet_id = any ($1)";

/// The table `snippets.deletions`, which a trigger fills.
#[derive(Debug, Clone)]
pub struct PostgresDeletions(Database);

impl PostgresDeletions {
    /// Over this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }
}

#[async_trait]
impl Deletions for PostgresDeletions {
    async fn take(&self, limit: u32, lease: Duration) -> Result<Vec<SnippetId>, StoreError> {
        let query = sqlx::query(TAKE).bind(i64::from(limit)).bind(lease.as_secs_f64());
        let rows = self.0.fetch_all(query).await.map_err(store_error)?;
        let ids = rows.iter().map(|row| parsed(SnippetId::parse(row.try_get("snippet_id")?)));
        ids.collect::<Result<_, _>>().map_err(store_error)
    }

    async fn told(&self, ids: &[SnippetId]) -> Result<(), StoreError> {
        let ids: Vec<_> = ids.iter().map(SnippetId::as_str).collect();
        self.0.fetch_all(sqlx::query(TOLD).bind(ids)).await.map(drop).map_err(store_error)
    }
}
