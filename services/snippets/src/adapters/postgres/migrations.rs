use super::super::sql;
use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{Connection as _, PgConnection};

const MIGRATIONS: &[(i64, &str, &str)] =
    &[(1, "initial", include_str!("../../../migrations/postgres/0001_initial.sql"))];

// `create schema if not exists` wants the right to create schemas even when this one exists, which a deployment may have
// made for a role that lacks that right; and of two at once one fails.
const CREATE_SCHEMA: &str = "do $$ begin
    if to_regnamespace('snippets') is null then create schema snippets; end if;
exception when duplicate_schema or unique_violation then null;
end $$";

/// Brings the schema `snippets` up to date. Doing so twice, also at once, is the same as once: an advisory
/// lock lets one in at a time.
pub async fn migrate(url: &SecretString) -> anyhow::Result<()> {
    let mut connection =
        PgConnection::connect(url.expose_secret()).await.context("connecting to the database")?;
    sqlx::query(CREATE_SCHEMA).execute(&mut connection).await.context("creating the schema snippets")?;
    let mut migrator = sql::migrator(MIGRATIONS);
    // The counter worker migrates in the same database: each service keeps its own book.
    migrator.dangerous_set_table_name("snippets._sqlx_migrations");
    migrator.run_direct(None, &mut connection, false).await.context("migrating the schema snippets")?;
    connection.close().await.context("closing the connection")
}
