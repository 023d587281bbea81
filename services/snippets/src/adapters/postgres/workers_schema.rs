//! The counter worker's schema, for tests: what it publishes is what snippets reads.

/// Makes it, in a database without one.
pub(super) async fn create(database: &stack::Database) {
    // psql runs all of this in one transaction, as in which no index can be built concurrently.
    database.execute(&SCHEMA.replace("CONCURRENTLY ", "")).await.unwrap();
}

const SCHEMA: &str = concat!(
    "create schema views;",
    include_str!("../../../../counter-worker/migrations/postgres/0001_totals.sql"),
    include_str!("../../../../counter-worker/migrations/postgres/0002_rollups.sql"),
    include_str!("../../../../counter-worker/migrations/postgres/0003_stripe_columns.sql"),
    include_str!("../../../../counter-worker/migrations/postgres/0004_stripe_indexes.sql"),
    include_str!("../../../../counter-worker/migrations/postgres/0005_stripes.sql"),
);
