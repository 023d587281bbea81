//! A service's own part of the database.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{AssertSqlSafe, Connection as _, Error, PgConnection, migrate::MigrateError};
use tokio::time::timeout;

use super::migrate::Run;
use crate::Migrations;

/// The longest that a migration waits for the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The schema that one service owns.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Its name, as it stands in SQL.
    pub name: &'static str,
    /// What it is made by. Their book is the table `_sqlx_migrations` in the schema itself, out of other services' way.
    pub migrations: Migrations,
}

/// Why a schema is not up to date.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The database can't be reached.
    #[error("connecting to the database: {0}")]
    Connect(#[source] Error),
    /// The schema is not there, and can't be created.
    #[error("creating the schema {0}: {1}")]
    Create(&'static str, #[source] Error),
    /// Somebody else has been migrating it for hours.
    #[error("the schema {0} is being migrated by somebody else")]
    Busy(&'static str),
    /// A migration failed, or the schema is of a later version.
    #[error("migrating the schema {0}: {1}")]
    Migrate(&'static str, #[source] MigrateError),
}

impl Schema {
    /// Brings the schema up to date, also while it is in use. Doing so twice, also at once, is the same as once: an advisory
    /// lock lets one in at a time.
    ///
    /// # Errors
    /// When the database can't be reached, or a migration fails.
    pub async fn migrate(&self, url: &SecretString) -> Result<(), SchemaError> {
        let mut connection = connect(url).await.map_err(SchemaError::Connect)?;
        let create = sqlx::raw_sql(AssertSqlSafe(self.creation())).execute(&mut connection).await;
        create.map_err(|error| SchemaError::Create(self.name, error))?;
        Run::new(self, &mut connection).run().await?;
        // It is done; a connection that can't be closed well changes nothing.
        let _ = connection.close().await;
        Ok(())
    }

    /// `CREATE SCHEMA IF NOT EXISTS` wants the right to create schemas even when this one exists, which a deployment may
    /// have made for a role that lacks that right; and of two at once one fails.
    fn creation(&self) -> String {
        let name = self.name;
        format!(
            "DO $$ BEGIN
                IF to_regnamespace('{name}') IS NULL THEN CREATE SCHEMA {name}; END IF;
            EXCEPTION WHEN duplicate_schema OR unique_violation THEN NULL;
            END $$"
        )
    }
}

async fn connect(url: &SecretString) -> Result<PgConnection, Error> {
    let connecting = timeout(CONNECT_TIMEOUT, PgConnection::connect(url.expose_secret())).await;
    connecting.map_err(|_| Error::PoolTimedOut).flatten()
}
