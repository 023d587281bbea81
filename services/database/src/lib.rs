//! Databases as every service uses them: the flag that names one, migrations that are compiled in and, with the feature
//! `postgres`, a pool of connections to Postgres on which nothing waits without a deadline.
//!
//! Several services share one database. Each has a [`Schema`] of its own, with its own book of migrations.
//!
//! No statement of a service lives here.

mod args;
mod migrations;
#[cfg(feature = "postgres")]
mod postgres;

pub use args::DatabaseArgs;
pub use migrations::{Migration, Migrations};
#[cfg(feature = "postgres")]
pub use postgres::{Database, Options, Schema, SchemaError, Transaction};
