//! Asks the ratelimit service whether a caller may write.

use std::time::Duration;

use async_trait::async_trait;
use rpc::ratelimit::v1 as pb;
use rpc::ratelimit::v1::rate_limit_service_client::RateLimitServiceClient;
use tonic::{
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use crate::{
    domain::{Caller, Identity},
    ports::{RateLimitDenial, RateLimiter, WriteDecision},
};

/// The domain of the rules that writes are checked against.
pub const DOMAIN: &str = "snippets";

/// [`RateLimiter`] over `ratelimit.v1`.
pub struct RateLimitServiceLimiter<I> {
    client: RateLimitServiceClient<InterceptedService<Channel, I>>,
}

/// A limiter that waits for an answer no longer than `timeout`, nor longer than its caller has time.
pub fn limiter(channel: Channel, timeout: Duration) -> impl RateLimiter {
    let client = RateLimitServiceClient::with_interceptor(channel, chassis::client::on_behalf(timeout));
    RateLimitServiceLimiter { client }
}

#[async_trait]
impl<I: Interceptor + Clone + Send + Sync + 'static> RateLimiter for RateLimitServiceLimiter<I> {
    async fn check_write(&self, caller: &Caller) -> WriteDecision {
        let request = pb::CheckRequest {
            domain: DOMAIN.to_owned(),
            descriptors: vec![descriptor(caller)],
            ..pb::CheckRequest::default()
        };
        match self.client.clone().check(request).await {
            Ok(response) => decision(response.into_inner()),
            Err(status) => WriteDecision::Unavailable { reason: status.to_string() },
        }
    }
}

/// What the rules can tell callers apart by: `tier` (`anonymous` without an account), then `caller`.
pub fn subject(caller: &Caller) -> [(&'static str, String); 2] {
    let tier = caller.tier().map_or("anonymous", crate::domain::Tier::as_str);
    let name = match &caller.identity {
        Identity::Account(account) => account.id.to_string(),
        Identity::Anonymous | Identity::BootstrapAdmin => caller.address.to_string(),
    };
    [("tier", tier.to_owned()), ("caller", name)]
}

fn descriptor(caller: &Caller) -> pb::Descriptor {
    let entry = |(key, value): (&str, String)| pb::descriptor::Entry { key: key.to_owned(), value };
    pb::Descriptor { entries: subject(caller).into_iter().map(entry).collect(), cost: 1 }
}

fn decision(response: pb::CheckResponse) -> WriteDecision {
    if response.allowed {
        return WriteDecision::Allowed;
    }
    let retry_after = duration(response.retry_after);
    let denying = response.statuses.into_iter().filter(|status| !status.allowed && !status.shadow);
    let longest = denying.max_by_key(|status| duration(status.retry_after)).unwrap_or_default();
    WriteDecision::Denied(RateLimitDenial {
        rule: longest.rule,
        retry_after,
        limit: longest.limit,
        remaining: longest.remaining,
        reset_after: duration(longest.reset_after),
    })
}

fn duration(duration: Option<prost_types::Duration>) -> Duration {
    duration.and_then(|duration| duration.try_into().ok()).unwrap_or_default()
}
