//! Requests about accounts and keys.

use prost_types::{FieldMask, Timestamp};
use rpc::snippets::v1::{
    Account, CreateAccountRequest, CreateApiKeyRequest, GetAccountRequest, ListAccountsRequest,
    ListApiKeysRequest, RevokeApiKeyRequest, UpdateAccountRequest,
};

use crate::Case;
use crate::sending::{Bad, bad};

const SOMEBODY: &str = "0190b3a0-0000-7000-8000-000000000000";
const ID: &str = "id: must be a UUID";
const ACCOUNT_ID: &str = "account_id: must be a UUID";
const LONG_NAME: &str = "display_name: must have at most 200 characters";
const TIER: &str = "account.tier: must be FREE, PREMIUM or ADMIN";
const FUTURE: &str = "expire_time: must lie in the future";
const NO_TIME: &str = "expire_time: must lie in the years 1 to 9999, and its nanos between 0 and 999999999";
const TOKEN: &str =
    "page_token: must be the next_page_token of the same list, asked for with the same arguments";

pub fn cases() -> Vec<Case> {
    [accounts(), edits(), keys()].into_iter().flatten().collect()
}

fn create(display_name: &str, tier: i32) -> Bad {
    let account = Some(Account { display_name: display_name.into(), tier, ..Account::default() });
    bad("/snippets.v1.AccountService/CreateAccount", &CreateAccountRequest { account })
}

fn list(page_size: i32, page_token: &str) -> Bad {
    let request = ListAccountsRequest { page_size, page_token: page_token.into() };
    bad("/snippets.v1.AccountService/ListAccounts", &request)
}

fn accounts() -> Vec<Case> {
    let long = "x".repeat(201);
    let get = |id: &str| bad("/snippets.v1.AccountService/GetAccount", &GetAccountRequest { id: id.into() });
    vec![
        (
            bad("/snippets.v1.AccountService/CreateAccount", &CreateAccountRequest { account: None }),
            &["account: is required"],
        ),
        (create("", 0), &["account.display_name: must not be empty"]),
        (create(&long, 0), &["account.display_name: must have at most 200 characters"]),
        (create("nul\0", 0), &["account.display_name: must not contain NUL"]),
        (create("fine", 99), &[TIER]),
        (create("", 99), &["account.display_name: must not be empty", TIER]),
        (get(""), &[ID]),
        (get("no uuid"), &[ID]),
        (list(-1, ""), &["page_size: must not be negative"]),
        (list(0, "no token"), &[TOKEN]),
        (list(-1, "no token"), &["page_size: must not be negative", TOKEN]),
    ]
}

fn update(account: Option<Account>, mask: &[&str]) -> Bad {
    let paths: Vec<_> = mask.iter().map(|path| (*path).to_owned()).collect();
    let update_mask = (!paths.is_empty()).then_some(FieldMask { paths });
    bad("/snippets.v1.AccountService/UpdateAccount", &UpdateAccountRequest { account, update_mask })
}

fn edits() -> Vec<Case> {
    let named = |id: &str| Account { id: id.into(), ..Account::default() };
    let fine = || named(SOMEBODY);
    vec![
        (update(None, &["tier"]), &["account: is required"]),
        (update(Some(named("no uuid")), &["tier"]), &["account.id: must be a UUID"]),
        (update(Some(fine()), &[]), &["update_mask: must name a field, or a field must be set"]),
        (update(Some(fine()), &["display_name"]), &["account.display_name: must not be empty"]),
        (update(Some(fine()), &["*"]), &["account.display_name: must not be empty"]),
        (update(Some(Account { tier: 99, ..fine() }), &["tier"]), &[TIER]),
        (update(Some(Account { tier: -1, ..fine() }), &[]), &[TIER]),
        (
            update(Some(fine()), &["id", "create_time"]),
            &["update_mask: \"id\" can't be changed", "update_mask: \"create_time\" can't be changed"],
        ),
        (
            update(Some(fine()), &["account.tier"]),
            &[
                "update_mask: \"account.tier\" is no field of an account; expected display_name, tier, disabled",
            ],
        ),
        (
            update(Some(named("")), &["*", "tier"]),
            &["account.id: must be a UUID", "update_mask: \"*\" must stand alone"],
        ),
    ]
}

fn key(account_id: &str, display_name: &str, seconds: Option<i64>) -> Bad {
    let expire_time = seconds.map(|seconds| Timestamp { seconds, nanos: 0 });
    let (account_id, display_name) = (account_id.into(), display_name.into());
    let request = CreateApiKeyRequest { account_id, display_name, expire_time };
    bad("/snippets.v1.AccountService/CreateApiKey", &request)
}

fn keys() -> Vec<Case> {
    let long = "x".repeat(201);
    let next_year = Some(1_830_000_000);
    let list = |account_id: &str| {
        let request = ListApiKeysRequest { account_id: account_id.into() };
        bad("/snippets.v1.AccountService/ListApiKeys", &request)
    };
    let revoke =
        |id: &str| bad("/snippets.v1.AccountService/RevokeApiKey", &RevokeApiKeyRequest { id: id.into() });
    vec![
        (key("no uuid", "", next_year), &[ACCOUNT_ID]),
        (key(SOMEBODY, &long, next_year), &[LONG_NAME]),
        (key(SOMEBODY, "\0", next_year), &["display_name: must not contain NUL"]),
        (key(SOMEBODY, "", Some(1)), &[FUTURE]),
        (key(SOMEBODY, "", Some(i64::MAX)), &[NO_TIME]),
        // The year 10,000.
        (key(SOMEBODY, "", Some(253_402_300_800)), &[NO_TIME]),
        (key("", &long, Some(1)), &[ACCOUNT_ID, LONG_NAME, FUTURE]),
        (list(""), &[ACCOUNT_ID]),
        (list("no uuid"), &[ACCOUNT_ID]),
        (revoke(""), &[ID]),
        (revoke("no uuid"), &[ID]),
    ]
}
