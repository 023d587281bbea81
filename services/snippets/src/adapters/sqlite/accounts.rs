use super::{
    super::sql::{self, parsed},
    database::{Database, store_error},
    row,
};
use crate::{
    domain::{
        API_KEYS_MAX, Account, AccountId, AccountPatch, ApiKey, ApiKeyId, ApiKeyName, DisplayName, KeyHash,
    },
    ports::{AccountError, AccountStore, StoreError},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Error, Row as _, sqlite::SqliteRow};

const CREATE_ACCOUNT: &str =
    "insert into accounts (id, display_name, tier, disabled, create_time) values (?1, ?2, ?3, ?4, ?5)";
const GET_ACCOUNT: &str = "select id, display_name, tier, disabled, create_time from accounts where id = ?1";
// Ids are made in order of time.
const LIST_ACCOUNTS: &str = "select id, display_name, tier, disabled, create_time from accounts
    where id < coalesce(?1, 'ffffffff-ffff-ffff-ffff-ffffffffffff') order by id desc limit ?2";
const UPDATE_ACCOUNT: &str = "update accounts set
        display_name = coalesce(?2, display_name),
        tier = coalesce(?3, tier),
        disabled = coalesce(?4, disabled)
    where id = ?1
    returning id, display_name, tier, disabled, create_time";
// Selecting from the accounts tells an unknown account without provoking the foreign key.
const CREATE_API_KEY: &str = "insert into api_keys
        (id, account_id, display_name, hash, create_time, expire_time, revoke_time)
    select ?1, accounts.id, ?3, ?4, ?5, ?6, ?7 from accounts where accounts.id = ?2
        and (select count(*) from api_keys where account_id = ?2 and revoke_time is null) < ?8
    returning id";
const LIST_API_KEYS: &str = "select * from (
        select * from (
            select id as key_id, display_name as key_display_name, create_time as key_create_time,
                expire_time as key_expire_time, revoke_time as key_revoke_time
            from api_keys where account_id = ?1 and revoke_time is null
            order by id desc limit ?2)
        union all
        select * from (
            select id, display_name, create_time, expire_time, revoke_time
            from api_keys where account_id = ?1 and revoke_time is not null
            order by revoke_time desc limit ?2)
    ) keys order by key_id desc";
const REVOKE_API_KEY: &str =
    "update api_keys set revoke_time = coalesce(revoke_time, ?2) where id = ?1 returning id";
const FIND_BY_KEY_HASH: &str = "select
        accounts.id, accounts.display_name, accounts.tier, accounts.disabled, accounts.create_time,
        keys.id as key_id, keys.display_name as key_display_name, keys.create_time as key_create_time,
        keys.expire_time as key_expire_time, keys.revoke_time as key_revoke_time
    from api_keys keys join accounts on accounts.id = keys.account_id
    where keys.hash = ?1";

/// Accounts and keys in the tables `accounts` and `api_keys`.
#[derive(Debug, Clone)]
pub struct SqliteAccountStore(Database);

impl SqliteAccountStore {
    /// Over this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }
}

#[async_trait]
impl AccountStore for SqliteAccountStore {
    async fn create_account(&self, account: &Account) -> Result<(), StoreError> {
        let query = sqlx::query(CREATE_ACCOUNT)
            .bind(account.id.to_string())
            .bind(account.display_name.as_str().to_owned())
            .bind(sql::from_tier(account.tier))
            .bind(account.disabled)
            .bind(account.create_time.timestamp_micros());
        self.0.fetch_all(query).await.map(drop).map_err(store_error)
    }

