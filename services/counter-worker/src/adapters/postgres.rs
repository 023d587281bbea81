//! Totals in Postgres, in the schema `views`.

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    Connection as _, Error as SqlxError, PgConnection, PgPool, SqlSafeStr as _,
    error::DatabaseError,
    migrate::{Migration, MigrationType, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    domain::{Batch, Tally},
    ports::{Applied, StoreError, TotalsStore},
};

/// The worker commits one transaction at a time; the others are for pruning and readiness.
const CONNECTIONS_MAX: u32 = 3;
/// sqlx repeats a refused connection for this long before it says that it has none.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest that a migration waits for the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Set at the server, so that the locks of a worker that was paused or cut off are set free.
const SESSION_OPTIONS: [(&str, &str); 3] =
    [("statement_timeout", "10s"), ("lock_timeout", "5s"), ("idle_in_transaction_session_timeout", "10s")];

// `CREATE SCHEMA IF NOT EXISTS` wants the right to create schemas even when this one exists, which a deployment may have
// made for a role that lacks that right; and of two at once one fails.
const CREATE_SCHEMA: &str = "DO $$ BEGIN
    IF to_regnamespace('views') IS NULL THEN CREATE SCHEMA views; END IF;
EXCEPTION WHEN duplicate_schema OR unique_violation THEN NULL;
END $$";
/// Version, description and statements.
const MIGRATIONS: [(i64, &str, &str); 2] = [
    (1, "totals", include_str!("../../migrations/postgres/0001_totals.sql")),
    (2, "rollups", include_str!("../../migrations/postgres/0002_rollups.sql")),
];
const MIGRATIONS_TABLE: &str = "views._sqlx_migrations";
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
    pool: PgPool,
}

impl PostgresTotals {
    /// A store at the database `url`. Nothing is connected yet.
    ///
    /// # Errors
    /// When the address is malformed.
    pub fn new(url: &SecretString) -> Result<Self, StoreError> {
        let options = parse(url)?.options(SESSION_OPTIONS);
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(ACQUIRE_TIMEOUT);
        Ok(Self { pool: pool.connect_lazy_with(options) })
    }

    /// Creates or updates the schema. Several at once wait for each other.
    ///
    /// # Errors
    /// When the database can't be reached, or a migration fails.
    pub async fn migrate(url: &SecretString) -> Result<(), StoreError> {
        let options = parse(url)?;
        let connecting = timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options));
        let mut connection =
            connecting.await.map_err(|_| SqlxError::PoolTimedOut).flatten().map_err(classify)?;
        sqlx::query(CREATE_SCHEMA).execute(&mut connection).await.map_err(classify)?;
        let migrated = migrator().run(&mut connection).await;
        migrated.map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        connection.close().await.map_err(classify)
    }
}

#[async_trait]
impl TotalsStore for PostgresTotals {
    async fn ready(&self) -> Result<(), StoreError> {
        let query = sqlx::query_scalar(MIGRATED_VERSION).fetch_one(&self.pool);
        let version: Option<i64> = query.await.map_err(classify)?;
        // A newer schema is fine: migrations go ahead of the workers.
        if version < migrator().iter().map(|migration| migration.version).max() {
            return Err(StoreError::NotMigrated);
        }
        Ok(())
    }

    async fn apply(&self, batches: &[Batch]) -> Result<Applied, StoreError> {
        self.commit(batches).await.map_err(classify)
    }

    async fn prune(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        let before = Utc::now() - TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        let query = sqlx::query(PRUNE).bind(before).bind(i64::from(limit)).execute(&self.pool);
        Ok(query.await.map_err(classify)?.rows_affected())
    }
}

impl PostgresTotals {
    async fn commit(&self, batches: &[Batch]) -> Result<Applied, SqlxError> {
        let ids: Vec<Uuid> = batches.iter().map(Batch::id).collect();
        let mut transaction = self.pool.begin().await?;
        let new: Vec<Uuid> =
            sqlx::query_scalar(INSERT_BATCHES).bind(ids).fetch_all(&mut *transaction).await?;
        let new: HashSet<Uuid> = new.into_iter().collect();
        let tally = Tally::of(batches, &new);
        let (snippets, views): (Vec<&str>, Vec<i64>) = tally.iter().unzip();
        if !snippets.is_empty() {
            sqlx::query(UPSERT_TOTALS).bind(snippets).bind(views).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(Applied::new(batches.len(), new.len(), tally.views()))
    }
}

fn parse(url: &SecretString) -> Result<PgConnectOptions, StoreError> {
    let options: PgConnectOptions = url.expose_secret().parse().map_err(classify)?;
    Ok(options.application_name("counter-worker"))
}

/// The migrations, compiled in. Their bookkeeping lives in the same schema, out of the other service's way.
fn migrator() -> Migrator {
    let migrations = MIGRATIONS.map(|(version, description, sql)| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.into());
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    migrator
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
