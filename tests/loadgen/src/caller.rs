//! A client that asks about many callers, which h2load can't, and tells how long each answer took.

use std::time::{Duration, Instant};

use rpc::ratelimit::v1::rate_limit_service_client::RateLimitServiceClient;
use stack::Service;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use crate::calls::check_request;

/// Drives a service for that long with so many Checks at a time, of callers in turn: `caller-0` up to `caller-N`.
/// Gives how long each took, ascending; what was not answered at all is an error.
pub(crate) async fn latencies(
    service: &Service,
    at_once: usize,
    callers: usize,
    duration: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let channel = Endpoint::from_shared(service.grpc_url())?.connect().await?;
    let end = Instant::now() + duration;
    let mut tasks = JoinSet::new();
    for first in 0..at_once {
        let mut client = RateLimitServiceClient::new(channel.clone());
        tasks.spawn(async move {
            let (mut caller, mut latencies) = (first, Vec::new());
            while Instant::now() < end {
                let began = Instant::now();
                client.check(check_request("caller", &format!("caller-{caller}"))).await?;
                latencies.push(began.elapsed());
                // A stride that visits them in no order that a cache would like.
                caller = (caller + 7_919 * at_once) % callers;
            }
            Ok::<_, tonic::Status>(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(task) = tasks.join_next().await {
        latencies.extend(task??);
    }
    latencies.sort_unstable();
    Ok(latencies)
}
