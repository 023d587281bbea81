//! The calls that are about no snippet.

use e2e::NewKey;
use rpc::snippets::v1::{
    Account, CreateAccountRequest, CreateApiKeyRequest, GetAccountRequest, GetCallerRequest,
    ListAccountsRequest, ListApiKeysRequest, RevokeApiKeyRequest, Snippet, Tier, UpdateAccountRequest,
};
use tonic::{Response, Status};

use crate::calls::failed;
use crate::scene::{BODY, Caller, Scene};
use crate::table;

pub async fn everybody_does_what_the_table_says(scene: &Scene) {
    let mut wrong = Vec::new();
    for ([call], kind, expected) in table::cells::<1>(table::OTHERS) {
        for caller in scene.callers.iter().filter(|caller| caller.kind == kind) {
            let outcome =
                make(call, scene, caller).await.map_or_else(|status| failed(&status).outcome, |()| "done");
            if outcome != expected {
                wrong.push(format!("{call} by {}: {outcome}, not {expected}", caller.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The call on an account and a key that are there.
async fn make(call: &str, scene: &Scene, caller: &Caller) -> Result<(), Status> {
    let NewKey { account, key, .. } = scene.callers[0].client.new_key(Tier::Free).await.unwrap();
    let id = account.id;
    let display_name = "somebody".to_owned();
    let account = Some(Account { id: id.clone(), display_name: display_name.clone(), ..Account::default() });
    let mut api = caller.client.accounts();
    match call {
        "create_snippet" => {
            caller.client.create(Snippet { body: BODY.into(), ..Snippet::default() }).await.map(drop)
        }
        "create_account" => api.create_account(CreateAccountRequest { account }).await.map(drop),
        "get_account" => api.get_account(GetAccountRequest { id }).await.map(drop),
        "list_accounts" => api.list_accounts(ListAccountsRequest::default()).await.map(drop),
        "update_account" => {
            api.update_account(UpdateAccountRequest { account, update_mask: None }).await.map(drop)
        }
        "create_api_key" => {
            let request = CreateApiKeyRequest { account_id: id, display_name, expire_time: None };
            api.create_api_key(request).await.map(drop)
        }
        "list_api_keys" => api.list_api_keys(ListApiKeysRequest { account_id: id }).await.map(drop),
        "revoke_api_key" => api.revoke_api_key(RevokeApiKeyRequest { id: key.id }).await.map(drop),
        "get_caller" => api.get_caller(GetCallerRequest {}).await.map(Response::into_inner).map(drop),
        other => panic!("no such call: {other}"),
    }
}
