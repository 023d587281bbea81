//! Lists of snippets.

use super::StoreError;
use crate::domain::{ListPosition, Listed, PageTokenKey, SnippetList};
use async_trait::async_trait;
use std::time::Duration;

/// Lists snippets.
#[async_trait]
pub trait SnippetLists: Send + Sync + 'static {
    /// Up to `limit` of the snippets in the list, those that come first after a place, or first of all. Whatever is written
    /// meanwhile, going on after the last of a page shows nothing twice and, ordered by time, misses nothing.
    async fn page(
        &self,
        list: &SnippetList,
        after: Option<ListPosition>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError>;

    /// Copies the views of some snippets to where lists are ordered by them, which goes round all of them; unless another
    /// replica is at it, or the last round ended less than `interval` ago.
    async fn copy_views(&self, interval: Duration) -> Result<CopiedViews, StoreError>;
}

/// What has become of [`SnippetLists::copy_views`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopiedViews {
    /// There are more to be copied.
    Some,
    /// The round is complete.
    All,
    /// It was not its time.
    NotDue,
}

/// Keeps the key by which page tokens are authenticated. The schema is made with one, which all replicas share.
#[async_trait]
pub trait PageTokenKeys: Send + Sync + 'static {
    /// The key. It never changes.
    async fn page_token_key(&self) -> Result<PageTokenKey, StoreError>;
}
