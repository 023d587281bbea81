use super::database::{Database, store_error};
use crate::{
    adapters::sql::{parsed, views},
    domain::SnippetId,
    ports::{StoreError, ViewTotals},
};
use async_trait::async_trait;
use sqlx::{Error, Row as _, sqlite::SqliteRow};
use std::collections::HashMap;

// A list of any length is one parameter, as JSON.
const TOTALS: &str =
    "select snippet_id, views from views.totals where snippet_id in (select value from json_each(?1))";

/// The table `totals` of the attached `views.db`, which the counter worker writes.
#[derive(Debug, Clone)]
pub struct SqliteViewTotals(Database);

impl SqliteViewTotals {
    /// Over this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }
}

#[async_trait]
impl ViewTotals for SqliteViewTotals {
    async fn totals(&self, ids: &[SnippetId]) -> Result<HashMap<SnippetId, u64>, StoreError> {
        let ids = ids.iter().map(SnippetId::as_str).collect::<serde_json::Value>().to_string();
        match self.0.fetch_all(sqlx::query(TOTALS).bind(ids)).await {
            Ok(rows) => rows.iter().map(to_total).collect::<Result<_, _>>().map_err(store_error),
            // The worker has not made its table yet, so nobody has counted anything.
            Err(error) if is_missing_table(&error) => Ok(HashMap::new()),
            Err(error) => Err(store_error(error)),
        }
    }
}

/// Whether a table does not exist; SQLite has no code of its own for it.
pub(super) fn is_missing_table(error: &Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().contains("no such table"))
}

fn to_total(row: &SqliteRow) -> Result<(SnippetId, u64), Error> {
    let id = parsed(SnippetId::parse(row.try_get("snippet_id")?))?;
    Ok((id, views(row.try_get("views")?)?))
}
