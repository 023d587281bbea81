//! The gRPC face of the service: who calls, may it write, and the methods themselves.

mod accounts;
mod admins_only;
mod authenticate;
mod batch_get;
mod client_address;
mod compression;
mod create_request;
mod error;
mod field_mask;
mod get_snippet;
mod in_process;
mod limit_misses;
mod limit_writes;
mod limits;
mod list;
mod message_head;
mod messages;
mod page;
mod page_token;
mod repetition;
mod snippets;
mod update_mask;
mod view_stats;

use std::sync::Arc;

use axum::{Router, middleware};
use chassis::Routes;
use rpc::snippets::v1::{
    account_service_server::AccountServiceServer, snippet_service_server::SnippetServiceServer,
};
use tonic::{
    codec::CompressionEncoding::{Gzip, Zstd},
    service,
};

use crate::{
    domain::KeyHash,
    http,
    ports::{AccountStore, PageTokenKeys, RateLimiter, SnippetLists, SnippetStore, ViewHistory, ViewSink},
    views::ViewCounts,
};

pub(crate) use authenticate::{Callers, authenticate};
pub use client_address::TrustedProxies;
pub(crate) use error::ApiError;
use get_snippet::GetSnippet;
pub(crate) use limit_misses::{Misses, limit_misses};
pub(crate) use limits::charge;
pub(crate) use snippets::Snippets;

/// Largest request that brings a body, in bytes: one of 1 MiB, and room to say what is wrong with one that is somewhat larger.
const WRITE_REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Largest of all others, in bytes: a hundred ids are 1,300, and room to say what is wrong with more.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Largest request about accounts, in bytes: the longest names and ids, many times over.
const ACCOUNT_REQUEST_BYTES_MAX: usize = 64 * 1024;

/// What the API is made of.
pub struct Api {
    /// Where snippets are kept.
    pub snippets: Arc<dyn SnippetStore>,
    /// Lists snippets.
    pub lists: Arc<dyn SnippetLists>,
    /// Where accounts and keys are kept.
    pub accounts: Arc<dyn AccountStore>,
    /// Where the key of page tokens is kept.
    pub page_token_keys: Arc<dyn PageTokenKeys>,
    /// Takes note of views.
    pub views: Arc<dyn ViewSink>,
    /// Tells how often a snippet was viewed.
    pub view_counts: Arc<ViewCounts>,
    /// Tells when a snippet was viewed.
    pub view_history: Arc<dyn ViewHistory>,
    /// Limits callers.
    pub limiter: Arc<dyn RateLimiter>,
    /// The hash of the key that makes its bearer an admin, if there is one.
    pub bootstrap_admin: Option<KeyHash>,
    /// Whose `x-forwarded-for` is believed.
    pub trusted_proxies: TrustedProxies,
    /// What is served to admins beside this API.
    pub for_admins: Router,
}

impl Api {
    /// Both services and the HTTP face, behind authentication and the limits.
    pub fn routes(self) -> Routes {
        let page_tokens = Arc::new(page_token::PageTokens::new(self.page_token_keys));
        let snippets = Arc::new(Snippets {
            store: self.snippets,
            lists: self.lists,
            page_tokens: page_tokens.clone(),
            views: self.views,
            view_counts: self.view_counts,
            view_history: self.view_history,
        });
        let accounts = accounts::Accounts::new(self.accounts.clone(), page_tokens);
        let accounts = AccountServiceServer::new(accounts)
            .accept_compressed(Gzip)
            .accept_compressed(Zstd)
            .max_decoding_message_size(ACCOUNT_REQUEST_BYTES_MAX);
        let callers = Arc::new(Callers {
            accounts: self.accounts,
            bootstrap_admin: self.bootstrap_admin,
            trusted_proxies: self.trusted_proxies,
        });
        let misses = Arc::new(Misses::new(self.limiter.clone()));
        let http = http::routes(snippets.clone(), self.limiter.clone(), misses.clone(), callers.clone());
        let get_snippet = GetSnippet::new(snippets.clone(), callers.clone(), misses.clone());
        let routes = service::Routes::new(accounts)
            .into_axum_router()
            .merge(reads(&snippets, misses))
            .merge(writes(&snippets, self.limiter))
            .merge(self.for_admins.layer(middleware::from_fn(admins_only::admins_only)))
            .layer(middleware::from_fn_with_state(callers, authenticate))
            .merge(http);
        Routes::from(routes).with_hot(get_snippet::PATH, move |request| get_snippet.clone().answer(request))
    }
}

/// All methods but those that write, and [`GetSnippet`].
fn reads(snippets: &Arc<Snippets>, misses: Arc<Misses>) -> Router {
    Router::new()
        .route_service("/snippets.v1.SnippetService/{*method}", taking(snippets, REQUEST_BYTES_MAX))
        .layer(middleware::from_fn_with_state(misses, limit_misses))
}

/// The methods that write, which go before the route of the whole service.
fn writes(snippets: &Arc<Snippets>, limiter: Arc<dyn RateLimiter>) -> Router {
    let stores = taking(snippets, WRITE_REQUEST_BYTES_MAX);
    let deletes = taking(snippets, REQUEST_BYTES_MAX);
    let stores = Router::new()
        .route_service("/snippets.v1.SnippetService/CreateSnippet", stores.clone())
        .route_service("/snippets.v1.SnippetService/UpdateSnippet", stores)
        .layer(middleware::from_fn_with_state(limiter.clone(), limit_writes::limit_writes));
    let deletes = Router::new()
        .route_service("/snippets.v1.SnippetService/DeleteSnippet", deletes)
        .layer(middleware::from_fn_with_state(limiter, limit_writes::limit_deletes));
    stores.merge(deletes)
}

/// The service, taking requests of so many bytes, also once they are decompressed.
fn taking(snippets: &Arc<Snippets>, bytes_max: usize) -> SnippetServiceServer<Snippets> {
    SnippetServiceServer::from_arc(snippets.clone())
        .accept_compressed(Gzip)
        .accept_compressed(Zstd)
        .max_decoding_message_size(bytes_max)
}
