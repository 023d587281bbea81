//! Accounts and their keys.

use super::StoreError;
use crate::domain::{Account, AccountId, AccountPatch, ApiKey, ApiKeyId, KeyHash};
use async_trait::async_trait;
use chrono::{DateTime, Utc};

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
