//! Asks the ratelimit service whether a caller may go on.

use std::time::Duration;

use async_trait::async_trait;
use rpc::ratelimit::v1 as pb;
use rpc::ratelimit::v1::rate_limit_service_client::RateLimitServiceClient;
use tokio::time::timeout;
use tonic::{
    Code,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use crate::{
    domain::{Caller, Tier},
    ports::{Charge, LimitDecision, RateLimitDenial, RateLimiter},
};

/// The domain of the rules that callers are checked against.
pub const DOMAIN: &str = "snippets";

/// Bytes are counted in steps of so many. Small writes are all alike by that, so that the limiter knows the next of a flood by
/// the one that it has just denied.
const BYTES_STEP: u64 = 1024;

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
    async fn check(&self, caller: &Caller, charge: Charge) -> LimitDecision {
        let request = pb::CheckRequest {
            domain: DOMAIN.to_owned(),
            descriptors: descriptors(caller, charge).map(descriptor).collect(),
            peek: charge == Charge::Nothing,
            ..pb::CheckRequest::default()
        };
        // The channel's own deadline begins only once it is connected.
        let mut client = self.client.clone();
        match timeout(self.timeout, client.check(request)).await {
            Ok(Ok(response)) => decision(response.into_inner()),
            // All else that it could find invalid is of our own making, and right.
            Ok(Err(status)) if status.code() == Code::InvalidArgument => LimitDecision::NeverFits,
            Ok(Err(status)) => LimitDecision::Unavailable { reason: status.to_string() },
            Err(elapsed) => LimitDecision::Unavailable { reason: elapsed.to_string() },
        }
    }
}

/// The entries of a descriptor: keys and values.
pub type Entries = [(&'static str, String); 2];

/// What the rules are asked: each descriptor with its cost. They can tell callers apart by `tier` (`anonymous` without an
/// account), and then limit writes by `caller`, bytes by `bytes` and vain reads by `missing`, all of which name the caller.
pub fn descriptors(caller: &Caller, charge: Charge) -> impl Iterator<Item = (Entries, u64)> {
    let tier = caller.tier().map_or("anonymous", Tier::as_str);
    let name = caller.limited_as();
    let costs = match charge {
        Charge::Misses { count } => [("missing", count), ("bytes", 0)],
        Charge::Nothing => [("caller", 1), ("bytes", BYTES_STEP)],
        Charge::Write { bytes } => [("caller", 1), ("bytes", bytes.next_multiple_of(BYTES_STEP))],
    };
    let charged = costs.into_iter().filter(|(_, cost)| *cost > 0);
    charged.map(move |(what, cost)| ([("tier", tier.to_owned()), (what, name.clone())], cost))
}

fn descriptor((entries, cost): (Entries, u64)) -> pb::Descriptor {
    let entry = |(key, value): (&str, String)| pb::descriptor::Entry { key: key.to_owned(), value };
    pb::Descriptor { entries: entries.into_iter().map(entry).collect(), cost }
}

fn decision(response: pb::CheckResponse) -> LimitDecision {
    if response.allowed {
        return LimitDecision::Allowed;
    }
    let retry_after = duration(response.retry_after);
    let denying = response.statuses.into_iter().filter(|status| !status.allowed && !status.shadow);
    let longest = denying.max_by_key(|status| duration(status.retry_after)).unwrap_or_default();
    LimitDecision::Denied(RateLimitDenial {
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
    use crate::domain::Identity;

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
        let checks = join_all((0..16).map(|_| limiter.check(&caller, Charge::Write { bytes: 1 })));
        let decisions = timeout(MINUTE / 2, checks).await.expect("each waits for its own time only");
        assert!(decisions.iter().all(|decision| matches!(decision, LimitDecision::Unavailable { .. })));
    }

    #[test]
    fn a_write_is_charged_as_one_and_for_its_bytes() {
        let caller = Caller { address: Ipv4Addr::LOCALHOST.into(), identity: Identity::Anonymous };
        let asked = |charge| {
            let asked = descriptors(&caller, charge).map(|(entries, cost)| {
                assert_eq!(entries[0], ("tier", "anonymous".into()));
                assert_eq!(entries[1].1, "127.0.0.1");
                (entries[1].0, cost)
            });
            asked.collect::<Vec<_>>()
        };
        assert_eq!(asked(Charge::Write { bytes: 1 }), [("caller", 1), ("bytes", 1024)]);
        assert_eq!(asked(Charge::Write { bytes: 1024 }), [("caller", 1), ("bytes", 1024)]);
        assert_eq!(asked(Charge::Write { bytes: 1025 }), [("caller", 1), ("bytes", 2048)]);
        assert_eq!(asked(Charge::Write { bytes: 0 }), [("caller", 1)]);
        assert_eq!(asked(Charge::Misses { count: 7 }), [("missing", 7)]);
    }
}
