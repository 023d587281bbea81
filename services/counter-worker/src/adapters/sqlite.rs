//! Totals in a SQLite file, for the embedded mode.

mod apply;
mod prune;

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use database::{Migration, Migrations};
use sqlx::{
    Error as SqlxError, Sqlite, SqlitePool, Transaction,
    error::{DatabaseError, ErrorKind},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

use crate::{
    domain::Batch,
    ports::{Applied, StoreError, TotalsStore},
};

/// How long a write waits for another's, be it in this process or not.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const MIGRATIONS: Migrations = Migrations(&[
    Migration::new(1, "totals", include_str!("../../migrations/sqlite/0001_totals.sql")),
    Migration::new(2, "rollups", include_str!("../../migrations/sqlite/0002_rollups.sql")),
]);

/// Delete all that is kept of a snippet.
const DELETE_ALL_OF: [&str; 3] = [
    "DELETE FROM totals WHERE snippet_id = ?",
    "DELETE FROM hourly WHERE snippet_id = ?",
    "DELETE FROM daily WHERE snippet_id = ?",
];

/// Totals, roll-ups, and what was deleted, in one file.
#[derive(Debug, Clone)]
pub struct SqliteTotals {
    pool: SqlitePool,
}

impl SqliteTotals {
    /// Opens the file, creating and migrating it as needed.
    ///
    /// # Errors
    /// When the file can't be opened or written, or is of a later version.
    pub async fn open(file: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            // Readers, which are other connections to the file, never wait for a commit.
            .journal_mode(SqliteJournalMode::Wal)
            // A commit is answered for, so it must outlive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        // SQLite has one writer at a time; a second connection would only wait for the first.
        let pool =
            SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(classify)?;
        let migrated = MIGRATIONS.migrator().run(&pool).await;
        migrated.map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        Ok(Self { pool })
    }

    /// Closes the file, which folds the write-ahead log into it.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

#[async_trait]
impl TotalsStore for SqliteTotals {
    async fn ready(&self) -> Result<(), StoreError> {
        let query = sqlx::query("SELECT views FROM totals LIMIT 0").execute(&self.pool);
        query.await.map(drop).map_err(classify)
    }

    async fn apply(&self, batches: &[Batch]) -> Result<Applied, StoreError> {
        let mut transaction = self.begin().await?;
        let applied = apply::apply(&mut transaction, batches).await?;
        transaction.commit().await.map_err(classify)?;
        Ok(applied)
    }

    async fn prune_batches(&self, age: Duration, limit: u32, from: &mut Uuid) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let pruned = prune::batches(&mut transaction, age, limit, from).await.map_err(classify)?;
        transaction.commit().await.map_err(classify)?;
        Ok(pruned)
    }

    async fn prune_hourly(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        prune::hourly(&self.pool, age, limit).await.map_err(classify)
    }

    async fn prune_deleted(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let pruned = prune::deleted(&mut transaction, age, limit).await.map_err(classify)?;
        transaction.commit().await.map_err(classify)?;
        Ok(pruned)
    }
}

impl SqliteTotals {
    /// Immediate: a transaction that begins by reading can't wait for its turn to write.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(classify)
    }
}

fn classify(error: SqlxError) -> StoreError {
    let kind = error.as_database_error().map(DatabaseError::kind);
    match kind {
        None | Some(ErrorKind::Other) => StoreError::Unavailable(Box::new(error)),
        // A violated constraint is all that a batch can be guilty of.
        Some(_) => StoreError::Refused(Box::new(error)),
    }
}