    async fn get_account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        let query = sqlx::query(GET_ACCOUNT).bind(id.to_string());
        let row = self.0.fetch_optional(query).await.map_err(store_error)?;
        row.as_ref().map(to_account).transpose().map_err(store_error)
    }

    async fn list_accounts(
        &self,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<Account>, StoreError> {
        let query = sqlx::query(LIST_ACCOUNTS).bind(after.map(|id| id.to_string())).bind(sql::limit(limit));
        let rows = self.0.fetch_all(query).await.map_err(store_error)?;
        rows.iter().map(to_account).collect::<Result<_, _>>().map_err(store_error)
    }

    async fn update_account(&self, id: AccountId, patch: &AccountPatch) -> Result<Account, AccountError> {
        let query = sqlx::query(UPDATE_ACCOUNT)
            .bind(id.to_string())
            .bind(patch.display_name.as_ref().map(|name| name.as_str().to_owned()))
            .bind(patch.tier.map(sql::from_tier))
            .bind(patch.disabled);
        let row = self.0.fetch_optional(query).await.map_err(store_error)?;
        Ok(to_account(&row.ok_or(AccountError::NotFound)?).map_err(store_error)?)
    }

    async fn list_api_keys(&self, account_id: AccountId) -> Result<Vec<ApiKey>, AccountError> {
        let query = sqlx::query(LIST_API_KEYS).bind(account_id.to_string()).bind(API_KEYS_MAX);
        let rows = self.0.fetch_all(query).await.map_err(store_error)?;
        if rows.is_empty() && self.get_account(account_id).await?.is_none() {
            return Err(AccountError::NotFound);
        }
        let keys = rows.iter().map(|row| to_key(row, account_id));
        Ok(keys.collect::<Result<_, _>>().map_err(store_error)?)
    }

    async fn create_api_key(&self, key: &ApiKey, hash: &KeyHash) -> Result<(), AccountError> {
        let query = sqlx::query(CREATE_API_KEY)
            .bind(key.id.to_string())
            .bind(key.account_id.to_string())
            .bind(key.display_name.as_str().to_owned())
            .bind(hash.as_bytes().to_vec())
            .bind(key.create_time.timestamp_micros())
            .bind(key.expire_time.map(|time| time.timestamp_micros()))
            .bind(key.revoke_time.map(|time| time.timestamp_micros()))
            .bind(API_KEYS_MAX);
        if self.0.fetch_optional(query).await.map_err(store_error)?.is_some() {
            return Ok(());
        }
        let account = self.get_account(key.account_id).await?;
        Err(account.map_or(AccountError::NotFound, |_| AccountError::TooManyKeys))
    }

    async fn revoke_api_key(&self, id: ApiKeyId, now: DateTime<Utc>) -> Result<(), AccountError> {
        let query = sqlx::query(REVOKE_API_KEY).bind(id.to_string()).bind(now.timestamp_micros());
        let revoked = self.0.fetch_optional(query).await.map_err(store_error)?;
        revoked.map(drop).ok_or(AccountError::NotFound)
    }

    async fn find_by_key_hash(&self, hash: &KeyHash) -> Result<Option<(ApiKey, Account)>, StoreError> {
        let query = sqlx::query(FIND_BY_KEY_HASH).bind(hash.as_bytes().to_vec());
        let row = self.0.fetch_optional(query).await.map_err(store_error)?;
        row.as_ref().map(to_key_and_account).transpose().map_err(store_error)
    }
}

fn to_key_and_account(row: &SqliteRow) -> Result<(ApiKey, Account), Error> {
    let account = to_account(row)?;
    Ok((to_key(row, account.id)?, account))
}

fn to_key(row: &SqliteRow, account_id: AccountId) -> Result<ApiKey, Error> {
    Ok(ApiKey {
        id: parsed(ApiKeyId::parse(row.try_get("key_id")?))?,
        account_id,
        display_name: parsed(ApiKeyName::parse(row.try_get::<&str, _>("key_display_name")?))?,
        create_time: row::time(row, "key_create_time")?,
        expire_time: row::optional_time(row, "key_expire_time")?,
        revoke_time: row::optional_time(row, "key_revoke_time")?,
    })
}

fn to_account(row: &SqliteRow) -> Result<Account, Error> {
    Ok(Account {
        id: parsed(AccountId::parse(row.try_get("id")?))?,
        display_name: parsed(DisplayName::parse(row.try_get::<&str, _>("display_name")?))?,
        tier: sql::to_tier(row.try_get("tier")?)?,
        disabled: row.try_get("disabled")?,
        create_time: row::time(row, "create_time")?,
    })
}
