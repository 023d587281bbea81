//! Snippets and accounts in a SQLite file; views out of the counter worker's file beside it.

mod accounts;
mod database;
mod deletions;
mod lists;
mod page_token_key;
mod row;
mod snippets;
mod sweep;
mod view_history;
mod views;

pub use accounts::SqliteAccountStore;
pub use database::Database;
pub use deletions::SqliteDeletions;
pub use lists::SqliteSnippetLists;
pub use page_token_key::SqlitePageTokenKeys;
pub use snippets::SqliteSnippetStore;
pub use sweep::SqliteSweep;
pub use view_history::SqliteViewHistory;
pub use views::SqliteViewTotals;
