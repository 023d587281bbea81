//! What the service needs of the world, as traits. Adapters implement them; `startup` picks the adapters.

mod accounts;
mod cache;
mod limiter;
mod lists;
mod store;
mod views;

use std::error::Error;

pub use accounts::{AccountError, AccountStore};
pub use cache::{CacheEntry, CacheError, SnippetCache};
pub use limiter::{Charge, LimitDecision, RateLimitDenial, RateLimiter};
pub use lists::{CopiedViews, PageTokenKeys, SnippetLists};
pub use store::{
    CREATE_REQUEST_LIFETIME, ChangeError, CreateRequest, Deletions, Found, InsertError, Inserted,
    Invalidations, SnippetStore, StoreError, Sweep,
};
pub use views::{BatchPublisher, PendingBatch, PublishError, ViewHistory, ViewSink, ViewTotals};

/// What went wrong underneath; for the log, never for a client.
pub type Cause = Box<dyn Error + Send + Sync>;
