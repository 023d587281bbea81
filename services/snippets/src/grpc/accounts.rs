//! `snippets.v1.AccountService`.

use std::sync::Arc;

use rpc::snippets::v1 as pb;
use rpc::snippets::v1::account_service_server::AccountService;
use tonic::{Request, Response, Status};

use super::{authenticate::caller, error::ApiError, messages, page_token::PageTokens};
use crate::{
    domain::{
        Account, AccountId, ApiKey, ApiKeyId, ApiKeyName, ApiKeySecret, Caller, DisplayName, Identity,
        Violation, Violations, now, to_micros,
    },
    ports::AccountStore,
};

pub(super) struct Accounts {
    store: Arc<dyn AccountStore>,
    #[allow(dead_code, reason = "the lists come next")]
    page_tokens: Arc<PageTokens>,
}

impl Accounts {
    pub(super) fn new(store: Arc<dyn AccountStore>, page_tokens: Arc<PageTokens>) -> Self {
        Self { store, page_tokens }
    }

    async fn create(&self, request: Request<pb::CreateAccountRequest>) -> Result<pb::Account, ApiError> {
        demand_admin(&caller(&request)?)?;
        let account = new_account(request.into_inner().account)?;
        self.store.create_account(&account).await?;
        Ok(messages::account(&account))
    }

    async fn get(&self, request: Request<pb::GetAccountRequest>) -> Result<pb::Account, ApiError> {
        demand_admin(&caller(&request)?)?;
        let id = AccountId::parse(&request.into_inner().id)?;
        let account = self.store.get_account(id).await?.ok_or(ApiError::AccountNotFound)?;
        Ok(messages::account(&account))
    }

    async fn create_key(
        &self,
        request: Request<pb::CreateApiKeyRequest>,
    ) -> Result<pb::CreateApiKeyResponse, ApiError> {
        demand_admin(&caller(&request)?)?;
        let key = new_api_key(request.into_inner())?;
        let secret = ApiKeySecret::generate();
        self.store.create_api_key(&key, &secret.hash()).await?;
        let secret = secret.expose().to_owned();
        Ok(pb::CreateApiKeyResponse { api_key: Some(messages::api_key(&key)), secret })
    }

    async fn revoke_key(&self, request: Request<pb::RevokeApiKeyRequest>) -> Result<(), ApiError> {
        demand_admin(&caller(&request)?)?;
        let id = ApiKeyId::parse(&request.into_inner().id)?;
        Ok(self.store.revoke_api_key(id, now()).await?)
    }
}

fn demand_admin(caller: &Caller) -> Result<(), ApiError> {
    match (caller.is_admin(), caller.is_anonymous()) {
        (true, _) => Ok(()),
        (false, true) => Err(ApiError::KeyNeeded),
        (false, false) => Err(ApiError::AdminsOnly),
    }
}

fn new_account(message: Option<pb::Account>) -> Result<Account, ApiError> {
    let message = message.ok_or_else(|| Violation::new("account", "is required"))?;
    let mut violations = Violations::default();
    let display_name = violations.check("account", DisplayName::parse(message.display_name));
    let tier = violations.check("account", messages::tier(message.tier));
    match (display_name, tier) {
        (Some(display_name), Some(tier)) => {
            let id = AccountId::generate();
            Ok(Account { id, display_name, tier, disabled: message.disabled, create_time: now() })
        }
        _ => Err(violations.into()),
    }
}

fn new_api_key(message: pb::CreateApiKeyRequest) -> Result<ApiKey, ApiError> {
    let now = now();
    let mut violations = Violations::default();
    let account_id = AccountId::parse(&message.account_id).map_err(|violation| violation.at("account_id"));
    let account_id = violations.check("", account_id);
    let display_name = violations.check("", ApiKeyName::parse(message.display_name));
    let expire_time =
        message.expire_time.and_then(|time| violations.check("", messages::time("expire_time", time)));
    if expire_time.is_some_and(|time| time <= now) {
        violations.push(Violation::new("expire_time", "must lie in the future"));
    }
    match (account_id, display_name) {
        (Some(account_id), Some(display_name)) if violations.is_empty() => Ok(ApiKey {
            id: ApiKeyId::generate(),
            account_id,
            display_name,
            create_time: now,
            expire_time: expire_time.map(to_micros),
            revoke_time: None,
        }),
        _ => Err(violations.into()),
    }
}

/// The account that a caller is known as; none for an anonymous one.
fn known_as(caller: &Caller) -> Option<pb::Account> {
    match &caller.identity {
        Identity::Anonymous => None,
        Identity::Account(account) => Some(messages::account(account)),
        // It has no account, hence no id.
        Identity::BootstrapAdmin => Some(pb::Account {
            display_name: "bootstrap admin".to_owned(),
            tier: pb::Tier::Admin.into(),
            ..pb::Account::default()
        }),
    }
}

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn create_account(
        &self,
        request: Request<pb::CreateAccountRequest>,
    ) -> Result<Response<pb::CreateAccountResponse>, Status> {
        let account = self.create(request).await?;
        Ok(Response::new(pb::CreateAccountResponse { account: Some(account) }))
    }

    async fn get_account(
        &self,
        request: Request<pb::GetAccountRequest>,
    ) -> Result<Response<pb::GetAccountResponse>, Status> {
        let account = self.get(request).await?;
        Ok(Response::new(pb::GetAccountResponse { account: Some(account) }))
    }

    async fn create_api_key(
        &self,
        request: Request<pb::CreateApiKeyRequest>,
    ) -> Result<Response<pb::CreateApiKeyResponse>, Status> {
        Ok(Response::new(self.create_key(request).await?))
    }

    async fn revoke_api_key(
        &self,
        request: Request<pb::RevokeApiKeyRequest>,
    ) -> Result<Response<pb::RevokeApiKeyResponse>, Status> {
        self.revoke_key(request).await?;
        Ok(Response::new(pb::RevokeApiKeyResponse {}))
    }

    async fn get_caller(
        &self,
        request: Request<pb::GetCallerRequest>,
    ) -> Result<Response<pb::GetCallerResponse>, Status> {
        let account = known_as(&caller(&request)?);
        Ok(Response::new(pb::GetCallerResponse { account }))
    }

    async fn list_accounts(
        &self,
        _: Request<pb::ListAccountsRequest>,
    ) -> Result<Response<pb::ListAccountsResponse>, Status> {
        Err(ApiError::MethodUnimplemented.into())
    }

    async fn update_account(
        &self,
        _: Request<pb::UpdateAccountRequest>,
    ) -> Result<Response<pb::UpdateAccountResponse>, Status> {
        Err(ApiError::MethodUnimplemented.into())
    }

    async fn list_api_keys(
        &self,
        _: Request<pb::ListApiKeysRequest>,
    ) -> Result<Response<pb::ListApiKeysResponse>, Status> {
        Err(ApiError::MethodUnimplemented.into())
    }
}
