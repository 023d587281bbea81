//! The connections that the stores share, and what their failures mean.

use super::super::sql::{self, Failure};
use super::standby::{Meters, Standby};
use crate::ports::StoreError;
use ::database::Options;
use parking_lot::Mutex;
use secrecy::SecretString;
use sqlx::{
    Error, Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// A standby that is slower than this leaves time to ask the primary.
const STANDBY_TIMEOUT: Duration = Duration::from_millis(500);

/// A Postgres database, and a standby of it if there is one. Cloning shares the connections.
#[derive(Debug, Clone)]
pub struct Database {
    primary: ::database::Database,
    standby: Option<Arc<Standby>>,
    edited: Arc<Mutex<Option<Instant>>>,
}

impl Database {
    /// Opens no connection yet, so that the service starts with the database away. Fails on a malformed URL.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        Self::over(options, None)
    }

    /// The same, with a standby of it at `url` for what may be read from one. It is used once [`follow`](Self::follow) runs.
    /// Fails on a malformed URL.
    pub fn with_standby(options: &Options, url: SecretString) -> anyhow::Result<Self> {
        let options_of_standby = Options {
            url,
            pool: "replica",
            acquire_timeout: STANDBY_TIMEOUT,
            statement_timeout: STANDBY_TIMEOUT,
            ..options.clone()
        };
        Self::over(options, Some(::database::Database::new("snippets", &options_of_standby)?))
    }

    fn over(options: &Options, standby: Option<::database::Database>) -> anyhow::Result<Self> {
        let meters = Meters::new();
        Ok(Self {
            primary: ::database::Database::new("snippets", options)?,
            standby: standby.map(|standby| Arc::new(Standby::new(standby, meters))),
            edited: Arc::default(),
        })
    }

    /// Looks how far the standby is, until stopped.
    pub async fn follow(&self, stop: CancellationToken) {
        if let Some(standby) = &self.standby {
            standby.follow(&self.primary, stop).await;
        }
    }

    /// Whether there is a standby.
    pub fn has_standby(&self) -> bool {
        self.standby.is_some()
    }

    /// Succeeds when there is no standby, or what may be read from it is.
    pub fn check_standby(&self) -> anyhow::Result<()> {
        self.standby.as_ref().map_or(Ok(()), |standby| standby.check()).map_err(anyhow::Error::msg)
    }

    /// Succeeds when the database answers and has the schema `snippets`.
    pub async fn check(&self) -> Result<(), StoreError> {
        let query = sqlx::query("select 1 from snippets.snippets limit 0");
        self.fetch_all(query).await.map(drop).map_err(store_error)
    }

    /// Closes the connections, waiting for what is under way.
    pub async fn close(&self) {
        self.primary.close().await;
        if let Some(standby) = &self.standby {
            standby.close().await;
        }
    }

    pub(super) async fn begin(&self) -> Result<::database::Transaction, Error> {
        self.primary.begin().await
    }

    pub(super) async fn fetch_optional(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Option<PgRow>, Error> {
        self.primary.fetch_optional(query).await
    }

    pub(super) async fn fetch_all(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, Error> {
        self.primary.fetch_all(query).await
    }

    /// Notes that something was edited, or may have been, before that is acknowledged: a standby that may lack it is not asked
    /// for what may show it.
    pub(super) fn edited(&self) {
        *self.edited.lock() = Some(Instant::now());
    }

    /// Rows that may be up to a second old, but show what this process has edited: of the standby, or else of the primary.
    pub(super) async fn read_edited<'q>(
        &self,
        query: impl Fn() -> Query<'q, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, Error> {
        let edited = *self.edited.lock();
        self.read(query, edited).await
    }

    /// Rows that may be up to a second old and that this service does not write.
    pub(super) async fn read_counted<'q>(
        &self,
        query: impl Fn() -> Query<'q, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, Error> {
        self.read(query, None).await
    }

    async fn read<'q>(
        &self,
        query: impl Fn() -> Query<'q, Postgres, PgArguments>,
        edited: Option<Instant>,
    ) -> Result<Vec<PgRow>, Error> {
        if let Some(standby) = &self.standby
            && let Some(rows) = standby.fetch_all(query(), edited).await
        {
            return Ok(rows);
        }
        self.primary.fetch_all(query()).await
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
