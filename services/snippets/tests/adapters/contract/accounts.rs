use super::World;
use crate::sample;
use chrono::TimeDelta;
use snippets::{
    domain::{Account, AccountId, ApiKey, ApiKeyId, ApiKeySecret, KeyHash, Tier, now},
    ports::AccountError,
};

pub async fn reads_back_accounts_of_every_tier(world: &impl World) {
    for tier in [Tier::Free, Tier::Premium, Tier::Admin] {
        for disabled in [false, true] {
            let account = Account { disabled, ..sample::account(tier) };
            world.accounts().create_account(&account).await.unwrap();
            assert_eq!(world.accounts().get_account(account.id).await.unwrap(), Some(account));
        }
    }
    assert_eq!(world.accounts().get_account(AccountId::generate()).await.unwrap(), None);
}

pub async fn finds_a_key_by_its_hash(world: &impl World) {
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

pub async fn a_key_needs_an_account(world: &impl World) {
    let (key, hash) = (sample::api_key(&sample::account(Tier::Free)), ApiKeySecret::generate().hash());
    let created = world.accounts().create_api_key(&key, &hash).await;
    assert!(matches!(created, Err(AccountError::NotFound)), "{created:?}");
    assert_eq!(world.accounts().find_by_key_hash(&hash).await.unwrap(), None);
}

pub async fn revoking_twice_keeps_the_first_time(world: &impl World) {
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

pub async fn revoking_an_unknown_key_is_not_found(world: &impl World) {
    let revoked = world.accounts().revoke_api_key(ApiKeyId::generate(), now()).await;
    assert!(matches!(revoked, Err(AccountError::NotFound)), "{revoked:?}");
}
