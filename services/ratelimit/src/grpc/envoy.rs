//! `envoy.service.ratelimit.v3.RateLimitService`.

mod headers;
mod metadata;
mod request;

use std::{sync::Arc, time::Duration};

use chassis::status::Error;
use rpc::envoy::service::ratelimit::v3::{
    RateLimitRequest, RateLimitResponse, rate_limit_response as pb,
    rate_limit_service_server::RateLimitService,
};
use tonic::{Request, Response, Status, async_trait};

pub use headers::ResponseHeaders;

use super::ratelimit::to_duration;
use crate::limiter::{Limiter, Outcome, RuleStatus, UNLIMITED};

/// Serves a [`Limiter`] to Envoy.
#[derive(Clone)]
pub struct EnvoyRateLimit {
    limiter: Arc<Limiter>,
    headers: ResponseHeaders,
}

impl EnvoyRateLimit {
    /// Serves that limiter, and adds those headers to responses.
    pub fn new(limiter: Arc<Limiter>, headers: ResponseHeaders) -> Self {
        Self { limiter, headers }
    }
}

#[async_trait]
impl RateLimitService for EnvoyRateLimit {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let request = request.into_inner();
        let descriptors = request::descriptors(&request)?;
        let outcome =
            self.limiter.should_rate_limit(&request.domain, &descriptors).await.map_err(Error::from)?;
        Ok(Response::new(RateLimitResponse {
            overall_code: code(outcome.allowed).into(),
            statuses: (0..descriptors.len()).map(|index| descriptor_status(&outcome, index)).collect(),
            response_headers_to_add: self.headers.of(&outcome),
            dynamic_metadata: metadata::of(&request.domain, &outcome),
            ..RateLimitResponse::default()
        }))
    }
}

/// Of a descriptor's rules the one that comes closest to denying speaks.
fn descriptor_status(outcome: &Outcome, index: usize) -> pb::DescriptorStatus {
    let rules = outcome.statuses.iter().filter(|status| status.descriptor_index == index);
    rules.min_by_key(|status| closeness(status)).map_or_else(unmatched, to_status)
}

/// The lowest is the closest to denying.
fn closeness(status: &RuleStatus) -> (bool, u64) {
    (status.shadow || status.decision.allowed, status.decision.remaining)
}

fn unmatched() -> pb::DescriptorStatus {
    pb::DescriptorStatus { code: pb::Code::Ok.into(), ..pb::DescriptorStatus::default() }
}

fn to_status(status: &RuleStatus) -> pb::DescriptorStatus {
    if status.kind.is_none() {
        return pb::DescriptorStatus { limit_remaining: u32::MAX, ..unmatched() };
    }
    pb::DescriptorStatus {
        code: code(status.shadow || status.decision.allowed).into(),
        current_limit: Some(current_limit(status)),
        limit_remaining: remaining(status),
        duration_until_reset: Some(to_duration(until_reset(status))),
        ..pb::DescriptorStatus::default()
    }
}

/// What is denied is not told that something is left, though it may be for a lower cost.
fn remaining(status: &RuleStatus) -> u32 {
    let remaining = if status.decision.allowed { status.decision.remaining } else { 0 };
    u32::try_from(remaining.min(UNLIMITED)).unwrap_or(u32::MAX)
}

/// Until the request could pass, or else until the limit is whole again.
fn until_reset(status: &RuleStatus) -> Duration {
    status.decision.retry_after.unwrap_or(status.decision.reset_after)
}

fn code(allowed: bool) -> pb::Code {
    if allowed { pb::Code::Ok } else { pb::Code::OverLimit }
}

fn current_limit(status: &RuleStatus) -> pb::RateLimit {
    pb::RateLimit {
        requests_per_unit: u32::try_from(status.limit).unwrap_or(u32::MAX),
        unit: unit(status.period).into(),
        name: status.given_name.as_deref().unwrap_or_default().to_owned(),
        unit_multiplier: None,
    }
}

/// A period that is none of Envoy's units is not told.
fn unit(period: Option<Duration>) -> pb::rate_limit::Unit {
    use pb::rate_limit::Unit;
    const DAY: u64 = 24 * 60 * 60;
    match period.filter(|period| period.subsec_nanos() == 0).map(|period| period.as_secs()) {
        Some(1) => Unit::Second,
        Some(60) => Unit::Minute,
        Some(3600) => Unit::Hour,
        Some(DAY) => Unit::Day,
        Some(seconds) if seconds == 7 * DAY => Unit::Week,
        Some(seconds) if seconds == 30 * DAY => Unit::Month,
        Some(seconds) if seconds == 365 * DAY => Unit::Year,
        _ => Unit::Unknown,
    }
}
