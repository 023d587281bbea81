//! Totals in Postgres, in the schema `views`.

mod apply;
mod prune;
mod rollups;
mod stripes;

use std::{io::ErrorKind, time::Duration};

use async_trait::async_trait;
use database::{Database, Migration, Migrations, Options, Schema, Transaction};
use secrecy::SecretString;
use sqlx::{Error as SqlxError, Row as _, error::DatabaseError};
use uuid::Uuid;

use crate::{
    domain::Batch,
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
        Migration::new(1, "totals", include_str!("../../migrations/postgres/0001_totals.sql")),
        Migration::new(2, "rollups", include_str!("../../migrations/postgres/0002_rollups.sql")),
        Migration::new(
            3,
            "stripe columns",
            include_str!("../../migrations/postgres/0003_stripe_columns.sql"),
        ),
        Migration::new(
            4,
            "stripe indexes",
            include_str!("../../migrations/postgres/0004_stripe_indexes.sql"),
        )
        .concurrently(),
        Migration::new(5, "stripes", include_str!("../../migrations/postgres/0005_stripes.sql")),
    ]),
};
const MIGRATED_VERSION: &str = "SELECT max(version) FROM views._sqlx_migrations WHERE success";

/// Totals, roll-ups, and what was deleted, in the tables of the schema `views`.
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
        let mut transaction = self.database.begin().await.map_err(classify)?;
        let applied = apply::apply(&mut transaction, batches).await?;
        transaction.commit().await.map_err(classify)?;
        Ok(applied)
    }

    async fn prune_batches(&self, age: Duration, limit: u32, from: &mut Uuid) -> Result<u64, StoreError> {
        self.prune(async |transaction| prune::batches(transaction, age, limit, from).await).await
    }

    async fn prune_hourly(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        self.prune(async |transaction| prune::hourly(transaction, age, limit).await).await
    }

    async fn prune_deleted(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        self.prune(async |transaction| prune::deleted(transaction, age, limit).await).await
    }
}

impl PostgresTotals {
    async fn prune(
        &self,
        step: impl AsyncFnOnce(&mut Transaction) -> Result<u64, SqlxError>,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.database.begin().await.map_err(classify)?;
        let pruned = step(&mut transaction).await.map_err(classify)?;
        transaction.commit().await.map_err(classify)?;
        Ok(pruned)
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
        // The server's statement timeout, or else ours.
        Some("57014") => StoreError::TooSlow(Box::new(error)),
        _ if is_timeout(&error) => StoreError::TooSlow(Box::new(error)),
        _ => StoreError::Unavailable(Box::new(error)),
    }
}

fn is_timeout(error: &SqlxError) -> bool {
    matches!(error, SqlxError::Io(io) if io.kind() == ErrorKind::TimedOut)
}
