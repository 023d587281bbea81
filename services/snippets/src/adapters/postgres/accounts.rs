use super::{
    super::sql::{self, parsed},
    database::{Database, store_error},
};
use crate::{
    domain::{
        API_KEYS_MAX, Account, AccountId, AccountPatch, ApiKey, ApiKeyId, ApiKeyName, DisplayName, KeyHash,
        to_micros,
    },
    ports::{AccountError, AccountStore, StoreError},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{
    Error, Postgres, Row as _,
    postgres::{PgArguments, PgRow},
    query::Query,
};

const CREATE_ACCOUNT: &str = "insert into snippets.accounts (id, display_name, tier, disabled, create_time)
    values ($1, $2, $3, $4, $5)";
const GET_ACCOUNT: &str =
    "select id, display_name, tier, disabled, create_time from snippets.accounts where id = $1";
// Ids are made in order of time.
const LIST_ACCOUNTS: &str = "select id, display_name, tier, disabled, create_time from snippets.accounts
    where id < coalesce($1, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid) order by id desc limit $2";
const UPDATE_ACCOUNT: &str = "update snippets.accounts set
        display_name = coalesce($2, display_name),
        tier = coalesce($3, tier),
        disabled = coalesce($4, disabled)
    where id = $1
    returning id, display_name, tier, disabled, create_time";
// Of keys that are made at the same time each has to see those before it. Snippets of the account go on being made.
const LOCK_ACCOUNT: &str = "select 1 from snippets.accounts where id = $1 for no key update";
const CREATE_API_KEY: &str = "insert into snippets.api_keys
        (id, account_id, display_name, hash, create_time, expire_time, revoke_time)
    select $1, $2, $3, $4, $5, $6, $7
    where (select count(*) from snippets.api_keys where account_id = $2 and revoke_time is null) < $8";
const LIST_API_KEYS: &str = "select * from (
        (select id as key_id, display_name as key_display_name, create_time as key_create_time,
            expire_time as key_expire_time, revoke_time as key_revoke_time
        from snippets.api_keys where account_id = $1 and revoke_time is null
        order by id desc limit $2)
        union all
        (select id, display_name, create_time, expire_time, revoke_time
        from snippets.api_keys where account_id = $1 and revoke_time is not null
        order by revoke_time desc limit $2)
    ) keys order by key_id desc";
const REVOKE_API_KEY: &str =
    "update snippets.api_keys set revoke_time = coalesce(revoke_time, $2) where id = $1 returning id";
const FIND_BY_KEY_HASH: &str = "select
        accounts.id, accounts.display_name, accounts.tier, accounts.disabled, accounts.create_time,
        keys.id as key_id, keys.display_name as key_display_name, keys.create_time as key_create_time,
        keys.expire_time as key_expire_time, keys.revoke_time as key_revoke_time
    from snippets.api_keys keys join snippets.accounts on accounts.id = keys.account_id
    where keys.hash = $1";

/// Accounts and keys in the tables `snippets.accounts` and `snippets.api_keys`.
#[derive(Debug, Clone)]
pub struct PostgresAccountStore(Database);

impl PostgresAccountStore {
    /// Over this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }
}

#[async_trait]
impl AccountStore for PostgresAccountStore {
    async fn create_account(&self, account: &Account) -> Result<(), StoreError> {
        let query = sqlx::query(CREATE_ACCOUNT)
            .bind(account.id.0)
            .bind(account.display_name.as_str())
            .bind(sql::from_tier(account.tier))
            .bind(account.disabled)
            .bind(to_micros(account.create_time));
        self.0.fetch_all(query).await.map(drop).map_err(store_error)
    }

    async fn get_account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        let row = self.0.fetch_optional(sqlx::query(GET_ACCOUNT).bind(id.0)).await.map_err(store_error)?;
        row.as_ref().map(to_account).transpose().map_err(store_error)
    }

    async fn list_accounts(
        &self,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<Account>, StoreError> {
        let query = sqlx::query(LIST_ACCOUNTS).bind(after.map(|id| id.0)).bind(sql::limit(limit));
        let rows = self.0.fetch_all(query).await.map_err(store_error)?;
        rows.iter().map(to_account).collect::<Result<_, _>>().map_err(store_error)
    }

    async fn update_account(&self, id: AccountId, patch: &AccountPatch) -> Result<Account, AccountError> {
        let query = sqlx::query(UPDATE_ACCOUNT)
            .bind(id.0)
            .bind(patch.display_name.as_ref().map(DisplayName::as_str))
            .bind(patch.tier.map(sql::from_tier))
            .bind(patch.disabled);
        let row = self.0.fetch_optional(query).await.map_err(store_error)?;
        Ok(to_account(&row.ok_or(AccountError::NotFound)?).map_err(store_error)?)
    }

    async fn list_api_keys(&self, account_id: AccountId) -> Result<Vec<ApiKey>, AccountError> {
        let query = sqlx::query(LIST_API_KEYS).bind(account_id.0).bind(i64::from(API_KEYS_MAX));
        let rows = self.0.fetch_all(query).await.map_err(store_error)?;
        if rows.is_empty() && self.get_account(account_id).await?.is_none() {
            return Err(AccountError::NotFound);
        }
        let keys = rows.iter().map(|row| to_key(row, account_id));
        Ok(keys.collect::<Result<_, _>>().map_err(store_error)?)
    }

    async fn create_api_key(&self, key: &ApiKey, hash: &KeyHash) -> Result<(), AccountError> {
        let mut transaction = self.0.begin().await.map_err(store_error)?;
        let lock = sqlx::query(LOCK_ACCOUNT).bind(key.account_id.0);
        let is_there = !transaction.fetch_all(lock).await.map_err(store_error)?.is_empty();
        let created = is_there && transaction.execute(insert(key, hash)).await.map_err(store_error)? > 0;
        transaction.commit().await.map_err(store_error)?;
        match (is_there, created) {
            (false, _) => Err(AccountError::NotFound),
            (true, false) => Err(AccountError::TooManyKeys),
            (true, true) => Ok(()),
        }
    }

    async fn revoke_api_key(&self, id: ApiKeyId, now: DateTime<Utc>) -> Result<(), AccountError> {
        let query = sqlx::query(REVOKE_API_KEY).bind(id.0).bind(to_micros(now));
        let revoked = self.0.fetch_optional(query).await.map_err(store_error)?;
        revoked.map(drop).ok_or(AccountError::NotFound)
    }

    async fn find_by_key_hash(&self, hash: &KeyHash) -> Result<Option<(ApiKey, Account)>, StoreError> {
        let query = sqlx::query(FIND_BY_KEY_HASH).bind(hash.as_bytes());
        let row = self.0.fetch_optional(query).await.map_err(store_error)?;
        row.as_ref().map(to_key_and_account).transpose().map_err(store_error)
    }
}

