//! `ratelimit.v1.RateLimitService`.

use std::{sync::Arc, time::Duration};

use chassis::status::Error;
use ratelimit_core::{Algorithm, Policy, Rule};
use rpc::ratelimit::v1::{self as pb, rate_limit_service_server::RateLimitService};
use tonic::{Request, Response, Status, async_trait};

use super::{input, status};
use crate::limiter::{Limiter, Outcome, RuleStatus, limit};

/// Serves a [`Limiter`].
#[derive(Clone)]
pub struct RateLimit {
    limiter: Arc<Limiter>,
}

impl RateLimit {
    /// Serves that limiter.
    pub fn new(limiter: Arc<Limiter>) -> Self {
        Self { limiter }
    }
}

#[async_trait]
impl RateLimitService for RateLimit {
    async fn check(&self, request: Request<pb::CheckRequest>) -> Result<Response<pb::CheckResponse>, Status> {
        let mut request = request.into_inner();
        if !request.request_id.is_empty() {
            return Err(Error::field_unimplemented("request_id").into());
        }
        let (domain, peek) = (request.domain.clone(), request.peek);
        let descriptors =
            input::descriptors(std::mem::take(&mut request)).map_err(Error::invalid_argument)?;
        let outcome = self.limiter.check(&domain, &descriptors, peek).await.map_err(Error::from)?;
        Ok(Response::new(outcome.into()))
    }

    async fn list_rules(
        &self,
        request: Request<pb::ListRulesRequest>,
    ) -> Result<Response<pb::ListRulesResponse>, Status> {
        let domain = request.into_inner().domain;
        let set = self.limiter.rules();
        let wanted = set.domains().filter(|(name, _)| domain.is_empty() || domain == *name);
        let rules =
            wanted.flat_map(|(name, domain)| domain.rules().iter().map(|rule| to_rule(name, rule))).collect();
        Ok(Response::new(pb::ListRulesResponse { rules, version: set.version().to_owned() }))
    }

    async fn refund(&self, _: Request<pb::RefundRequest>) -> Result<Response<pb::RefundResponse>, Status> {
        Err(status::not_served_yet("Refund"))
    }

    async fn reset(&self, _: Request<pb::ResetRequest>) -> Result<Response<pb::ResetResponse>, Status> {
        Err(status::not_served_yet("Reset"))
    }

    async fn list_top_denied(
        &self,
        _: Request<pb::ListTopDeniedRequest>,
    ) -> Result<Response<pb::ListTopDeniedResponse>, Status> {
        Err(status::not_served_yet("ListTopDenied"))
    }
}

impl From<Outcome> for pb::CheckResponse {
    fn from(outcome: Outcome) -> Self {
        let retry_after = outcome.retry_after.map(to_duration);
        let statuses = outcome.statuses.into_iter().map(Into::into).collect();
        Self { allowed: outcome.allowed, retry_after, statuses }
    }
}

impl From<RuleStatus> for pb::LimitStatus {
    fn from(RuleStatus { rule, descriptor_index, decision }: RuleStatus) -> Self {
        Self {
            rule: rule.name.to_string(),
            descriptor_index: u32::try_from(descriptor_index).unwrap_or(u32::MAX),
            algorithm: to_algorithm(&rule.policy).into(),
            limit: limit(&rule.policy),
            remaining: decision.remaining,
            reset_after: Some(to_duration(decision.reset_after)),
            retry_after: decision.retry_after.map(to_duration),
            allowed: decision.allowed,
            shadow: rule.shadow,
        }
    }
}

fn to_rule(domain: &str, rule: &Rule) -> pb::Rule {
    let (period, burst) = match rule.policy {
        Policy::Unlimited => (None, 0),
        Policy::Limited(Algorithm::TokenBucket(bucket)) => {
            (Some(to_duration(bucket.period())), bucket.burst())
        }
        Policy::Limited(algorithm) => (Some(to_duration(algorithm.period())), 0),
    };
    pb::Rule {
        domain: domain.to_owned(),
        rule: rule.name.to_string(),
        algorithm: to_algorithm(&rule.policy).into(),
        limit: limit(&rule.policy),
        period,
        burst,
        shadow: rule.shadow,
    }
}

/// A rule without a limit counts by no algorithm.
fn to_algorithm(policy: &Policy) -> pb::Algorithm {
    match policy {
        Policy::Unlimited => pb::Algorithm::Unspecified,
        Policy::Limited(Algorithm::FixedWindow(_)) => pb::Algorithm::FixedWindow,
        Policy::Limited(Algorithm::TokenBucket(_)) => pb::Algorithm::TokenBucket,
    }
}

/// Periods and waits are of 366 days at most, which a protobuf duration holds.
fn to_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}
