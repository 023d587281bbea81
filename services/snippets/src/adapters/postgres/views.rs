use super::database::{Database, is_missing, store_error};
use crate::{
    adapters::sql::{parsed, views},
    domain::SnippetId,
    ports::{StoreError, ViewTotals},
};
use async_trait::async_trait;
use sqlx::{Error, Row as _, postgres::PgRow};
use std::collections::HashMap;

const TOTALS: &str = "select snippet_id, views from views.totals where snippet_id = any($1)";

/// The table `views.totals`, which the counter worker writes.
#[derive(Debug, Clone)]
pub struct PostgresViewTotals(Database);

impl PostgresViewTotals {
    /// Over this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }
}

#[async_trait]
impl ViewTotals for PostgresViewTotals {
    async fn totals(&self, ids: &[SnippetId]) -> Result<HashMap<SnippetId, u64>, StoreError> {
        let ids: Vec<_> = ids.iter().map(SnippetId::as_str).collect();
        match self.0.read_counted(|| sqlx::query(TOTALS).bind(ids.clone())).await {
            Ok(rows) => rows.iter().map(to_total).collect::<Result<_, _>>().map_err(store_error),
            // The worker has not made its schema yet, so nobody has counted anything.
            Err(error) if is_missing_table(&error) => Ok(HashMap::new()),
            Err(error) => Err(store_error(error)),
        }
    }
}

/// Whether a schema or table does not exist.
pub(super) fn is_missing_table(error: &Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| is_missing(&code))
}

fn to_total(row: &PgRow) -> Result<(SnippetId, u64), Error> {
    let id = parsed(SnippetId::parse(row.try_get("snippet_id")?))?;
    Ok((id, views(row.try_get("views")?)?))
}
