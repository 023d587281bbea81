//! Totals in Postgres, in the schema `views`.

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use database::{Database, Migrations, Options, Schema};
use secrecy::SecretString;
use sqlx::{Error as SqlxError, Row as _, error::DatabaseError};
use uuid::Uuid;

use crate::{
    domain::{Batch, Tally},
    ports::{Applied, StoreError, TotalsStore},
};

/// The worker commits one transaction at a time; the others are for pruning and readiness.
const CONNECTIONS_MAX: u32 = 3;
/// sqlx repeats a refused connection for this long before it says that it has none.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a whole transaction may take: tens of thousands of rows on a slow disk.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

const SCHEMA: Schema = Schema {
    name: "views",
    migrations: Migrations(&[
        (1, "totals", include_str!("../../migrations/postgres/0001_totals.sql")),
        (2, "rollups", include_str!("../../migrations/postgres/0002_rollups.sql")),
    ]),
};
const MIGRATED_VERSION: &str = "SELECT max(version) FROM views._sqlx_migrations WHERE success";
// The order is what keeps workers that hold the same batches from waiting for each other in a circle.
const INSERT_BATCHES: &str = "INSERT INTO views.batches (batch_id)
    SELECT id FROM unnest($1::uuid[]) AS id ORDER BY id
    ON CONFLICT DO NOTHING RETURNING batch_id";
// The order again; and a total that would overflow stops, or its snippet could never be counted again.
const UPSERT_TOTALS: &str = "INSERT INTO views.totals AS total (snippet_id, views)
    SELECT snippet_id, views FROM unnest($1::text[], $2::bigint[]) AS new (snippet_id, views)
    ORDER BY snippet_id COLLATE \"C\"
    ON CONFLICT (snippet_id) DO UPDATE SET
        views = CASE WHEN total.views > 9223372036854775807 - excluded.views THEN 9223372036854775807
                     ELSE total.views + excluded.views END,
        updated_at = excluded.updated_at";
// Workers that prune side by side skip each other's rows.
const PRUNE: &str = "DELETE FROM views.batches WHERE batch_id IN (
    SELECT batch_id FROM views.batches WHERE applied_at < $1
    ORDER BY applied_at LIMIT $2 FOR UPDATE SKIP LOCKED)";

/// Totals in the tables `views.totals` and `views.batches`.
#[derive(Debug, Clone)]
pub struct PostgresTotals {
    database: Database,
}

impl PostgresTotals {
    /// A store at the database `url`. Nothing is connected yet.
    ///
    /// # Errors
    /// When the address is malformed.
    pub fn new(url: &SecretString) -> Result<Self, StoreError> {
        let options = Options {
            connections_max: CONNECTIONS_MAX,
            acquire_timeout: ACQUIRE_TIMEOUT,
            statement_timeout: STATEMENT_TIMEOUT,
            ..Options::new(url.clone())
        };
        Self::with_options(&options)
    }

    /// A store with deadlines of one's own.
    ///
    /// # Errors
    /// When the address is malformed.
    pub fn with_options(options: &Options) -> Result<Self, StoreError> {
        Ok(Self { database: Database::new("counter-worker", options).map_err(classify)? })
    }

    /// Creates or updates the schema. Several at once wait for each other.
    ///
    /// # Errors
    /// When the database can't be reached, or a migration fails.
    pub async fn migrate(url: &SecretString) -> Result<(), StoreError> {
        SCHEMA.migrate(url).await.map_err(|error| StoreError::Unavailable(Box::new(error)))
    }
}

#[async_trait]
impl TotalsStore for PostgresTotals {
    async fn ready(&self) -> Result<(), StoreError> {
        let row = self.database.fetch_optional(sqlx::query(MIGRATED_VERSION)).await.map_err(classify)?;
        let version: Option<i64> = row.map(|row| row.try_get(0)).transpose().map_err(classify)?.flatten();
        // A newer schema is fine: migrations go ahead of the workers.
        if version < Some(SCHEMA.migrations.version()) {
            return Err(StoreError::NotMigrated);
        }
        Ok(())
    }

    async fn apply(&self, batches: &[Batch]) -> Result<Applied, StoreError> {
        self.commit(batches).await.map_err(classify)
    }

    async fn prune(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        let before = Utc::now() - TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        let mut transaction = self.database.begin().await.map_err(classify)?;
        let prune = sqlx::query(PRUNE).bind(before).bind(i64::from(limit));
        let pruned = transaction.execute(prune).await.map_err(classify)?;
        transaction.commit().await.map_err(classify)?;
        Ok(pruned)
    }
}

impl PostgresTotals {
    async fn commit(&self, batches: &[Batch]) -> Result<Applied, SqlxError> {
        let ids: Vec<Uuid> = batches.iter().map(Batch::id).collect();
        let mut transaction = self.database.begin().await?;
        let rows = transaction.fetch_all(sqlx::query(INSERT_BATCHES).bind(ids)).await?;
        let new = rows.iter().map(|row| row.try_get(0)).collect::<Result<HashSet<Uuid>, _>>()?;
        let tally = Tally::of(batches, &new);
        let (snippets, views): (Vec<&str>, Vec<i64>) = tally.iter().unzip();
        if !snippets.is_empty() {
            transaction.execute(sqlx::query(UPSERT_TOTALS).bind(snippets).bind(views)).await?;
        }
        transaction.commit().await?;
        Ok(Applied::new(batches.len(), new.len(), tally.views()))
    }
}

fn classify(error: SqlxError) -> StoreError {
    let state = error.as_database_error().and_then(DatabaseError::code);
    match state.as_deref() {
        Some("42P01" | "3F000") => StoreError::NotMigrated,
        // Data exceptions and violated constraints: all that a batch can be guilty of. Anything else, a missing
        // permission included, is mended by somebody else, and the batch waits.
        Some(state) if state.starts_with("22") || state.starts_with("23") => {
            StoreError::Refused(Box::new(error))
        }
        _ => StoreError::Unavailable(Box::new(error)),
    }
}
