//! Asks the ratelimit service whether a caller may write.

use std::time::Duration;

use async_trait::async_trait;
use rpc::ratelimit::v1 as pb;
use rpc::ratelimit::v1::rate_limit_service_client::RateLimitServiceClient;
use tokio::time::timeout;
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
    timeout: Duration,
}

/// A limiter that waits for an answer no longer than `timeout`, nor longer than its caller has time.
pub fn limiter(channel: Channel, timeout: Duration) -> impl RateLimiter {
    let client = RateLimitServiceClient::with_interceptor(channel, chassis::client::on_behalf(timeout));
    RateLimitServiceLimiter { client, timeout }
}

#[async_trait]
impl<I: Interceptor + Clone + Send + Sync + 'static> RateLimiter for RateLimitServiceLimiter<I> {
    async fn check_write(&self, caller: &Caller) -> WriteDecision {
        let request = pb::CheckRequest {
            domain: DOMAIN.to_owned(),
            descriptors: vec![descriptor(caller)],
            ..pb::CheckRequest::default()
        };
        // The channel's own deadline begins only once it is connected.
        let mut client = self.client.clone();
        match timeout(self.timeout, client.check(request)).await {
            Ok(Ok(response)) => decision(response.into_inner()),
            Ok(Err(status)) => WriteDecision::Unavailable { reason: status.to_string() },
            Err(elapsed) => WriteDecision::Unavailable { reason: elapsed.to_string() },
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::future::join_all;
    use tokio::net::{TcpSocket, TcpStream};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_limiter_that_can_not_even_be_connected_to_holds_nobody_up() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(0).unwrap();
        let addr = listener.local_addr().unwrap();
        // Once its queue is full the kernel answers no further connection.
        let mut queued = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(addr)).await {
            queued.push(stream.unwrap());
        }
        let channel = chassis::client::channel(&format!("http://{addr}"), MINUTE).unwrap();
        let limiter = limiter(channel, Duration::from_millis(50));
        let caller = Caller { address: Ipv4Addr::LOCALHOST.into(), identity: Identity::Anonymous };
        let checks = join_all((0..16).map(|_| limiter.check_write(&caller)));
        let decisions = timeout(MINUTE / 2, checks).await.expect("each waits for its own time only");
        assert!(decisions.iter().all(|decision| matches!(decision, WriteDecision::Unavailable { .. })));
    }
}
