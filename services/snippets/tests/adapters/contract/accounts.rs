use super::HasAccounts;
use crate::sample;
use chrono::TimeDelta;
use futures_util::future::join_all;
use snippets::{
    domain::{
        API_KEYS_MAX, Account, AccountId, AccountPatch, ApiKey, ApiKeyId, ApiKeySecret, DisplayName, KeyHash,
        Tier, now,
    },
    ports::AccountError,
};

pub async fn reads_back_accounts_of_every_tier(world: &impl HasAccounts) {
    for tier in [Tier::Free, Tier::Premium, Tier::Admin] {
        for disabled in [false, true] {
            let account = Account { disabled, ..sample::account(tier) };
            world.accounts().create_account(&account).await.unwrap();
            assert_eq!(world.accounts().get_account(account.id).await.unwrap(), Some(account));
        }
    }
    assert_eq!(world.accounts().get_account(AccountId::generate()).await.unwrap(), None);
}

pub async fn finds_a_key_by_its_hash(world: &impl HasAccounts) {
    let (store, account) = (world.accounts(), sample::account(Tier::Premium));
    store.create_account(&account).await.unwrap();
    let expiring = ApiKey { expire_time: Some(now() + TimeDelta::days(1)), ..sample::api_key(&account) };
    for key in [sample::api_key(&account), expiring] {
        let secret = ApiKeySecret::generate();
        store.create_api_key(&key, &secret.hash()).await.unwrap();
        let found = store.find_by_key_hash(&KeyHash::of(secret.expose())).await.unwrap();
        assert_eq!(found, Some((key, account.clone())));
    }
    assert_eq!(store.find_by_key_hash(&KeyHash::of("snip_unknown")).await.unwrap(), None);
}

pub async fn a_key_needs_an_account(world: &impl HasAccounts) {
    let (key, hash) = (sample::api_key(&sample::account(Tier::Free)), ApiKeySecret::generate().hash());
    let created = world.accounts().create_api_key(&key, &hash).await;
    assert!(matches!(created, Err(AccountError::NotFound)), "{created:?}");
    assert_eq!(world.accounts().find_by_key_hash(&hash).await.unwrap(), None);
}

pub async fn revoking_twice_keeps_the_first_time(world: &impl HasAccounts) {
    let (store, account) = (world.accounts(), sample::account(Tier::Free));
    let (key, hash) = (sample::api_key(&account), ApiKeySecret::generate().hash());
    store.create_account(&account).await.unwrap();
    store.create_api_key(&key, &hash).await.unwrap();
    let first = now();
    store.revoke_api_key(key.id, first).await.unwrap();
    store.revoke_api_key(key.id, first + TimeDelta::seconds(1)).await.unwrap();
    let (found, _) = store.find_by_key_hash(&hash).await.unwrap().unwrap();
    assert_eq!(found, ApiKey { revoke_time: Some(first), ..key });
}

pub async fn revoking_an_unknown_key_is_not_found(world: &impl HasAccounts) {
    let revoked = world.accounts().revoke_api_key(ApiKeyId::generate(), now()).await;
    assert!(matches!(revoked, Err(AccountError::NotFound)), "{revoked:?}");
}

pub async fn lists_accounts_newest_first_page_by_page(world: &impl HasAccounts) {
    let store = world.accounts();
    assert_eq!(store.list_accounts(None, 10).await.unwrap(), []);
    let mut accounts = Vec::new();
    for tier in [Tier::Free, Tier::Premium, Tier::Admin, Tier::Free, Tier::Free] {
        let account = sample::account(tier);
        store.create_account(&account).await.unwrap();
        accounts.insert(0, account);
    }
    assert_eq!(store.list_accounts(None, 10).await.unwrap(), accounts);
    assert_eq!(store.list_accounts(None, 2).await.unwrap(), accounts[..2]);
    // What is made meanwhile does not move what comes after.
    store.create_account(&sample::account(Tier::Free)).await.unwrap();
    assert_eq!(store.list_accounts(Some(accounts[1].id), 2).await.unwrap(), accounts[2..4]);
    assert_eq!(store.list_accounts(Some(accounts[3].id), 2).await.unwrap(), accounts[4..]);
    assert_eq!(store.list_accounts(Some(accounts[4].id), 2).await.unwrap(), []);
}

