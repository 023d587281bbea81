//! `ratelimit.v1.RateLimitService`.

use std::{sync::Arc, time::Duration};

use chassis::status::Error;
use ratelimit_core::{Algorithm, Kind, OnError, Policy, Rule, algorithm::CalendarPeriod};
use rpc::ratelimit::v1::{self as pb, rate_limit_service_server::RateLimitService};
use tonic::{Request, Response, Status, async_trait};

use super::{input::Input, status};
use crate::{
    denials::Offender,
    limiter::{Limiter, Mode, Outcome, RuleStatus, limit},
};

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
        let pb::CheckRequest { domain, descriptors, request_id, peek } = request.into_inner();
        let mut input = Input::default();
        input.domain(&domain);
        let descriptors = input.descriptors(descriptors);
        let mode = match (peek, request_id.as_str()) {
            (true, _) => Mode::Peek,
            (false, "") => Mode::Charge,
            (false, request_id) => {
                input.request_id(request_id);
                Mode::Once(request_id)
            }
        };
        input.finish()?;
        let outcome = self.limiter.check(&domain, &descriptors, mode).await.map_err(Error::from)?;
        Ok(Response::new(outcome.into()))
    }

    async fn refund(
        &self,
        request: Request<pb::RefundRequest>,
    ) -> Result<Response<pb::RefundResponse>, Status> {
        let pb::RefundRequest { domain, request_id } = request.into_inner();
        let mut input = Input::default();
        input.domain(&domain);
        input.request_id(&request_id);
        input.finish()?;
        let refunded =
            self.limiter.refund(&domain, &request_id).await.map_err(|error| status::unavailable(&error))?;
        Ok(Response::new(pb::RefundResponse { refunded }))
    }

    async fn reset(&self, request: Request<pb::ResetRequest>) -> Result<Response<pb::ResetResponse>, Status> {
        let pb::ResetRequest { domain, descriptors } = request.into_inner();
        let mut input = Input::default();
        input.domain(&domain);
        let descriptors = input.descriptors(descriptors);
        input.finish()?;
        self.limiter.reset(&domain, &descriptors).await.map_err(|error| status::unavailable(&error))?;
        Ok(Response::new(pb::ResetResponse {}))
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

    async fn list_top_denied(
        &self,
        request: Request<pb::ListTopDeniedRequest>,
    ) -> Result<Response<pb::ListTopDeniedResponse>, Status> {
        let pb::ListTopDeniedRequest { domain, limit } = request.into_inner();
        let mut input = Input::default();
        input.domain(&domain);
        let count = input.top_denied(limit);
        input.finish()?;
        let entries = self.limiter.top_denied(&domain, count).into_iter().map(to_denied).collect();
        Ok(Response::new(pb::ListTopDeniedResponse { entries }))
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
    fn from(status: RuleStatus) -> Self {
        let RuleStatus { rule, descriptor_index, kind, limit, shadow, decision, .. } = status;
        Self {
            rule: rule.to_string(),
            descriptor_index: u32::try_from(descriptor_index).unwrap_or(u32::MAX),
            algorithm: to_algorithm(kind).into(),
            limit,
            remaining: decision.remaining,
            reset_after: Some(to_duration(decision.reset_after)),
            retry_after: decision.retry_after.map(to_duration),
            allowed: decision.allowed,
            shadow,
        }
    }
}

fn to_rule(domain: &str, rule: &Rule) -> pb::Rule {
    let mut told = pb::Rule {
        domain: domain.to_owned(),
        rule: rule.name.to_string(),
        limit: limit(&rule.policy),
        shadow: !rule.is_enforced(),
        lease: rule.lease.unwrap_or_default(),
        on_error: to_on_error(rule.on_error).into(),
        ..pb::Rule::default()
    };
    // A rule without a limit counts by no algorithm.
    if let Policy::Limited(algorithm) = &rule.policy {
        told.set_algorithm(to_algorithm(Some(algorithm.kind())));
        told.period = algorithm.period().map(to_duration);
        match algorithm {
            Algorithm::TokenBucket(bucket) => told.burst = bucket.burst(),
            Algorithm::Quota(quota) => {
                told.set_calendar_period(to_calendar_period(quota.period()));
                quota.time_zone_name().clone_into(&mut told.time_zone);
            }
            _ => {}
        }
    }
    told
}

fn to_algorithm(kind: Option<Kind>) -> pb::Algorithm {
    match kind {
        None => pb::Algorithm::Unspecified,
        Some(Kind::FixedWindow) => pb::Algorithm::FixedWindow,
        Some(Kind::SlidingWindow) => pb::Algorithm::SlidingWindow,
        Some(Kind::TokenBucket) => pb::Algorithm::TokenBucket,
        Some(Kind::LeakyBucket) => pb::Algorithm::LeakyBucket,
        Some(Kind::Quota) => pb::Algorithm::Quota,
        Some(Kind::Concurrency) => pb::Algorithm::Concurrency,
    }
}

fn to_calendar_period(period: CalendarPeriod) -> pb::CalendarPeriod {
    match period {
        CalendarPeriod::Day => pb::CalendarPeriod::Day,
        CalendarPeriod::Week => pb::CalendarPeriod::Week,
        CalendarPeriod::Month => pb::CalendarPeriod::Month,
    }
}

fn to_on_error(on_error: OnError) -> pb::OnError {
    match on_error {
        OnError::Allow => pb::OnError::Allow,
        OnError::Deny => pb::OnError::Deny,
        OnError::Local => pb::OnError::Local,
    }
}

fn to_denied((offender, denied): (Arc<Offender>, u64)) -> pb::DeniedDescriptor {
    let entry =
        |(key, value): &(String, String)| pb::descriptor::Entry { key: key.clone(), value: value.clone() };
    let entries = offender.entries.iter().map(entry).collect();
    pb::DeniedDescriptor {
        rule: offender.rule.to_string(),
        descriptor: Some(pb::Descriptor { entries, cost: 0 }),
        denied,
    }
}

/// Periods and waits are of 366 days at most, which a protobuf duration holds.
pub(super) fn to_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}
