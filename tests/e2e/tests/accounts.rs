//! Accounts and API keys: who a caller is, everywhere, and never anonymous by mistake.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::{Duration, SystemTime};

use e2e::{ADMIN_KEY, Client, NewKey, PATIENCE, assert_explained, violated_fields};
use prost::Message as _;
use rpc::snippets::v1::{
    Account, CreateAccountRequest, CreateApiKeyRequest, GetAccountRequest, GetCallerRequest,
    ListAccountsRequest, ListAccountsResponse, ListApiKeysRequest, RevokeApiKeyRequest, Tier,
    UpdateAccountRequest,
};
use stack::{Product, until};
use tokio::sync::OnceCell;
use tonic::{Code, Status};

async fn product() -> &'static Product {
    static PRODUCT: OnceCell<Product> = OnceCell::const_new();
    let start = async || e2e::product(&e2e::backends().await).workers(0).start().await.unwrap();
    PRODUCT.get_or_init(start).await
}

async fn anonymous() -> Client {
    Client::to(&product().await.snippets[0]).await.unwrap()
}

/// The paths of all methods of `snippets.v1`.
fn methods() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(rpc::FILE_DESCRIPTOR_SET).unwrap();
    let files = set.file.iter().filter(|file| file.package() == "snippets.v1");
    let services = files.flat_map(|file| &file.service);
    let paths = services.flat_map(|service| {
        service.method.iter().map(|method| format!("/snippets.v1.{}/{}", service.name(), method.name()))
    });
    paths.collect()
}

async fn known_as(client: &Client) -> Result<Option<Account>, Status> {
    Ok(client.accounts().get_caller(GetCallerRequest {}).await?.into_inner().account)
}

async fn assert_refused_everywhere(caller: &Client, who: &str) {
    let methods = methods();
    assert_eq!(methods.len(), 15);
    for method in methods {
        let status = caller.call(&method).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{who} at {method}: {status:?}");
        assert_explained(&status);
    }
}

#[tokio::test]
async fn a_caller_is_who_its_key_says() {
    let anonymous = anonymous().await;
    assert_eq!(known_as(&anonymous).await.unwrap(), None);
    for tier in [Tier::Free, Tier::Premium, Tier::Admin] {
        let NewKey { account, secret, key } = anonymous.new_key(tier).await.unwrap();
        assert_eq!((account.tier(), key.account_id.as_str()), (tier, account.id.as_str()));
        let plain = anonymous.with_header("x-api-key", &secret);
        let bearer = anonymous.with_header("authorization", &format!("Bearer {secret}"));
        for caller in [plain, bearer] {
            assert_eq!(known_as(&caller).await.unwrap().as_ref(), Some(&account));
        }
    }
    let bootstrap = known_as(&anonymous.as_admin()).await.unwrap().unwrap();
    assert_eq!(bootstrap.tier(), Tier::Admin);
}

