use super::database::{Database, store_error};
use crate::{
    adapters::sql::parsed,
    domain::{SnippetId, Version},
    ports::{Invalidations, StoreError},
};
use async_trait::async_trait;
use sqlx::Row as _;

const OWED: &str =
    "select snippet_id, version from snippets.invalidations where due <= now() order by due limit $1";
// Rows that are being written are left to the next time.
const SETTLED: &str = "delete from snippets.invalidations where snippet_id = any (array(
    select noted.snippet_id from snippets.invalidations as noted
        join unnest($1::text[], $2::bigint[]) as told (snippet_id, version) using (snippet_id)
    where noted.version <= told.version for update of noted skip locked))";

/// The table `snippets.invalidations`, which triggers fill.
#[derive(Debug, Clone)]
pub struct PostgresInvalidations(Database);

impl PostgresInvalidations {
    /// Over this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }
}

#[async_trait]
impl Invalidations for PostgresInvalidations {
    async fn owed(&self, limit: u32) -> Result<Vec<(SnippetId, Version)>, StoreError> {
        let rows = self.0.fetch_all(sqlx::query(OWED).bind(i64::from(limit))).await.map_err(store_error)?;
        let owed = rows.iter().map(|row| {
            let id = parsed(SnippetId::parse(row.try_get("snippet_id")?))?;
            Ok((id, Version::new(row.try_get("version")?)))
        });
        owed.collect::<Result<_, _>>().map_err(store_error)
    }

    async fn settled(&self, told: &[(SnippetId, Version)]) -> Result<(), StoreError> {
        let (ids, versions): (Vec<_>, Vec<_>) =
            told.iter().map(|(id, version)| (id.as_str(), version.get())).unzip();
        let query = sqlx::query(SETTLED).bind(ids).bind(versions);
        self.0.fetch_all(query).await.map(drop).map_err(store_error)
    }
}
