//! What the service needs of the world, as traits. Adapters implement them; `startup` picks the adapters.

use crate::domain::{
    Account, AccountId, AccountPatch, ApiKey, ApiKeyId, Body, Caller, KeyHash, ListPosition, Listed,
    PageTokenKey, Snippet, SnippetId, SnippetList, SnippetMetadata, SnippetPatch, StatsRange, Version,
    ViewStats,
};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use std::{collections::HashMap, error::Error, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What went wrong underneath; for the log, never for a client.
pub type Cause = Box<dyn Error + Send + Sync>;

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

/// Why an account or a key was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is no such account, or no such key.
    #[error("no such account or key")]
    NotFound,
    /// The account has [`API_KEYS_MAX`](crate::domain::API_KEYS_MAX) keys that are not revoked.
    #[error("the account has too many keys")]
    TooManyKeys,
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps accounts and their keys.
#[async_trait]
pub trait AccountStore: Send + Sync + 'static {
    /// Stores a new account.
    async fn create_account(&self, account: &Account) -> Result<(), StoreError>;

    /// The account with this id, if there is one.
    async fn get_account(&self, id: AccountId) -> Result<Option<Account>, StoreError>;

    /// The accounts after the one with the id `after`, or from the first on: newest first, `limit` at most.
    async fn list_accounts(&self, after: Option<AccountId>, limit: usize)
    -> Result<Vec<Account>, StoreError>;

    /// Edits an account and returns it as it then is.
    async fn update_account(&self, id: AccountId, patch: &AccountPatch) -> Result<Account, AccountError>;

    /// The keys of an account, newest first: those that are not revoked, also expired ones, and the last
    /// [`API_KEYS_MAX`](crate::domain::API_KEYS_MAX) that were revoked.
    async fn list_api_keys(&self, account_id: AccountId) -> Result<Vec<ApiKey>, AccountError>;

    /// Stores a new key of an existing account, under the hash of its secret, unless the account has
    /// [`API_KEYS_MAX`](crate::domain::API_KEYS_MAX) that are not revoked: also of many at once no more are stored.
    async fn create_api_key(&self, key: &ApiKey, hash: &KeyHash) -> Result<(), AccountError>;

    /// Ends a key at `now`. A key that was revoked before keeps its time.
    async fn revoke_api_key(&self, id: ApiKeyId, now: DateTime<Utc>) -> Result<(), AccountError>;

    /// The key with this hash and its account. Whether they are still good is the caller's to check.
    async fn find_by_key_hash(&self, hash: &KeyHash) -> Result<Option<(ApiKey, Account)>, StoreError>;
}

/// Keeps the key by which page tokens are authenticated. The schema is made with one, which all replicas share.
#[async_trait]
pub trait PageTokenKeys: Send + Sync + 'static {
    /// The key. It never changes.
    async fn page_token_key(&self) -> Result<PageTokenKey, StoreError>;
}

/// Reads how often snippets were viewed. Another service writes that.
#[async_trait]
pub trait ViewTotals: Send + Sync + 'static {
    /// The views of each snippet that has any; also while nobody has counted yet.
    async fn totals(&self, ids: &[SnippetId]) -> Result<HashMap<SnippetId, u64>, StoreError>;
}

/// Reads when a snippet was viewed. Another service writes that.
#[async_trait]
pub trait ViewHistory: Send + Sync + 'static {
    /// The views in each bucket of the range; zeros while nobody has counted yet.
    async fn stats(&self, id: &SnippetId, range: StatsRange) -> Result<ViewStats, StoreError>;
}

/// What a cache knows about an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheEntry {
    /// The snippet.
    Hit(Box<Snippet>),
    /// It was changed a moment ago; ask the store.
    Tombstone,
    /// Nothing.
    Miss,
}

