//! The calls that can be driven.

use anyhow::Context as _;
use clap::ValueEnum;
use prost::Message as _;
use rpc::envoy::extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor as envoy};
use rpc::envoy::service::ratelimit::v3::RateLimitRequest;
use rpc::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient as EnvoyClient;
use rpc::ratelimit::v1::rate_limit_service_client::RateLimitServiceClient;
use rpc::ratelimit::v1::{CheckRequest, Descriptor, descriptor::Entry};
use rpc::snippets::v1::snippet_service_client::SnippetServiceClient;
use rpc::snippets::v1::{CreateSnippetRequest, GetSnippetRequest, Snippet, SnippetView, Visibility};
use tonic::transport::{Channel, Endpoint};

use crate::driven::{Driven, Server};

/// A call of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Call {
    /// `GetSnippet` of one public snippet, from the cache
    Get,
    /// The same with the view BASIC, which counts no view
    GetBasic,
    /// `Check` of one caller far below its limit
    Check,
    /// The same with two limits
    CheckTwoLimits,
    /// `Check` of a hot key whose limit is leased
    CheckLeased,
    /// `Check` of a key that is denied
    CheckDenied,
    /// `ShouldRateLimit` of one caller far below its limit
    Envoy,
}

const ENVOY: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// A call that has been made once, and the length of its answer in bytes.
pub(crate) type Prepared<'a> = anyhow::Result<(Driven<'a>, usize)>;

impl Call {
    /// The service that answers it.
    pub(crate) fn service(self) -> &'static str {
        if matches!(self, Self::Get | Self::GetBasic) { "snippets" } else { "ratelimit" }
    }

    /// Prepares the call. Snippets have bodies of that length.
    pub(crate) async fn prepare(self, server: Server<'_>, body_bytes: u32) -> Prepared<'_> {
        match self {
            Self::Get => get("GetSnippet", server, SnippetView::Full, body_bytes).await,
            Self::GetBasic => get("GetSnippet, BASIC", server, SnippetView::Basic, body_bytes).await,
            Self::Check => check("Check", server, "caller").await,
            Self::CheckTwoLimits => check("Check, two limits", server, "two").await,
            Self::CheckLeased => check("Check, leased", server, "leased").await,
            Self::CheckDenied => check("Check, denied", server, "denied").await,
            Self::Envoy => should_rate_limit("ShouldRateLimit", server, "caller").await,
        }
    }
}

async fn get<'a>(name: &'static str, server: Server<'a>, view: SnippetView, body_bytes: u32) -> Prepared<'a> {
    let mut client = SnippetServiceClient::new(channel(server).await?);
    let body = "x".repeat(usize::try_from(body_bytes)?);
    let snippet = Snippet { body, visibility: Visibility::Public.into(), ..Snippet::default() };
    let request = CreateSnippetRequest { snippet: Some(snippet), ..CreateSnippetRequest::default() };
    let snippet = client.create_snippet(request).await?.into_inner().snippet.context("no snippet")?;
    let request = GetSnippetRequest { id: snippet.id, view: view.into(), ..GetSnippetRequest::default() };
    // This one fills the cache.
    let answer = client.get_snippet(request.clone()).await?.into_inner();
    let method = "/snippets.v1.SnippetService/GetSnippet";
    Ok((Driven::new(name, server, method, &request), answer.encoded_len()))
}

/// A Check in the domain of the benchmark.
pub(crate) fn check_request(key: &str, value: &str) -> CheckRequest {
    let entries = vec![Entry { key: key.into(), value: value.into() }];
    let descriptors = vec![Descriptor { entries, ..Descriptor::default() }];
    CheckRequest { domain: "bench".into(), descriptors, ..CheckRequest::default() }
}

async fn check<'a>(name: &'static str, server: Server<'a>, key: &str) -> Prepared<'a> {
    let mut client = RateLimitServiceClient::new(channel(server).await?);
    let request = check_request(key, "bench");
    // The first is allowed, also by the limit that denies from then on.
    client.check(request.clone()).await?;
    let answer = client.check(request.clone()).await?.into_inner();
    let method = "/ratelimit.v1.RateLimitService/Check";
    Ok((Driven::new(name, server, method, &request), answer.encoded_len()))
}

/// In Envoy's protocol, which envoyproxy/ratelimit speaks too.
pub(crate) async fn should_rate_limit<'a>(name: &'static str, server: Server<'a>, key: &str) -> Prepared<'a> {
    let mut client = EnvoyClient::new(channel(server).await?);
    let entries = vec![envoy::Entry { key: key.into(), value: "bench".into() }];
    let descriptors = vec![RateLimitDescriptor { entries, ..RateLimitDescriptor::default() }];
    let request = RateLimitRequest { domain: "envoy".into(), descriptors, hits_addend: 0 };
    client.should_rate_limit(request.clone()).await?;
    let answer = client.should_rate_limit(request.clone()).await?.into_inner();
    Ok((Driven::new(name, server, ENVOY, &request), answer.encoded_len()))
}

async fn channel(server: Server<'_>) -> anyhow::Result<Channel> {
    Ok(Endpoint::from_shared(server.grpc_url())?.connect().await?)
}
