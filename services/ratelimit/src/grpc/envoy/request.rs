//! What Envoy asks, in the limiter's words.

use std::{fmt, time::Duration};

use chassis::status::Error;
use ratelimit_core::algorithm::{FixedWindow, PERIOD_MAX};
use rpc::envoy::{
    extensions::common::ratelimit::v3::{
        RateLimitDescriptor, rate_limit_descriptor::Entry, rate_limit_descriptor::RateLimitOverride,
    },
    service::ratelimit::v3::RateLimitRequest,
    r#type::v3::RateLimitUnit,
};
use tonic::Status;

use crate::{
    grpc::input::{DESCRIPTORS_MAX, Input},
    limiter::Descriptor,
};

/// The descriptors of a request whose fields are all right.
pub(super) fn descriptors(request: &RateLimitRequest) -> Result<Vec<Descriptor>, Status> {
    let mut input = Input::default();
    input.domain(&request.domain);
    input.count_descriptors(request.descriptors.len());
    let descriptors = request.descriptors.iter().take(DESCRIPTORS_MAX).enumerate();
    let descriptors =
        descriptors.map(|(index, it)| descriptor(&mut input, it, index, request.hits_addend)).collect();
    if let Some(index) = request.descriptors.iter().position(|it| it.is_negative_hits) {
        return Err(Error::field_unimplemented(&format!("descriptors[{index}].is_negative_hits")).into());
    }
    input.finish()?;
    Ok(descriptors)
}

fn descriptor(
    input: &mut Input,
    descriptor: &RateLimitDescriptor,
    index: usize,
    hits_addend: u32,
) -> Descriptor {
    let entries: Vec<_> =
        descriptor.entries.iter().map(|Entry { key, value }| (key.clone(), value.clone())).collect();
    // Values are what clients send, such as paths, and may be of any length: by an error Envoy would let them pass.
    input.keys(&entries, format_args!("descriptors[{index}].entries"));
    // Of the request 0 counts as 1; of a descriptor it is a peek.
    let cost = descriptor.hits_addend.unwrap_or_else(|| u64::from(hits_addend.max(1)));
    let limit = descriptor.limit.as_ref();
    let limit =
        limit.and_then(|limit| override_limit(input, limit, format_args!("descriptors[{index}].limit")));
    Descriptor { entries, cost, limit }
}

fn override_limit(
    input: &mut Input,
    limit: &RateLimitOverride,
    field: fmt::Arguments<'_>,
) -> Option<FixedWindow> {
    let unit = seconds(limit.unit());
    input.expect(
        unit.is_some(),
        format_args!("{field}.unit"),
        "must be SECOND, MINUTE, HOUR, DAY, MONTH or YEAR",
    );
    let multiplier = limit.unit_multiplier.unwrap_or(1).max(1);
    let period = Duration::from_secs(unit? * u64::from(multiplier));
    let window = FixedWindow::new(limit.requests_per_unit.into(), period).ok();
    let max_days = PERIOD_MAX.as_secs() / seconds(RateLimitUnit::Day)?;
    input.expect(
        window.is_some(),
        format_args!("{field}.unit_multiplier"),
        format_args!("must make a period of {max_days} days at most"),
    );
    window
}

/// A month is 30 days and a year 365, as in envoyproxy/ratelimit.
fn seconds(unit: RateLimitUnit) -> Option<u64> {
    const DAY: u64 = 24 * 60 * 60;
    match unit {
        RateLimitUnit::Unknown => None,
        RateLimitUnit::Second => Some(1),
        RateLimitUnit::Minute => Some(60),
        RateLimitUnit::Hour => Some(60 * 60),
        RateLimitUnit::Day => Some(DAY),
        RateLimitUnit::Month => Some(30 * DAY),
        RateLimitUnit::Year => Some(365 * DAY),
    }
}