/// Why a cache could not answer.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It can't be reached, or not in time.
    #[error("the cache is unavailable: {0}")]
    Unavailable(#[source] Cause),
    /// What it holds can't be read.
    #[error("the cache holds something unreadable: {0}")]
    Corrupt(#[source] Cause),
}

/// Holds copies of snippets under versions, so that a slow reader can't bring an old body back.
#[async_trait]
pub trait SnippetCache: Send + Sync + 'static {
    /// What is known about the id.
    async fn get(&self, id: &SnippetId) -> Result<CacheEntry, CacheError>;

    /// Stores a copy and returns true, unless a copy or a tombstone of a newer version is there.
    async fn put(&self, snippet: &Snippet) -> Result<bool, CacheError>;

    /// Replaces what is older than `version` by a tombstone, which refuses older copies for a minute.
    async fn invalidate(&self, id: &SnippetId, version: Version) -> Result<(), CacheError>;

    /// Calls `listener` with each snippet that any replica has invalidated, until `stop` is cancelled. It may miss some. A
    /// cache that no other process shares has nothing to tell.
    async fn follow(&self, listener: Arc<dyn Fn(SnippetId) + Send + Sync>, stop: CancellationToken) {
        let _ = listener;
        stop.cancelled().await;
    }
}

/// Takes note of views.
pub trait ViewSink: Send + Sync + 'static {
    /// Counts one view. Never waits.
    fn record(&self, id: &SnippetId);
}

/// What a caller is to be charged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// One write, whose request has so many bytes.
    Write {
        /// 0 for one that stores nothing.
        bytes: u64,
    },
    /// Reads of what is not there, or not for the caller to read.
    Misses {
        /// How many.
        count: u64,
    },
    /// Nothing yet: whether it may write at all, before it is known how much.
    Nothing,
}

/// Whether a caller may go on now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitDecision {
    /// Yes; it was charged.
    Allowed,
    /// No, it has used up a limit.
    Denied(RateLimitDenial),
    /// No, and waiting does not help: it is more than a limit ever lets pass at once.
    NeverFits,
    /// Nobody can tell. The service lets the call through, and says so in a metric and the log.
    Unavailable {
        /// What went wrong; for the log.
        reason: String,
    },
}

/// The limit that a caller has used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimitDenial {
    /// The name of the rule that denies for the longest.
    pub rule: String,
    /// After how long the same call can pass; more than zero.
    pub retry_after: Duration,
    /// How many calls the rule allows in its period.
    pub limit: u64,
    /// How many are left.
    pub remaining: u64,
    /// After how long the rule is back at its full limit.
    pub reset_after: Duration,
}

/// Limits what callers do.
#[async_trait]
pub trait RateLimiter: Send + Sync + 'static {
    /// Charges the caller, if all of its limits allow; else nothing.
    async fn check(&self, caller: &Caller, charge: Charge) -> LimitDecision;
}

/// A batch of views on its way to the counter worker.
#[derive(Debug, Clone)]
pub struct PendingBatch {
    /// Stays the same however often the batch is sent: the effect is exactly once.
    pub id: Uuid,
    /// An encoded `views.v1.ViewBatch`.
    pub payload: Bytes,
    /// W3C trace context, as header names and values.
    pub trace: Vec<(String, String)>,
}

/// Why a batch is not known to be safe. It may have arrived all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Nobody took it; it is to be sent again.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// It was turned down for what it is: to send it again is of no use.
    #[error("the batch was refused: {0}")]
    Refused(String),
}

/// Hands batches of views over.
#[async_trait]
pub trait BatchPublisher: Send + Sync + 'static {
    /// Publishes some batches together. Returns, once each is known to be safe or not, what became of each, in their
    /// order. A batch that is refused in a way that may be any of several's fault is told to be refused only when it is
    /// published alone.
    async fn publish(&self, batches: &[PendingBatch]) -> Vec<Result<(), PublishError>>;
}

#[async_trait]
impl<P: BatchPublisher + ?Sized> BatchPublisher for Arc<P> {
    async fn publish(&self, batches: &[PendingBatch]) -> Vec<Result<(), PublishError>> {
        (**self).publish(batches).await
    }
}
