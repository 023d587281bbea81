//! Migrating a database that is in use: nobody is kept waiting for longer than moments.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Connection as _, Error, PgConnection, Row as _,
    migrate::{MigrateError, Migrator},
};
use tokio::time::{Instant, sleep};

use super::schema::{Schema, SchemaError};
use crate::migrations::{Migration, Way};

/// How long a migration waits for a lock. Whoever comes after it waits for the same lock behind it meanwhile.
const LOCK_TIMEOUT: &str = "500ms";
/// How long a statement may hold its locks. One that takes longer should go another [`Way`].
const STATEMENT_TIMEOUT: &str = "10s";
/// For those that have been kept waiting.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a lock is tried for.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// How long another process's migrations are waited for: indexes of large tables take their time.
const TURN_WITHIN: Duration = Duration::from_secs(4 * 60 * 60);
const TURN_INTERVAL: Duration = Duration::from_millis(200);
/// The first half of the advisory locks' keys, so that they are nobody else's; the second half is the schema.
const TURNS: i32 = i32::from_be_bytes(*b"migr");
/// Rows at a time, whose locks are held for some ten milliseconds.
const BATCH_ROWS: i64 = 1_000;
/// Between batches, so that they don't take the database for themselves.
const BATCH_PAUSE: Duration = Duration::from_millis(5);

/// Migrations of one schema, run one after the other.
pub(super) struct Run<'a> {
    schema: &'a Schema,
    connection: &'a mut PgConnection,
    migrator: Migrator,
}

impl<'a> Run<'a> {
    pub(super) fn new(schema: &'a Schema, connection: &'a mut PgConnection) -> Self {
        let mut migrator = schema.migrations.migrator();
        migrator.dangerous_set_table_name(format!("{}._sqlx_migrations", schema.name));
        migrator.set_locking(false);
        Self { schema, connection, migrator }
    }

    /// Runs what was not run before. The lock for that ends with the connection.
    pub(super) async fn run(mut self) -> Result<(), SchemaError> {
        self.take_turn().await?;
        // Compares what was run before with what there is, and makes the book.
        self.migrate_to(0, false).await?;
        for migration in self.schema.migrations.0 {
            let version = migration.version();
            if self.is_done(version).await.map_err(|error| self.failed(version, error))? {
                continue;
            }
            match migration.way() {
                Way::Transaction => self.in_transaction(version).await?,
                Way::Concurrently => self.concurrently(migration).await?,
                Way::Batches => self.in_batches(migration).await?,
            }
        }
        Ok(())
    }

    /// Asks again and again: who waits for an advisory lock holds a snapshot, for whose end `CREATE INDEX CONCURRENTLY` waits.
    async fn take_turn(&mut self) -> Result<(), SchemaError> {
        let deadline = Instant::now() + TURN_WITHIN;
        while !self
            .is_our_turn()
            .await
            .map_err(|error| SchemaError::Migrate(self.schema.name, error.into()))?
        {
            if Instant::now() > deadline {
                return Err(SchemaError::Busy(self.schema.name));
            }
            sleep(TURN_INTERVAL).await;
        }
        Ok(())
    }

    async fn is_our_turn(&mut self) -> Result<bool, Error> {
        let query = sqlx::query("SELECT pg_try_advisory_lock($1, hashtext($2))");
        query.bind(TURNS).bind(self.schema.name).fetch_one(&mut *self.connection).await?.try_get(0)
    }

    async fn is_done(&mut self, version: i64) -> Result<bool, Error> {
        let sql = format!("SELECT FROM {}._sqlx_migrations WHERE version = $1", self.schema.name);
        let query = sqlx::query(AssertSqlSafe(sql)).bind(version);
        Ok(query.fetch_optional(&mut *self.connection).await?.is_some())
    }

    async fn in_transaction(&mut self, version: i64) -> Result<(), SchemaError> {
        self.limit(version, LOCK_TIMEOUT, STATEMENT_TIMEOUT).await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.migrate_to(version, false).await {
                Err(SchemaError::Migrate(_, error)) if is_locked(&error) && Instant::now() < deadline => {
                    sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }

    /// Building an index waits for transactions that are under way, and keeps nobody waiting.
    async fn concurrently(&mut self, migration: &Migration) -> Result<(), SchemaError> {
        let version = migration.version();
        self.limit(version, "0", "0").await?;
        for statement in migration.sql().split(';').filter(|statement| !statement.trim().is_empty()) {
            let done =
                sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut *self.connection).await;
            done.map_err(|error| self.failed(version, error))?;
        }
        self.migrate_to(version, true).await
    }

    async fn in_batches(&mut self, migration: &Migration) -> Result<(), SchemaError> {
        let version = migration.version();
        self.limit(version, LOCK_TIMEOUT, STATEMENT_TIMEOUT).await?;
        let name = self.schema.name;
        let make = format!(
            "CREATE TABLE IF NOT EXISTS {name}._batches (version bigint PRIMARY KEY, done_to text NOT NULL)"
        );
        let outcome = sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *self.connection).await;
        outcome.map_err(|error| self.failed(version, error))?;
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            match self.batch(migration).await {
                Ok(true) => deadline = Instant::now() + PATIENCE,
                Ok(false) => return self.migrate_to(version, true).await,
                Err(error) if is_lock(&error) && Instant::now() < deadline => sleep(PAUSE).await,
                Err(error) => return Err(self.failed(version, error)),
            }
            sleep(BATCH_PAUSE).await;
        }
    }

    /// The next rows, and how far that is, in one transaction; whether there were any.
    async fn batch(&mut self, migration: &Migration) -> Result<bool, Error> {
        let book = format!("{}._batches", self.schema.name);
        let mut transaction = self.connection.begin().await?;
        let find = sqlx::query(AssertSqlSafe(format!("SELECT done_to FROM {book} WHERE version = $1")));
        let found = find.bind(migration.version()).fetch_optional(&mut *transaction).await?;
        let done_to: String = found.map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
        let next = sqlx::query(migration.sql()).bind(done_to).bind(BATCH_ROWS);
        let done_to: Option<String> = next.fetch_one(&mut *transaction).await?.try_get(0)?;
        let Some(done_to) = done_to else { return Ok(false) };
        let note = format!(
            "INSERT INTO {book} VALUES ($1, $2) ON CONFLICT (version) DO UPDATE SET done_to = excluded.done_to"
        );
        let note = sqlx::query(AssertSqlSafe(note)).bind(migration.version()).bind(done_to);
        note.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Runs migrations up to that one, or notes it as done.
    async fn migrate_to(&mut self, version: i64, is_done: bool) -> Result<(), SchemaError> {
        let migrated = self.migrator.run_direct(Some(version), self.connection, is_done).await;
        migrated.map_err(|error| SchemaError::Migrate(self.schema.name, error))
    }

    async fn limit(&mut self, version: i64, lock: &str, statement: &str) -> Result<(), SchemaError> {
        let limits = format!("SET lock_timeout = '{lock}'; SET statement_timeout = '{statement}'");
        let limited = sqlx::raw_sql(AssertSqlSafe(limits)).execute(&mut *self.connection).await;
        limited.map(drop).map_err(|error| self.failed(version, error))
    }

    fn failed(&self, version: i64, error: Error) -> SchemaError {
        SchemaError::Migrate(self.schema.name, MigrateError::ExecuteMigration(error, version))
    }
}

fn is_locked(error: &MigrateError) -> bool {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => is_lock(error),
        _ => false,
    }
}

/// A lock that was not to be had, or a deadlock: what was begun was undone.
fn is_lock(error: &Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["55P03", "40P01"].contains(&&*code))
}