#[tokio::test]
async fn a_header_without_a_usable_key_is_refused_by_every_method() {
    let anonymous = anonymous().await;
    let NewKey { secret, .. } = anonymous.new_key(Tier::Free).await.unwrap();
    let callers = [
        ("an unknown key", anonymous.with_key("snip_0000")),
        ("an empty key", anonymous.with_key("")),
        ("a prefix of a key", anonymous.with_key(&secret[..secret.len() - 1])),
        ("a key in capitals", anonymous.with_key(&secret.to_uppercase())),
        ("basic authentication", anonymous.with_header("authorization", "Basic YTpi")),
        ("no scheme", anonymous.with_header("authorization", &secret)),
        ("an empty bearer", anonymous.with_header("authorization", "Bearer ")),
        (
            "two keys",
            anonymous.with_key(&secret).with_header("authorization", &format!("Bearer {ADMIN_KEY}")),
        ),
    ];
    for (who, caller) in callers {
        assert_refused_everywhere(&caller, who).await;
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_here_and_soon_and_for_good_elsewhere() {
    let anonymous = anonymous().await;
    let NewKey { secret, key, .. } = anonymous.new_key(Tier::Admin).await.unwrap();
    let elsewhere = Client::to(&product().await.snippets[1]).await.unwrap().with_key(&secret);
    let here = anonymous.with_key(&secret);
    for caller in [&here, &elsewhere] {
        assert!(known_as(caller).await.unwrap().is_some());
    }

    let request = RevokeApiKeyRequest { id: key.id.clone() };
    let mut admin = anonymous.as_admin().accounts();
    admin.revoke_api_key(request.clone()).await.unwrap();
    assert_refused_everywhere(&here, "a revoked key").await;
    // It takes a second at most, which is for the unit tests to measure.
    let refused = async || known_as(&elsewhere).await.is_err();
    until("the revoked key is refused", PATIENCE, refused).await.unwrap();
    for caller in [&elsewhere, &here, &elsewhere] {
        assert_refused_everywhere(caller, "a revoked key").await;
    }
    // Revoking twice is not an error; a key that never was is.
    admin.revoke_api_key(request).await.unwrap();
    let unknown = RevokeApiKeyRequest { id: "00000000-0000-0000-0000-000000000000".into() };
    assert_eq!(admin.revoke_api_key(unknown).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_tier_and_a_disabled_account_are_known_elsewhere_soon() {
    let anonymous = anonymous().await;
    let admin = anonymous.as_admin();
    let NewKey { account, secret, .. } = anonymous.new_key(Tier::Free).await.unwrap();
    let elsewhere = Client::to(&product().await.snippets[1]).await.unwrap().with_key(&secret);
    assert_eq!(known_as(&elsewhere).await.unwrap().unwrap().tier(), Tier::Free);
    let raised = Account { id: account.id.clone(), tier: Tier::Premium.into(), ..Account::default() };
    edit(&admin, raised, None).await.unwrap();
    let known = async || known_as(&elsewhere).await.unwrap().unwrap().tier() == Tier::Premium;
    until("the tier is known", PATIENCE, known).await.unwrap();
    edit(&admin, Account { id: account.id, disabled: true, ..Account::default() }, None).await.unwrap();
    let refused = async || known_as(&elsewhere).await.is_err();
    until("the disabled account is refused", PATIENCE, refused).await.unwrap();
    assert_refused_everywhere(&elsewhere, "a disabled account").await;
}

#[tokio::test]
async fn a_key_in_use_costs_the_database_a_fraction_of_its_calls() {
    let product = e2e::product(&e2e::backends().await).replicas(1).workers(0).start().await.unwrap();
    let replica = &product.snippets[0];
    let caller = Client::to(replica).await.unwrap().as_new(Tier::Free).await.unwrap();
    let lookups = async |outcome: &str| {
        replica.metric(&format!("snippets_api_key_lookups_total{{outcome=\"{outcome}\"}}")).await.unwrap()
    };
    let calls = 50_u32;
    for _ in 0..calls {
        known_as(&caller).await.unwrap();
    }
    let [hits, misses] = [lookups("hit").await, lookups("miss").await];
    assert!((hits + misses - f64::from(calls)).abs() < 0.5, "{hits} {misses}");
    assert!(hits > 0.0 && misses > 0.0, "{hits} {misses}");
    assert!(lookups("error").await.abs() < 0.5);
}

#[tokio::test]
async fn an_expired_key_is_refused() {
    let anonymous = anonymous().await;
    let mut admin = anonymous.as_admin().accounts();
    let NewKey { account, .. } = anonymous.new_key(Tier::Free).await.unwrap();
    let expire_time = Some((SystemTime::now() + Duration::from_secs(2)).into());
    let request = CreateApiKeyRequest { account_id: account.id, expire_time, ..Default::default() };
    let response = admin.create_api_key(request).await.unwrap().into_inner();
    assert!(response.api_key.unwrap().expire_time.is_some());
    let caller = anonymous.with_key(&response.secret);
    assert!(known_as(&caller).await.unwrap().is_some());
    let refused = async || known_as(&caller).await.is_err();
    until("the key expires", Duration::from_secs(5), refused).await.unwrap();
    assert_refused_everywhere(&caller, "an expired key").await;
}

#[tokio::test]
async fn the_key_of_a_disabled_account_is_refused() {
    let anonymous = anonymous().await;
    let disabled = Account { display_name: "gone".into(), disabled: true, ..Account::default() };
    let NewKey { account, secret, .. } = anonymous.new_key_of(disabled).await.unwrap();
    assert!(account.disabled);
    assert_refused_everywhere(&anonymous.with_key(&secret), "a disabled account").await;
}

#[tokio::test]
async fn only_admins_manage_accounts() {
    let anonymous = anonymous().await;
    let free = anonymous.as_new(Tier::Free).await.unwrap();
    let premium = anonymous.as_new(Tier::Premium).await.unwrap();
    for method in [
        "CreateAccount",
        "GetAccount",
        "ListAccounts",
        "UpdateAccount",
        "CreateApiKey",
        "ListApiKeys",
        "RevokeApiKey",
    ] {
        let path = format!("/snippets.v1.AccountService/{method}");
        for (caller, expected) in [
            (&anonymous, Code::Unauthenticated),
            (&free, Code::PermissionDenied),
            (&premium, Code::PermissionDenied),
        ] {
            let status = caller.call(&path).await.unwrap_err();
            assert_eq!(status.code(), expected, "{method}");
            assert_explained(&status);
        }
    }
}

#[tokio::test]
async fn an_admin_account_manages_accounts_and_an_account_reads_back() {
    let anonymous = anonymous().await;
    let mut admin = anonymous.as_new(Tier::Admin).await.unwrap().accounts();
    let wanted = Account { display_name: "Ada".into(), tier: Tier::Premium.into(), ..Account::default() };
    let created = admin.create_account(CreateAccountRequest { account: Some(wanted) }).await.unwrap();
    let created = created.into_inner().account.unwrap();
    assert_eq!((created.display_name.as_str(), created.tier()), ("Ada", Tier::Premium));
    assert!(!created.disabled && created.create_time.is_some());
    let read = admin.get_account(GetAccountRequest { id: created.id.clone() }).await.unwrap().into_inner();
    assert_eq!(read.account.as_ref(), Some(&created));
    let missing = GetAccountRequest { id: "00000000-0000-0000-0000-000000000000".into() };
    let status = admin.get_account(missing).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_explained(&status);
    let of_nobody = CreateApiKeyRequest {
        account_id: "00000000-0000-0000-0000-000000000000".into(),
        ..CreateApiKeyRequest::default()
    };
    assert_eq!(admin.create_api_key(of_nobody).await.unwrap_err().code(), Code::NotFound);
}

async fn page(admin: &Client, page_size: i32, page_token: &str) -> Result<ListAccountsResponse, Status> {
    let request = ListAccountsRequest { page_size, page_token: page_token.into() };
    Ok(admin.accounts().list_accounts(request).await?.into_inner())
}

#[tokio::test]
async fn all_accounts_are_listed_newest_first_in_pages() {
    let anonymous = anonymous().await;
    let (one, other) =
        (anonymous.as_admin(), Client::to(&product().await.snippets[1]).await.unwrap().as_admin());
    let mut made = Vec::new();
    for _ in 0..5 {
        made.insert(0, anonymous.new_key(Tier::Free).await.unwrap().account);
    }
    // Each replica takes the tokens of the other, and each page may have a size of its own.
    let (mut listed, mut token, mut pages) = (Vec::new(), String::new(), 0);
    for (replica, page_size) in [&one, &other].into_iter().cycle().zip([1, 2, 3].into_iter().cycle()) {
        let page = page(replica, page_size, &token).await.unwrap();
        listed.extend(page.accounts);
        (token, pages) = (page.next_page_token, pages + 1);
        if token.is_empty() {
            break;
        }
    }
    assert!(pages > 2);
    let ours: Vec<_> = listed.iter().filter(|account| made.contains(account)).cloned().collect();
    assert_eq!(ours, made);
    let mut ids: Vec<_> = listed.iter().map(|account| account.id.clone()).collect();
    ids.reverse();
    assert!(ids.is_sorted());
    ids.dedup();
    assert_eq!(ids.len(), listed.len());
}

#[tokio::test]
async fn a_page_token_is_good_for_its_caller_alone_and_unchanged() {
    let anonymous = anonymous().await;
    let [one, other] =
        [anonymous.as_new(Tier::Admin).await.unwrap(), anonymous.as_new(Tier::Admin).await.unwrap()];
    let token = page(&one, 1, "").await.unwrap().next_page_token;
    page(&one, 200, &token).await.unwrap();
    let changed = format!("{}A", &token[..token.len() - 1]);
    let shorter = &token[..token.len() - 4];
    for (caller, token) in [(&other, token.as_str()), (&one, &changed), (&one, shorter), (&one, "no token")] {
        let status = page(caller, 1, token).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{token}: {status:?}");
        assert_eq!(violated_fields(&status), ["page_token"]);
        assert_explained(&status);
    }
    let status = page(&one, -1, "no token").await.unwrap_err();
    assert_eq!(violated_fields(&status), ["page_size", "page_token"]);
}

async fn edit(admin: &Client, account: Account, mask: Option<&[&str]>) -> Result<Account, Status> {
    let paths = mask.map(|paths| paths.iter().map(ToString::to_string).collect());
    let update_mask = paths.map(|paths| prost_types::FieldMask { paths });
    let request = UpdateAccountRequest { account: Some(account), update_mask };
    Ok(admin.accounts().update_account(request).await?.into_inner().account.unwrap())
}

#[tokio::test]
async fn an_account_is_renamed_raised_disabled_and_enabled_again() {
    let anonymous = anonymous().await;
    let admin = anonymous.as_admin();
    let NewKey { account, secret, .. } = anonymous.new_key(Tier::Free).await.unwrap();
    let caller = anonymous.with_key(&secret);
    assert_eq!(known_as(&caller).await.unwrap().as_ref(), Some(&account));

    let wanted = Account { id: account.id.clone(), display_name: "Zoë".into(), ..Account::default() };
    let renamed = edit(&admin, wanted.clone(), None).await.unwrap();
    assert_eq!(renamed, Account { display_name: "Zoë".into(), ..account.clone() });
    let raised = Account { tier: Tier::Premium.into(), ..wanted.clone() };
    let raised = edit(&admin, raised, Some(&["tier"])).await.unwrap();
    assert_eq!(known_as(&caller).await.unwrap(), Some(raised.clone()));
    assert_eq!(raised.tier(), Tier::Premium);

    edit(&admin, Account { disabled: true, ..wanted.clone() }, Some(&["disabled"])).await.unwrap();
    assert_refused_everywhere(&caller, "a disabled account").await;
    let enabled = edit(&admin, wanted.clone(), Some(&["disabled"])).await.unwrap();
    assert_eq!(known_as(&caller).await.unwrap(), Some(enabled));

    let replaced = edit(&admin, wanted.clone(), Some(&["*"])).await.unwrap();
    assert_eq!(replaced, renamed);
    for (mask, field) in
        [(&["id"][..], "update_mask"), (&["create_time"], "update_mask"), (&["key"], "update_mask")]
    {
        let status = edit(&admin, wanted.clone(), Some(mask)).await.unwrap_err();
        assert_eq!(violated_fields(&status), [field], "{mask:?}: {status:?}");
        assert_explained(&status);
    }
    let nobody = Account { id: "00000000-0000-0000-0000-000000000000".into(), ..wanted };
    assert_eq!(edit(&admin, nobody, None).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn the_keys_of_an_account_are_listed_without_their_secrets_and_are_a_hundred_at_most() {
    let anonymous = anonymous().await;
    let mut admin = anonymous.as_admin().accounts();
    let NewKey { account, key, .. } = anonymous.new_key(Tier::Free).await.unwrap();
    let new = CreateApiKeyRequest { account_id: account.id.clone(), ..CreateApiKeyRequest::default() };
    let mut keys = vec![key];
    for _ in 1..100 {
        keys.insert(0, admin.create_api_key(new.clone()).await.unwrap().into_inner().api_key.unwrap());
    }
    let list = ListApiKeysRequest { account_id: account.id };
    assert_eq!(admin.list_api_keys(list.clone()).await.unwrap().into_inner().api_keys, keys);

    let status = admin.create_api_key(new.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("100 keys"), "{status:?}");
    assert_explained(&status);
    admin.revoke_api_key(RevokeApiKeyRequest { id: keys[3].id.clone() }).await.unwrap();
    admin.create_api_key(new).await.unwrap();
    let listed = admin.list_api_keys(list).await.unwrap().into_inner().api_keys;
    assert_eq!(listed.len(), 101);
    assert!(listed.iter().all(|key| key.revoke_time.is_some() == (key.id == keys[3].id)));

    let nobody = ListApiKeysRequest { account_id: "00000000-0000-0000-0000-000000000000".into() };
    assert_eq!(admin.list_api_keys(nobody).await.unwrap_err().code(), Code::NotFound);
    let malformed = admin.list_api_keys(ListApiKeysRequest { account_id: "x".into() }).await.unwrap_err();
    assert_eq!(violated_fields(&malformed), ["account_id"]);
}

#[tokio::test]
async fn the_bootstrap_key_is_in_no_log() {
    let anonymous = anonymous().await;
    let NewKey { secret, .. } = anonymous.new_key(Tier::Free).await.unwrap();
    known_as(&anonymous.with_key(&secret)).await.unwrap();
    for replica in &product().await.snippets {
        let log = replica.log();
        assert!(!log.contains(ADMIN_KEY) && !log.contains(&secret), "{log}");
    }
}
