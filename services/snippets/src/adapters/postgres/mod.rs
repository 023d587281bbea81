//! Snippets and accounts in Postgres, in the schema `snippets`; views out of the schema `views`.

mod accounts;
mod database;
mod deletions;
mod invalidations;
mod lists;
mod migrations;
mod page_token_key;
mod snippets;
mod standby;
mod sweep;
mod view_history;
mod views;
#[cfg(test)]
mod workers_schema;

pub use self::database::Database;
pub use ::database::Options;
pub use accounts::PostgresAccountStore;
pub use deletions::PostgresDeletions;
pub use invalidations::PostgresInvalidations;
pub use lists::PostgresSnippetLists;
pub use migrations::migrate;
pub use page_token_key::PostgresPageTokenKeys;
pub use snippets::PostgresSnippetStore;
pub use sweep::PostgresSweep;
pub use view_history::PostgresViewHistory;
pub use views::PostgresViewTotals;