fn insert<'q>(key: &'q ApiKey, hash: &'q KeyHash) -> Query<'q, Postgres, PgArguments> {
    sqlx::query(CREATE_API_KEY)
        .bind(key.id.0)
        .bind(key.account_id.0)
        .bind(key.display_name.as_str())
        .bind(hash.as_bytes())
        .bind(to_micros(key.create_time))
        .bind(key.expire_time.map(to_micros))
        .bind(key.revoke_time.map(to_micros))
        .bind(i64::from(API_KEYS_MAX))
}

fn to_key_and_account(row: &PgRow) -> Result<(ApiKey, Account), Error> {
    let account = to_account(row)?;
    Ok((to_key(row, account.id)?, account))
}

fn to_key(row: &PgRow, account_id: AccountId) -> Result<ApiKey, Error> {
    Ok(ApiKey {
        id: ApiKeyId(row.try_get("key_id")?),
        account_id,
        display_name: parsed(ApiKeyName::parse(row.try_get::<&str, _>("key_display_name")?))?,
        create_time: row.try_get("key_create_time")?,
        expire_time: row.try_get("key_expire_time")?,
        revoke_time: row.try_get("key_revoke_time")?,
    })
}

fn to_account(row: &PgRow) -> Result<Account, Error> {
    Ok(Account {
        id: AccountId(row.try_get("id")?),
        display_name: parsed(DisplayName::parse(row.try_get::<&str, _>("display_name")?))?,
        tier: sql::to_tier(row.try_get("tier")?)?,
        disabled: row.try_get("disabled")?,
        create_time: row.try_get("create_time")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::postgres::migrate;

    /// 20,000 accounts with 10 keys each, of which 8 are revoked.
    const FILL: &str = "insert into snippets.accounts (id, display_name, tier, create_time)
            select md5(n::text)::uuid, 'x', 1, now() from generate_series(1, 20000) as n;
        insert into snippets.api_keys (id, account_id, display_name, hash, create_time, revoke_time)
            select gen_random_uuid(), md5(n::text)::uuid, 'x', sha256((n || '.' || key)::text::bytea), now(),
                case when key > 2 then now() end
            from generate_series(1, 20000) as n, generate_series(1, 10) as key;
        analyze snippets.accounts; analyze snippets.api_keys";

    #[tokio::test]
    async fn no_statement_reads_a_whole_table() {
        let database = stack::shared().database().await;
        migrate(&database.url().into()).await.unwrap();
        database.execute(FILL).await.unwrap();
        let count =
            CREATE_API_KEY.split_once("where (").unwrap().1.split_once(") < ").unwrap().0.replace("$2", "$1");
        let keys = "api_keys_account_id_revoke_time";
        for (sql, arguments, index, condition) in [
            (LIST_ACCOUNTS, "(null::uuid, 201)", "accounts_pkey", "(id < "),
            (LIST_ACCOUNTS, "(md5('1')::uuid, 201)", "accounts_pkey", "(id < "),
            (LIST_API_KEYS, "(md5('1')::uuid, 100)", keys, "revoke_time IS NULL"),
            (LIST_API_KEYS, "(md5('1')::uuid, 100)", keys, "revoke_time IS NOT NULL"),
            (&count, "(md5('1')::uuid)", keys, "revoke_time IS NULL"),
            (FIND_BY_KEY_HASH, "(sha256('1.1'))", "api_keys_hash_key", "hash = "),
        ] {
            // The plan that serves any arguments.
            let script = format!(
                "set plan_cache_mode = force_generic_plan; prepare tried as {sql}; explain execute tried {arguments}"
            );
            let plan = database.execute(&script).await.unwrap();
            assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{plan}");
            let mut conditions = plan.lines().filter(|line| line.contains("Index Cond"));
            assert!(conditions.any(|line| line.contains(condition)), "{plan}");
        }
    }
}
