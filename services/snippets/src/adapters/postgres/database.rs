//! The pool of connections, and a deadline on everything done with it.

use super::super::sql::{self, Failure};
use crate::ports::StoreError;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    Connection as _, Error, Executor as _, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::Query,
};
use std::{io, time::Duration};
use tokio::time::timeout;

/// A connection that was idle for longer is tried before use: the server may have gone since.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct Options {
    /// `postgres://user:password@host:port/database`.
    pub url: SecretString,
    /// How many connections are kept at most.
    pub connections_max: u32,
    /// How long to wait for a connection before the store counts as unavailable.
    pub acquire_timeout: Duration,
    /// How long a statement may take.
    pub statement_timeout: Duration,
}

impl Options {
    /// 16 connections, 1 s to get one, and 2 s for a statement: whoever waits longer is better told so.
    pub fn new(url: SecretString) -> Self {
        Self {
            url,
            connections_max: 16,
            acquire_timeout: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(2),
        }
    }
}

/// A Postgres database. Cloning shares the connections.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
    statement_timeout: Duration,
}

impl Database {
    /// Opens no connection yet, so that the service starts with the database away. Fails on a malformed URL.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        let statement_timeout_ms = options.statement_timeout.as_millis().to_string();
        let connect_options = options
            .url
            .expose_secret()
            .parse::<PgConnectOptions>()?
            .application_name("snippets")
            .options([("statement_timeout", statement_timeout_ms)]);
        let pool = PgPoolOptions::new()
            .max_connections(options.connections_max)
            .acquire_timeout(options.acquire_timeout)
            // sqlx would ask the server before each use, which doubles the round trips of a read.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(connect_options);
        Ok(Self { pool, statement_timeout: options.statement_timeout })
    }

    /// Succeeds when the database answers and has the schema `snippets`.
    pub async fn check(&self) -> Result<(), StoreError> {
        let query = sqlx::query("select 1 from snippets.snippets limit 0");
        self.fetch_all(query).await.map(drop).map_err(store_error)
    }

    /// Closes the connections, waiting for what is under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(super) async fn fetch_optional(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Option<PgRow>, Error> {
        self.fetch_all(query).await.map(|mut rows| rows.pop())
    }

    /// The statement timeout of the server does not help when it is the server that hangs, or the network;
    /// such a connection is thrown away, since the pool would wait for it for as long.
    pub(super) async fn fetch_all(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, Error> {
        let mut lent = Lent(Some(self.pool.acquire().await?));
        let patience = self.statement_timeout + Duration::from_millis(100);
        match timeout(patience, lent.fetch(query)).await {
            Ok(rows) => {
                lent.give_back();
                rows
            }
            Err(_) => Err(unanswered()),
        }
    }
}

/// A connection of the pool for one statement. Unless it is given back it is thrown away, also when the caller goes away
/// half way: the pool would wait for an answer that may never come before it lends the connection again.
struct Lent(Option<PoolConnection<Postgres>>);

impl Lent {
    async fn fetch(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, Error> {
        let connection = self.0.as_deref_mut().ok_or_else(unanswered)?;
        connection.fetch_all(query).await
    }

    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

fn unanswered() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database did not answer in time"))
}

/// Sorts by SQLSTATE; <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(super) fn store_error(error: Error) -> StoreError {
    sql::classify(error, |database| database.code().map_or(Failure::Internal, |code| failure(&code)))
}

fn failure(code: &str) -> Failure {
    // The connection broke, or the server went, maybe after it had committed.
    if code.starts_with("08") || ["57P01", "57P02", "58030"].contains(&code) {
        return Failure::Indeterminate;
    }
    // Authorization and database name: the deployment is not right yet. Rollbacks such as deadlocks, resources
    // and operator intervention such as the statement timeout: it is not right now.
    let class = ["28", "3D", "40", "53", "57"].iter().any(|class| code.starts_with(class));
    // Not migrated yet. Lock not available. A replica that was not promoted yet.
    if class || is_missing(code) || ["55P03", "25006"].contains(&code) {
        return Failure::Unavailable;
    }
    Failure::Internal
}

/// Whether the code means that a schema or table does not exist.
pub(super) fn is_missing(code: &str) -> bool {
    ["42P01", "3F000"].contains(&code)
}
