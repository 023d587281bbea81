//! Accounts with their keys remembered for a second, so that a call with a key need not ask the database.

mod key_memory;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    domain::{Account, AccountId, AccountPatch, ApiKey, ApiKeyId, KeyHash},
    ports::{AccountError, AccountStore, StoreError},
};
use key_memory::KeyMemory;

/// Remembers which key belongs to whom. What is changed through it holds for its own look-ups at once, and what is changed
/// elsewhere within a second: no row that was asked for longer ago is gone by.
///
/// While the store is away, the keys that were looked up within the last second go on working.
pub struct CachedAccounts {
    store: Arc<dyn AccountStore>,
    keys: KeyMemory,
}

impl CachedAccounts {
    /// In front of this store.
    pub fn new(store: Arc<dyn AccountStore>) -> Self {
        Self { store, keys: KeyMemory::default() }
    }
}

#[async_trait]
impl AccountStore for CachedAccounts {
    async fn create_account(&self, account: &Account) -> Result<(), StoreError> {
        // It has no key yet that could be remembered.
        self.store.create_account(account).await
    }

    async fn get_account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.store.get_account(id).await
    }

    async fn list_accounts(
        &self,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<Account>, StoreError> {
        self.store.list_accounts(after, limit).await
    }

    async fn update_account(&self, id: AccountId, patch: &AccountPatch) -> Result<Account, AccountError> {
        let _forgets = self.keys.forget_afterwards();
        self.store.update_account(id, patch).await
    }

    async fn list_api_keys(&self, account_id: AccountId) -> Result<Vec<ApiKey>, AccountError> {
        self.store.list_api_keys(account_id).await
    }

    async fn create_api_key(&self, key: &ApiKey, hash: &KeyHash) -> Result<(), AccountError> {
        let _forgets = self.keys.forget_afterwards();
        self.store.create_api_key(key, hash).await
    }

    async fn revoke_api_key(&self, id: ApiKeyId, now: DateTime<Utc>) -> Result<(), AccountError> {
        let _forgets = self.keys.forget_afterwards();
        self.store.revoke_api_key(id, now).await
    }

    async fn find_by_key_hash(&self, hash: &KeyHash) -> Result<Option<(ApiKey, Account)>, StoreError> {
        self.keys.find(hash, || self.store.find_by_key_hash(hash)).await
    }
}
