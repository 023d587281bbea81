//! Migrations that are compiled in.

use sqlx::{
    SqlSafeStr as _,
    migrate::{MigrationType, Migrator},
};

/// Migrations in the order of their versions.
///
/// sqlx's `migrate!` macro would do the same, at the price of its macros and their dependencies.
#[derive(Debug, Clone, Copy)]
pub struct Migrations(pub &'static [Migration]);

/// One step of a schema.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    version: i64,
    description: &'static str,
    sql: &'static str,
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "Postgres alone has more than one way")
    )]
    way: Way,
}

/// How a migration is run on Postgres. SQLite has one process, which waits for it, and runs all of them in one transaction each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Transaction,
    Concurrently,
    Batches,
}

impl Migration {
    /// All statements in one transaction, which has the locks that it needs within moments or tries again: for what takes no
    /// longer on a large table.
    pub const fn new(version: i64, description: &'static str, sql: &'static str) -> Self {
        Self { version, description, sql, way: Way::Transaction }
    }

    /// Statement after statement, each ended by a `;` and in no transaction: for `CREATE INDEX CONCURRENTLY` and its like. What
    /// fails half way is run again from the first, so each has to be good for that.
    #[must_use]
    pub const fn concurrently(self) -> Self {
        Self { way: Way::Concurrently, ..self }
    }

    /// One statement that is repeated, each time in a transaction of its own: for what goes over all rows of a table. `$1` is the
    /// text where the last one has stopped, empty at first, and `$2` how many rows to do at most; it gives one row with
    /// the text where it stops, or null if nothing was left. What is interrupted goes on where it was.
    #[must_use]
    pub const fn in_batches(self) -> Self {
        Self { way: Way::Batches, ..self }
    }

    #[cfg(feature = "postgres")]
    pub(crate) const fn version(&self) -> i64 {
        self.version
    }

    #[cfg(feature = "postgres")]
    pub(crate) const fn sql(&self) -> &'static str {
        self.sql
    }

    #[cfg(feature = "postgres")]
    pub(crate) const fn way(&self) -> Way {
        self.way
    }
}

impl Migrations {
    /// What runs them, on any database.
    pub fn migrator(&self) -> Migrator {
        let migrations = self.0.iter().map(|&Migration { version, description, sql, .. }| {
            let kind = MigrationType::Simple;
            sqlx::migrate::Migration::new(version, description.into(), kind, sql.into_sql_str(), false)
        });
        Migrator::with_migrations(migrations.collect())
    }

    /// The version that a database has once all of them are applied; 0 if there are none.
    pub fn version(&self) -> i64 {
        self.0.iter().map(|migration| migration.version).max().unwrap_or_default()
    }
}
