//! The service as a process, and how it is asked.

use std::path::Path;

use rpc::ratelimit::v1::{
    CheckRequest, CheckResponse, Descriptor, descriptor::Entry,
    rate_limit_service_client::RateLimitServiceClient,
};
use stack::{Service, ServiceBuilder};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

pub type Client = RateLimitServiceClient<Channel>;

pub fn builder(redis_url: &str, key_prefix: &str) -> ServiceBuilder {
    Service::builder("ratelimit", env!("CARGO_BIN_EXE_ratelimit").into())
        .env("COUNTERS_REDIS_URL", redis_url)
        .env("KEY_PREFIX", key_prefix)
}

/// A service on the shared Redis; patient, since the tests share few cores with many servers.
pub fn shared(key_prefix: &str) -> ServiceBuilder {
    builder(stack::shared().counters_redis_url(), key_prefix).env("REDIS_TIMEOUT", "5s")
}

pub async fn channel(service: &Service) -> Channel {
    Endpoint::from_shared(service.grpc_url()).unwrap().connect().await.unwrap()
}

pub async fn client(service: &Service) -> Client {
    RateLimitServiceClient::new(channel(service).await)
}

pub fn descriptor(entries: &[(&str, &str)]) -> Descriptor {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).into(), value: (*value).into() };
    Descriptor { entries: entries.iter().map(entry).collect(), cost: 0 }
}

pub fn write_by(tier: &str, caller: &str) -> CheckRequest {
    check("snippets", &[("tier", tier), ("caller", caller)])
}

pub fn check(domain: &str, entries: &[(&str, &str)]) -> CheckRequest {
    CheckRequest { domain: domain.into(), descriptors: vec![descriptor(entries)], ..Default::default() }
}

pub async fn ask(client: &mut Client, request: &CheckRequest) -> CheckResponse {
    client.check(request.clone()).await.unwrap().into_inner()
}

pub async fn refused(client: &mut Client, request: CheckRequest) -> Status {
    client.check(request).await.unwrap_err()
}

pub fn violated_fields(status: &Status) -> Vec<String> {
    let violations = status.get_details_bad_request().unwrap().field_violations;
    violations.into_iter().map(|violation| violation.field).collect()
}

/// A metric that counts, which is a whole number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and positive")]
pub async fn count(service: &Service, selector: &str) -> u64 {
    service.metric(selector).await.unwrap() as u64
}

pub fn rules_file(folder: &Path, text: &str) -> String {
    let path = folder.join("rules.yaml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}
