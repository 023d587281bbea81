//! The connections that the stores share, and what their failures mean.

use super::super::sql::{self, Failure};
use crate::ports::StoreError;
use ::database::Options;
use sqlx::{
    Error, Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};

/// A Postgres database. Cloning shares the connections.
#[derive(Debug, Clone)]
pub struct Database(::database::Database);

impl Database {
    /// Opens no connection yet, so that the service starts with the database away. Fails on a malformed URL.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        Ok(Self(::database::Database::new("snippets", options)?))
    }

    /// Succeeds when the database answers and has the schema `snippets`.
    pub async fn check(&self) -> Result<(), StoreError> {
        let query = sqlx::query("select 1 from snippets.snippets limit 0");
        self.fetch_all(query).await.map(drop).map_err(store_error)
    }

    /// Closes the connections, waiting for what is under way.
    pub async fn close(&self) {
        self.0.close().await;
    }

    pub(super) async fn begin(&self) -> Result<::database::Transaction, Error> {
        self.0.begin().await
    }

    pub(super) async fn fetch_optional(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Option<PgRow>, Error> {
        self.0.fetch_optional(query).await
    }

    pub(super) async fn fetch_all(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, Error> {
        self.0.fetch_all(query).await
    }
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
