//! Several statements, all or nothing.

use sqlx::{
    Error, PgConnection, Postgres, SqlSafeStr as _,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use tokio::time::Instant;

use super::lent::Lent;

/// A transaction, with one deadline for the whole of it.
///
/// Where it is not committed, its connection is thrown away, and the server rolls back: after a failed statement, after the
/// deadline, and when it is dropped.
#[derive(Debug)]
pub struct Transaction {
    lent: Lent,
    deadline: Instant,
}

impl Transaction {
    pub(super) async fn begin(lent: Lent, deadline: Instant) -> Result<Self, Error> {
        let mut transaction = Self { lent, deadline };
        // Said, since a role or a database may have another default.
        transaction.command("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        Ok(transaction)
    }

    /// Runs a statement and gives all of its rows.
    ///
    /// # Errors
    /// The database's own, or that it did not answer in time. The transaction can't be committed any more.
    pub async fn fetch_all(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, Error> {
        self.run(async |connection| query.fetch_all(connection).await).await
    }

    /// Runs a statement and gives the number of rows that it changed.
    ///
    /// # Errors
    /// As [`Self::fetch_all`].
    pub async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<u64, Error> {
        self.run(async |connection| query.execute(connection).await).await.map(|done| done.rows_affected())
    }

    /// Commits.
    ///
    /// # Errors
    /// When nothing was committed, or the database did not answer in time: then it is not known.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.command("COMMIT").await?;
        self.lent.give_back();
        Ok(())
    }

    async fn command(&mut self, sql: &'static str) -> Result<(), Error> {
        self.run(async |connection| sqlx::raw_sql(sql.into_sql_str()).execute(connection).await)
            .await
            .map(drop)
    }

    async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let done = self.lent.run(work, self.deadline).await.flatten();
        if done.is_err() {
            // After an error Postgres takes COMMIT for ROLLBACK, and says that all went well.
            self.lent.throw_away();
        }
        done
    }
}
