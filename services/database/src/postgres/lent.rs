//! A connection out of the pool.

use std::{io, sync::Arc};

use sqlx::{Error, PgConnection, Postgres, pool::PoolConnection};
use tokio::time::{Instant, timeout_at};

use super::pool::Pool;

/// A connection of the pool. Unless it is given back it is thrown away, also when the caller goes away half way: the pool
/// would wait for an answer that may never come before it lends the connection again.
#[derive(Debug)]
pub(super) struct Lent {
    connection: Option<PoolConnection<Postgres>>,
    pool: Arc<Pool>,
}

impl Lent {
    pub(super) fn new(connection: PoolConnection<Postgres>, pool: Arc<Pool>) -> Self {
        Self { connection: Some(connection), pool }
    }

    /// Runs something on the connection. The outer error says that it was not done in time, or that an earlier one was not;
    /// the inner one is the database's.
    pub(super) async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
        deadline: Instant,
    ) -> Result<Result<T, Error>, Error> {
        let connection = self.connection.as_deref_mut().ok_or_else(thrown_away)?;
        if let Ok(done) = timeout_at(deadline, work(connection)).await {
            return Ok(done);
        }
        self.throw_away();
        Err(unanswered())
    }

    pub(super) fn give_back(mut self) {
        self.end(true);
    }

    pub(super) fn throw_away(&mut self) {
        self.end(false);
    }

    fn end(&mut self, is_kept: bool) {
        if let Some(connection) = self.connection.take() {
            self.pool.take_back(connection, is_kept);
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.throw_away();
    }
}

fn unanswered() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database did not answer in time"))
}

fn thrown_away() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::NotConnected, "a statement before this one has failed"))
}
