//! Keeping snippets.

use super::Cause;
use crate::domain::{Body, Snippet, SnippetId, SnippetMetadata, SnippetPatch, Version};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::time::Duration;
use uuid::Uuid;

/// Why a store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, or not in time: trying again later may help. A write was certainly not applied.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[source] Cause),
    /// It was lost on the way: trying again later may help, but a write may have been applied.
    #[error("the store was lost: {0}")]
    Indeterminate(#[source] Cause),
    /// A bug or a broken schema: trying again will not help.
    #[error("the store failed: {0}")]
    Internal(#[source] Cause),
}

impl StoreError {
    /// The same, for one more who waited for the same answer.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Unavailable(cause) => Self::Unavailable(cause.to_string().into()),
            Self::Indeterminate(cause) => Self::Indeterminate(cause.to_string().into()),
            Self::Internal(cause) => Self::Internal(cause.to_string().into()),
        }
    }
}

/// Why a snippet was not inserted.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    /// The id is in use: take another.
    #[error("the id is taken")]
    IdTaken,
    /// The request was made before, for something else.
    #[error("the request was made before, for something else")]
    RequestReused,
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a snippet was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such snippet.
    #[error("no such snippet")]
    NotFound,
    /// It was edited since the version that the caller knows.
    #[error("the snippet has another version")]
    VersionMismatch,
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// By what a repeated create is told from a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRequest {
    /// Who creates: requests of different callers have nothing to do with each other.
    pub caller: String,
    /// Its name for the request.
    pub id: Uuid,
    /// SHA-256 of what it asked for.
    pub payload_hash: [u8; 32],
}

/// How long a [`CreateRequest`] is remembered.
pub const CREATE_REQUEST_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// What has become of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The snippet is stored.
    New,
    /// The request was made before: this is what it made. Nothing was stored.
    Before(SnippetId),
}

/// One of several snippets that were read at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is known of it.
    pub metadata: SnippetMetadata,
    /// The text itself, unless there was no room for it.
    pub body: Option<Body>,
}

/// Keeps snippets.
#[async_trait]
pub trait SnippetStore: Send + Sync + 'static {
    /// Stores a new snippet. With `request`, unless the same request was made in the 24 hours before the snippet's
    /// `create_time`; of several at once one stores its own.
    async fn insert(
        &self,
        snippet: &Snippet,
        request: Option<&CreateRequest>,
    ) -> Result<Inserted, InsertError>;

    /// The snippet with this id, if there is one that has a view left. Whether its time is over is the caller's to check.
    async fn get(&self, id: &SnippetId) -> Result<Option<Snippet>, StoreError>;

    /// Those of these snippets that there are, in any order, with as many bodies as have `body_bytes_max` bytes together. One
    /// comes without its body only if the bodies of all of them have more.
    async fn get_many(&self, ids: &[SnippetId], body_bytes_max: usize) -> Result<Vec<Found>, StoreError>;

    /// Edits a snippet and returns it as it then is, one version on. With `expected`, only if it still has
    /// that version: comparing and changing are one step.
    async fn update(
        &self,
        id: &SnippetId,
        patch: &SnippetPatch,
        expected: Option<Version>,
        now: DateTime<Utc>,
    ) -> Result<Snippet, ChangeError>;

    /// Removes a snippet and returns the version it had. With `expected`, only if it still has that version.
    async fn delete(&self, id: &SnippetId, expected: Option<Version>) -> Result<Version, ChangeError>;

    /// Takes one of the views that are left of a snippet with a limit, and tells whether it could: not if none is left, or
    /// the snippet has another version.
    async fn claim_view(&self, id: &SnippetId, version: Version) -> Result<bool, StoreError>;
}

/// Removes what nobody can reach any more.
#[async_trait]
pub trait Sweep: Send + Sync + 'static {
    /// Removes up to `limit` snippets whose time was over by then, and returns them.
    async fn remove_expired(&self, by: DateTime<Utc>, limit: u32) -> Result<Vec<SnippetId>, StoreError>;

    /// Removes up to `limit` snippets that have no view left, and returns them.
    async fn remove_burnt(&self, limit: u32) -> Result<Vec<SnippetId>, StoreError>;

    /// Forgets up to `limit` requests that were made by then, and returns how many.
    async fn forget_create_requests(&self, by: DateTime<Utc>, limit: u32) -> Result<u64, StoreError>;
}

/// Knows which snippets are gone of which those who count views have yet to be told, so that they drop what they have. Whatever
/// removes a snippet notes it here in the same step.
#[async_trait]
pub trait Deletions: Send + Sync + 'static {
    /// Up to `limit` such snippets, those that have waited longest. Nobody else is given them before `lease` is over, and whoever
    /// comes later is.
    async fn take(&self, limit: u32, lease: Duration) -> Result<Vec<SnippetId>, StoreError>;

    /// Forgets these, of which it is certain that they will be known.
    async fn told(&self, ids: &[SnippetId]) -> Result<(), StoreError>;
}

/// Knows which snippets were changed of which the cache that replicas share may not have been told: whoever changes a snippet notes
/// it here in the same step, and may be cut off from the cache, or die.
#[async_trait]
pub trait Invalidations: Send + Sync + 'static {
    /// Up to `limit` that were changed a quarter of a second ago or earlier, those that have waited longest, and of each the version
    /// before which all copies are outdated. Whoever asks is given the same, as nobody knows who reaches the cache.
    async fn owed(&self, limit: u32) -> Result<Vec<(SnippetId, Version)>, StoreError>;

    /// Forgets these, of which the cache was told, unless they were changed once more. It may leave out some.
    async fn settled(&self, told: &[(SnippetId, Version)]) -> Result<(), StoreError>;
}
