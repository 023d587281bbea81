//! `snippets.v1.AccountService`.

mod input;

use std::sync::Arc;

use rpc::snippets::v1 as pb;
use rpc::snippets::v1::account_service_server::AccountService;
use tonic::{Request, Response, Status};

use super::{
    authenticate::caller,
    error::ApiError,
    messages,
    page::{Page, Position},
    page_token::{List, PageTokens},
};
use crate::{
    domain::{AccountId, ApiKeyId, ApiKeySecret, Caller, Identity, now},
    ports::AccountStore,
};

pub(super) struct Accounts {
    store: Arc<dyn AccountStore>,
    page_tokens: Arc<PageTokens>,
}

impl Accounts {
    pub(super) fn new(store: Arc<dyn AccountStore>, page_tokens: Arc<PageTokens>) -> Self {
        Self { store, page_tokens }
    }

    async fn create(&self, request: Request<pb::CreateAccountRequest>) -> Result<pb::Account, ApiError> {
        demand_admin(&caller(&request)?)?;
        let account = input::new_account(request.into_inner().account)?;
        self.store.create_account(&account).await?;
        Ok(messages::account(&account))
    }

    async fn get(&self, request: Request<pb::GetAccountRequest>) -> Result<pb::Account, ApiError> {
        demand_admin(&caller(&request)?)?;
        let id = AccountId::parse(&request.into_inner().id)?;
        let account = self.store.get_account(id).await?.ok_or(ApiError::AccountNotFound)?;
        Ok(messages::account(&account))
    }

    async fn list(
        &self,
        request: Request<pb::ListAccountsRequest>,
    ) -> Result<pb::ListAccountsResponse, ApiError> {
        let caller = caller(&request)?;
        demand_admin(&caller)?;
        let request = request.into_inner();
        let list = List::new("ListAccounts", &caller);
        let page: Page<AccountId> =
            Page::parse(&self.page_tokens, list, request.page_size, &request.page_token).await?;
        let read = self.store.list_accounts(page.after, page.limit()).await?;
        let (accounts, next_page_token) = page.cut(&self.page_tokens, read, |account| account.id).await?;
        let accounts = accounts.iter().map(messages::account).collect();
        Ok(pb::ListAccountsResponse { accounts, next_page_token })
    }

    async fn update(&self, request: Request<pb::UpdateAccountRequest>) -> Result<pb::Account, ApiError> {
        demand_admin(&caller(&request)?)?;
        let (id, patch) = input::edit(request.into_inner())?;
        Ok(messages::account(&self.store.update_account(id, &patch).await?))
    }

    async fn list_keys(
        &self,
        request: Request<pb::ListApiKeysRequest>,
    ) -> Result<pb::ListApiKeysResponse, ApiError> {
        demand_admin(&caller(&request)?)?;
        let account_id = input::account_id(&request.into_inner().account_id)?;
        let keys = self.store.list_api_keys(account_id).await?;
        Ok(pb::ListApiKeysResponse { api_keys: keys.iter().map(messages::api_key).collect() })
    }

    async fn create_key(
        &self,
        request: Request<pb::CreateApiKeyRequest>,
    ) -> Result<pb::CreateApiKeyResponse, ApiError> {
        demand_admin(&caller(&request)?)?;
        let key = input::new_api_key(request.into_inner())?;
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

impl Position for AccountId {
    fn to_bytes(&self) -> Vec<u8> {
        self.0.as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        uuid::Uuid::from_slice(bytes).ok().map(Self)
    }
}

pub(super) fn demand_admin(caller: &Caller) -> Result<(), ApiError> {
    match (caller.is_admin(), caller.is_anonymous()) {
        (true, _) => Ok(()),
        (false, true) => Err(ApiError::KeyNeeded),
        (false, false) => Err(ApiError::AdminsOnly),
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
        request: Request<pb::ListAccountsRequest>,
    ) -> Result<Response<pb::ListAccountsResponse>, Status> {
        Ok(Response::new(self.list(request).await?))
    }

    async fn update_account(
        &self,
        request: Request<pb::UpdateAccountRequest>,
    ) -> Result<Response<pb::UpdateAccountResponse>, Status> {
        let account = self.update(request).await?;
        Ok(Response::new(pb::UpdateAccountResponse { account: Some(account) }))
    }

    async fn list_api_keys(
        &self,
        request: Request<pb::ListApiKeysRequest>,
    ) -> Result<Response<pb::ListApiKeysResponse>, Status> {
        Ok(Response::new(self.list_keys(request).await?))
    }
}
