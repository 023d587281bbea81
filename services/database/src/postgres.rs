//! The pool of connections to Postgres, and a deadline on everything done with it.

mod lent;
mod migrate;
mod pool;
mod schema;
mod transaction;

use std::{sync::Arc, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    Connection as _, Error, Postgres,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::Query,
};
use tokio::time::Instant;

use lent::Lent;
use pool::Pool;
pub use schema::{Schema, SchemaError};
pub use transaction::Transaction;

/// A connection that was idle for longer is tried before use: the server may have gone since.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// How much longer than the server is waited for: its own word about a statement that took too long is the better one.
const GRACE: Duration = Duration::from_millis(100);
/// Statements that each connection has prepared at most; then the one that was used least recently is forgotten. A service has
/// a few dozen.
const PREPARED_MAX: usize = 100;

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct Options {
    /// `postgres://user:password@host:port/database`.
    pub url: SecretString,
    /// What its connections are called in metrics.
    pub pool: &'static str,
    /// How many connections are kept at most.
    pub connections_max: u32,
    /// How long to wait for a connection before the database counts as unavailable.
    pub acquire_timeout: Duration,
    /// How long a statement may take, and all statements of a transaction together.
    pub statement_timeout: Duration,
}

impl Options {
    /// The pool `primary` of 16 connections, 1 s to get one, and 2 s for a statement: whoever waits longer is better told so.
    pub fn new(url: SecretString) -> Self {
        Self {
            url,
            pool: "primary",
            connections_max: 16,
            acquire_timeout: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(2),
        }
    }
}

/// A Postgres database. Cloning shares the connections.
///
/// The statement timeout of the server does not help when it is the server that hangs, or the network. So there is a
/// deadline on this side, too; a connection on which it passes is thrown away, since the pool would wait for it for as long.
#[derive(Debug, Clone)]
pub struct Database {
    pool: Arc<Pool>,
    statement_timeout: Duration,
}

impl Database {
    /// Opens no connection yet, so that a service starts with the database away. `application_name` is what the server's
    /// own tools show.
    ///
    /// # Errors
    /// When the URL is malformed.
    pub fn new(application_name: &str, options: &Options) -> Result<Self, Error> {
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
            .connect_lazy_with(connect_options(application_name, options)?);
        let pool = Arc::new(Pool::new(options.pool, pool));
        Ok(Self { pool, statement_timeout: options.statement_timeout })
    }

    /// Closes the connections, waiting for what is under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The one row of a statement, or none.
    ///
    /// # Errors
    /// As [`Self::fetch_all`].
    pub async fn fetch_optional(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Option<PgRow>, Error> {
        self.fetch_all(query).await.map(|mut rows| rows.pop())
    }

    /// Runs a statement and gives all of its rows.
    ///
    /// # Errors
    /// The database's own, or that it did not answer in time: then it is not known whether the statement had its effect.
    pub async fn fetch_all(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, Error> {
        let (mut lent, deadline) = self.lend().await?;
        let rows = lent.run(async |connection| query.fetch_all(connection).await, deadline).await?;
        lent.give_back();
        rows
    }

    /// Begins a transaction, READ COMMITTED: each statement sees what was committed before it began.
    ///
    /// # Errors
    /// The database's own, or that it did not answer in time.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        let (lent, deadline) = self.lend().await?;
        Transaction::begin(lent, deadline).await
    }

    /// The deadline does not include waiting for the connection, which has its own.
    async fn lend(&self) -> Result<(Lent, Instant), Error> {
        let lent = self.pool.lend().await?;
        Ok((lent, Instant::now() + self.statement_timeout + GRACE))
    }
}

fn connect_options(application_name: &str, options: &Options) -> Result<PgConnectOptions, Error> {
    let connect: PgConnectOptions = options.url.expose_secret().parse()?;
    let timeout_ms = options.statement_timeout.as_millis().to_string();
    // To wait for a lock for all of the time would leave none for what the lock is for; and it is told apart from a slow statement.
    let lock_timeout_ms = options.statement_timeout.as_millis().div_ceil(2).to_string();
    // At the server too, so that the locks of a process that was paused or cut off are set free.
    let session = [
        ("statement_timeout", &timeout_ms),
        ("lock_timeout", &lock_timeout_ms),
        ("idle_in_transaction_session_timeout", &timeout_ms),
    ];
    let connect = connect.application_name(application_name).options(session);
    Ok(connect.statement_cache_capacity(PREPARED_MAX))
}
