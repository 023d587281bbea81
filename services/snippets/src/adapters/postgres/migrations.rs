use super::super::sql;
use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{Connection as _, PgConnection};

const MIGRATIONS: &[(i64, &str, &str)] =
    &[(1, "initial", include_str!("../../../migrations/postgres/0001_initial.sql"))];

/// Brings the schema `snippets` up to date. Doing so twice, also at once, is the same as once: an advisory
/// lock lets one in at a time.
pub async fn migrate(url: &SecretString) -> anyhow::Result<()> {
    let mut connection =
        PgConnection::connect(url.expose_secret()).await.context("connecting to the database")?;
    create_schema(&mut connection).await.context("creating the schema snippets")?;
    let mut migrator = sql::migrator(MIGRATIONS);
    // The counter worker migrates in the same database: each service keeps its own book.
    migrator.dangerous_set_table_name("snippets._sqlx_migrations");
    migrator.run_direct(None, &mut connection, false).await.context("migrating the schema snippets")?;
    connection.close().await.context("closing the connection")
}

/// `create schema if not exists` wants the right to create schemas even when this one exists; a deployment may have
/// made it for a role that lacks that right.
async fn create_schema(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let exists = sqlx::query_scalar("select to_regnamespace('snippets') is not null");
    if !exists.fetch_one(&mut *connection).await? {
        sqlx::query("create schema if not exists snippets").execute(connection).await?;
    }
    Ok(())
}
