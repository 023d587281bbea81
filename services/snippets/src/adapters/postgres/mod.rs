//! Snippets and accounts in Postgres, in the schema `snippets`; view totals out of the schema `views`.

mod accounts;
mod database;
mod migrations;
mod snippets;
mod views;

pub use accounts::PostgresAccountStore;
pub use database::{Database, Options};
pub use migrations::migrate;
pub use snippets::PostgresSnippetStore;
pub use views::PostgresViewTotals;
