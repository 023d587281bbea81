//! Migrations that are compiled in.

use sqlx::{
    SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

/// Migrations as (version, description, SQL), in the order of their versions.
///
/// sqlx's `migrate!` macro would do the same, at the price of its macros and their dependencies.
#[derive(Debug, Clone, Copy)]
pub struct Migrations(pub &'static [(i64, &'static str, &'static str)]);

impl Migrations {
    /// What runs them, on any database.
    pub fn migrator(&self) -> Migrator {
        let migrations = self.0.iter().map(|&(version, description, sql)| {
            Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
        });
        Migrator::with_migrations(migrations.collect())
    }

    /// The version that a database has once all of them are applied; 0 if there are none.
    pub fn version(&self) -> i64 {
        self.0.iter().map(|(version, ..)| *version).max().unwrap_or_default()
    }
}