pub async fn an_edit_changes_what_the_patch_names(world: &impl HasAccounts) {
    let (store, account) = (world.accounts(), sample::account(Tier::Free));
    let other = sample::account(Tier::Free);
    store.create_account(&account).await.unwrap();
    store.create_account(&other).await.unwrap();
    let name = DisplayName::parse("Zoë").unwrap();
    let renamed = AccountPatch { display_name: Some(name.clone()), ..AccountPatch::default() };
    let raised = AccountPatch { tier: Some(Tier::Admin), ..AccountPatch::default() };
    let disabled = AccountPatch { disabled: Some(true), ..AccountPatch::default() };
    let enabled = AccountPatch { disabled: Some(false), ..AccountPatch::default() };
    let mut expected = Account { display_name: name, ..account.clone() };
    assert_eq!(store.update_account(account.id, &renamed).await.unwrap(), expected);
    expected.tier = Tier::Admin;
    assert_eq!(store.update_account(account.id, &raised).await.unwrap(), expected);
    expected.disabled = true;
    assert_eq!(store.update_account(account.id, &disabled).await.unwrap(), expected);
    expected.disabled = false;
    assert_eq!(store.update_account(account.id, &enabled).await.unwrap(), expected);
    assert_eq!(store.get_account(account.id).await.unwrap(), Some(expected));
    assert_eq!(store.get_account(other.id).await.unwrap(), Some(other));
}

pub async fn an_edit_needs_an_account(world: &impl HasAccounts) {
    let patch = AccountPatch { disabled: Some(true), ..AccountPatch::default() };
    let edited = world.accounts().update_account(AccountId::generate(), &patch).await;
    assert!(matches!(edited, Err(AccountError::NotFound)), "{edited:?}");
}

pub async fn lists_the_keys_of_one_account_newest_first(world: &impl HasAccounts) {
    let store = world.accounts();
    let [one, two] = [(); 2].map(|()| sample::account(Tier::Free));
    let unknown = store.list_api_keys(one.id).await;
    assert!(matches!(unknown, Err(AccountError::NotFound)), "{unknown:?}");
    store.create_account(&one).await.unwrap();
    store.create_account(&two).await.unwrap();
    assert_eq!(store.list_api_keys(one.id).await.unwrap(), []);
    create_key(world, &sample::api_key(&two)).await.unwrap();
    let expired = ApiKey { expire_time: Some(now() - TimeDelta::days(1)), ..sample::api_key(&one) };
    let revoked = ApiKey { revoke_time: Some(now()), ..sample::api_key(&one) };
    let keys = [expired, revoked, sample::api_key(&one)];
    for key in &keys {
        create_key(world, key).await.unwrap();
    }
    let newest_first: Vec<_> = keys.into_iter().rev().collect();
    assert_eq!(store.list_api_keys(one.id).await.unwrap(), newest_first);
}

pub async fn lists_all_keys_in_force_and_the_last_revoked(world: &impl HasAccounts) {
    let (store, account) = (world.accounts(), sample::account(Tier::Free));
    store.create_account(&account).await.unwrap();
    let in_force = sample::api_key(&account);
    create_key(world, &in_force).await.unwrap();
    let mut revoked = Vec::new();
    for second in 0..i64::from(API_KEYS_MAX) + 2 {
        let time = now() + TimeDelta::seconds(second);
        revoked.push(ApiKey { revoke_time: Some(time), ..sample::api_key(&account) });
        create_key(world, &revoked[revoked.len() - 1]).await.unwrap();
    }
    let mut expected: Vec<_> = revoked.into_iter().skip(2).rev().collect();
    expected.push(in_force);
    assert_eq!(store.list_api_keys(account.id).await.unwrap(), expected);
}

pub async fn a_hundred_keys_are_in_force_at_most(world: &impl HasAccounts) {
    let (store, account) = (world.accounts(), sample::account(Tier::Free));
    store.create_account(&account).await.unwrap();
    let first = sample::api_key(&account);
    create_key(world, &first).await.unwrap();
    for _ in 1..API_KEYS_MAX {
        create_key(world, &sample::api_key(&account)).await.unwrap();
    }
    let refused = create_key(world, &sample::api_key(&account)).await;
    assert!(matches!(refused, Err(AccountError::TooManyKeys)), "{refused:?}");
    store.revoke_api_key(first.id, now()).await.unwrap();
    create_key(world, &sample::api_key(&account)).await.unwrap();
}

pub async fn of_keys_made_at_once_no_more_are_stored(world: &impl HasAccounts) {
    let (store, account) = (world.accounts(), sample::account(Tier::Free));
    store.create_account(&account).await.unwrap();
    let (mut stored, mut refused, mut other) = (0, 0, 0);
    // Few at once, so that none has to wait for long, over connections that are open by the time that it becomes a race.
    for _ in 0..(API_KEYS_MAX + 12) / 8 {
        let keys: Vec<_> = (0..8).map(|_| sample::api_key(&account)).collect();
        for made in join_all(keys.iter().map(|key| create_key(world, key))).await {
            match made {
                Ok(()) => stored += 1,
                Err(AccountError::TooManyKeys) => refused += 1,
                Err(AccountError::NotFound | AccountError::Store(_)) => other += 1,
            }
        }
    }
    assert_eq!((stored, refused, other), (API_KEYS_MAX, 12, 0));
    assert_eq!(store.list_api_keys(account.id).await.unwrap().len(), usize::from(API_KEYS_MAX));
}

async fn create_key(world: &impl HasAccounts, key: &ApiKey) -> Result<(), AccountError> {
    world.accounts().create_api_key(key, &ApiKeySecret::generate().hash()).await
}
