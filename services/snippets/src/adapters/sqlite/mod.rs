//! Snippets and accounts in a SQLite file; view totals out of the counter worker's file beside it.

mod accounts;
mod database;
mod row;
mod snippets;
mod views;

pub use accounts::SqliteAccountStore;
pub use database::Database;
pub use snippets::SqliteSnippetStore;
pub use views::SqliteViewTotals;
