//! Totals in a SQLite file, for the embedded mode.

use std::{collections::HashSet, path::Path, time::Duration};

use async_trait::async_trait;
use database::Migrations;
use sqlx::{
    Error as SqlxError, Sqlite, SqlitePool, Transaction,
    error::{DatabaseError, ErrorKind},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

use crate::{
    domain::{Batch, Tally},
    ports::{Applied, StoreError, TotalsStore},
};

/// How long a write waits for another's, be it in this process or not.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const MIGRATIONS: Migrations = Migrations(&[
    (1, "totals", include_str!("../../migrations/sqlite/0001_totals.sql")),
    (2, "rollups", include_str!("../../migrations/sqlite/0002_rollups.sql")),
]);

const INSERT_BATCH: &str =
    "INSERT INTO batches (batch_id, applied_at) VALUES (?, unixepoch()) ON CONFLICT DO NOTHING";
// A sum beyond 64 bits would become a floating point number, which the column refuses.
const UPSERT_TOTAL: &str = "INSERT INTO totals (snippet_id, views, updated_at) VALUES (?, ?, unixepoch())
    ON CONFLICT (snippet_id) DO UPDATE SET
        views = CASE WHEN views > 9223372036854775807 - excluded.views THEN 9223372036854775807
                     ELSE views + excluded.views END,
        updated_at = excluded.updated_at";
const PRUNE: &str = "DELETE FROM batches WHERE batch_id IN (
    SELECT batch_id FROM batches WHERE applied_at < unixepoch() - ? ORDER BY applied_at LIMIT ?)";

/// Totals in the tables `totals` and `batches` of one file.
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
        self.commit(batches).await.map_err(classify)
    }

    async fn prune(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        let age_seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        let query = sqlx::query(PRUNE).bind(age_seconds).bind(limit).execute(&self.pool);
        Ok(query.await.map_err(classify)?.rows_affected())
    }
}

impl SqliteTotals {
    async fn commit(&self, batches: &[Batch]) -> Result<Applied, SqlxError> {
        // Immediate: a transaction that begins by reading can't wait for its turn to write.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let new = insert_batches(&mut transaction, batches).await?;
        let tally = Tally::of(batches, &new);
        for (snippet_id, views) in tally.iter() {
            sqlx::query(UPSERT_TOTAL).bind(snippet_id).bind(views).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(Applied::new(batches.len(), new.len(), tally.views()))
    }
}

async fn insert_batches(
    transaction: &mut Transaction<'_, Sqlite>,
    batches: &[Batch],
) -> Result<HashSet<Uuid>, SqlxError> {
    let mut new = HashSet::new();
    for batch in batches {
        let inserted = sqlx::query(INSERT_BATCH).bind(batch.id()).execute(&mut **transaction).await?;
        if inserted.rows_affected() > 0 {
            new.insert(batch.id());
        }
    }
    Ok(new)
}

fn classify(error: SqlxError) -> StoreError {
    let kind = error.as_database_error().map(DatabaseError::kind);
    match kind {
        None | Some(ErrorKind::Other) => StoreError::Unavailable(Box::new(error)),
        // A violated constraint is all that a batch can be guilty of.
        Some(_) => StoreError::Refused(Box::new(error)),
    }
}
