//! Keys that are remembered, over the real Postgres.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use snippets::{
    adapters::postgres::{Database, Options, PostgresAccountStore, migrate},
    cached_accounts::CachedAccounts,
    domain::{Account, AccountPatch, ApiKey, ApiKeySecret, KeyHash, Tier, now},
    ports::{AccountStore, StoreError},
};
use stack::until;

use crate::{
    contract::{HasAccounts, accounts_hold},
    sample,
};

/// Longer than the second within which it has to be: how fast the machine is, is not tested.
const WITHIN: Duration = Duration::from_secs(10);

/// Two replicas on one database.
struct Replicas {
    one: CachedAccounts,
    other: CachedAccounts,
    _database: stack::Database,
}

async fn replicas() -> Replicas {
    let database = stack::shared().database().await;
    migrate(&database.url().into()).await.unwrap();
    let pool = Database::new(&Options::new(database.url().into())).unwrap();
    let replica = || CachedAccounts::new(Arc::new(PostgresAccountStore::new(pool.clone())));
    Replicas { one: replica(), other: replica(), _database: database }
}

impl HasAccounts for Replicas {
    fn accounts(&self) -> &dyn AccountStore {
        &self.one
    }
}

accounts_hold!(super::replicas);

impl Replicas {
    /// A key that both have looked up.
    async fn known_key(&self) -> (ApiKey, Account, KeyHash) {
        let account = sample::account(Tier::Free);
        let (key, hash) = (sample::api_key(&account), ApiKeySecret::generate().hash());
        self.one.create_account(&account).await.unwrap();
        for replica in [&self.one, &self.other] {
            assert_eq!(replica.find_by_key_hash(&hash).await.unwrap(), None);
        }
        self.one.create_api_key(&key, &hash).await.unwrap();
        assert_eq!(self.one.find_by_key_hash(&hash).await.unwrap(), Some((key.clone(), account.clone())));
        let known = async || self.other.find_by_key_hash(&hash).await.unwrap().is_some();
        until("the key is known elsewhere", WITHIN, known).await.unwrap();
        (key, account, hash)
    }

    /// What is known of it here at once, and in a while elsewhere.
    async fn knows(&self, hash: &KeyHash, expected: &(ApiKey, Account)) {
        assert_eq!(self.one.find_by_key_hash(hash).await.unwrap().as_ref(), Some(expected));
        let told = async || self.other.find_by_key_hash(hash).await.unwrap().as_ref() == Some(expected);
        until("the change is known elsewhere", WITHIN, told).await.unwrap();
    }
}

#[tokio::test]
async fn what_changes_is_known_here_at_once_and_elsewhere_soon() {
    let replicas = replicas().await;
    let (key, account, hash) = replicas.known_key().await;
    let patch = AccountPatch { tier: Some(Tier::Premium), disabled: Some(true), ..AccountPatch::default() };
    let account = Account { tier: Tier::Premium, disabled: true, ..account };
    replicas.one.update_account(account.id, &patch).await.unwrap();
    replicas.knows(&hash, &(key.clone(), account.clone())).await;
    let revoke_time = now() + TimeDelta::seconds(1);
    replicas.one.revoke_api_key(key.id, revoke_time).await.unwrap();
    replicas.knows(&hash, &(ApiKey { revoke_time: Some(revoke_time), ..key }, account)).await;
}

#[tokio::test]
async fn without_a_database_what_was_looked_up_long_ago_or_never_is_unavailable() {
    let server = stack::Postgres::start().await.unwrap();
    let database = server.database().await.unwrap();
    migrate(&database.url().into()).await.unwrap();
    let pool = Database::new(&Options::new(database.url().into())).unwrap();
    let store = CachedAccounts::new(Arc::new(PostgresAccountStore::new(pool)));
    let account = sample::account(Tier::Free);
    let hash = ApiKeySecret::generate().hash();
    store.create_account(&account).await.unwrap();
    store.create_api_key(&sample::api_key(&account), &hash).await.unwrap();
    assert!(store.find_by_key_hash(&hash).await.unwrap().is_some());

    server.kill();
    let never = store.find_by_key_hash(&ApiKeySecret::generate().hash()).await;
    assert!(matches!(never, Err(StoreError::Unavailable(_) | StoreError::Indeterminate(_))), "{never:?}");
    let refused = async || match store.find_by_key_hash(&hash).await {
        Ok(found) => {
            assert!(found.is_some());
            false
        }
        Err(error) => matches!(error, StoreError::Unavailable(_) | StoreError::Indeterminate(_)),
    };
    until("the key is forgotten", WITHIN, refused).await.unwrap();
    server.restart().await.unwrap();
    let found = async || store.find_by_key_hash(&hash).await.is_ok_and(|found| found.is_some());
    until("the key is found again", WITHIN, found).await.unwrap();
}
