use super::{
    super::sql::page_token_key,
    database::{Database, store_error},
};
use crate::{
    domain::PageTokenKey,
    ports::{PageTokenKeys, StoreError},
};
use async_trait::async_trait;
use sqlx::{Error, Row as _};

const GET: &str = "select key from snippets.page_token_key";

/// The key of page tokens in the table `snippets.page_token_key`, which the migration made.
#[derive(Debug, Clone)]
pub struct PostgresPageTokenKeys(Database);

impl PostgresPageTokenKeys {
    /// Over this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    async fn read(&self) -> Result<PageTokenKey, Error> {
        let row = self.0.fetch_optional(sqlx::query(GET)).await?;
        page_token_key(row.as_ref().map(|row| row.try_get("key")).transpose()?)
    }
}

#[async_trait]
impl PageTokenKeys for PostgresPageTokenKeys {
    async fn page_token_key(&self) -> Result<PageTokenKey, StoreError> {
        self.read().await.map_err(store_error)
    }
}
