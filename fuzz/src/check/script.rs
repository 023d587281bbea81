//! What the bytes of an input mean: calls, and what happens between them.

use arbitrary::{Arbitrary, Result, Unstructured};
use prost::Message;
use rpc::{
    envoy::{
        extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor as envoy},
        service::ratelimit::v3::RateLimitRequest,
    },
    ratelimit::v1::{
        CheckRequest, Descriptor, ListRulesRequest, ListTopDeniedRequest, RefundRequest, ResetRequest,
        descriptor::Entry,
    },
};

/// Most steps of a script: enough to use up every limit, and to do it again after a wait.
const STEPS_MAX: usize = 64;

const DOMAINS: [&str; 4] = ["shop", "shop", "shop", "elsewhere"];
const REQUEST_IDS: [&str; 4] = ["", "", "a", "b"];
const COSTS: [u64; 8] = [0, 1, 1, 2, 3, 4, u32::MAX as u64, u64::MAX];
const WAITS_US: [u64; 6] = [1, 999, 1_000_000, 10_000_000, 3_600_000_000, 86_400_000_000];
/// Keys and values that the rules know, and some that they don't.
const ENTRIES: [&[(&str, &str)]; 16] = [
    &[("caller", "ann")],
    &[("caller", "bob")],
    &[("caller", "ann"), ("path", "/api/x")],
    &[("caller", "ann"), ("path", "/api/y")],
    &[("caller", "ann"), ("path", "/")],
    &[("address", "1")],
    &[("address_v6", "1")],
    &[("day", "berlin")],
    &[("day", "x")],
    &[("slots", "1")],
    &[("hot", "1")],
    &[("health", "")],
    &[("blocked", "x")],
    &[("nothing", "x")],
    &[("unknown", "x")],
    &[],
];

/// Calls to the services in their order.
#[derive(Debug)]
pub struct Script {
    /// The counters may go away, behind all that the service has for that; or else they are memory alone, which is exact.
    pub may_fail: bool,
    /// What happens.
    pub steps: Vec<Step>,
}

/// What happens next.
#[derive(Debug)]
pub enum Step {
    /// A client calls.
    Call(Call),
    /// A client makes a Check with an id of its own, and gives it back at once.
    Undone(CheckRequest),
    /// So many microseconds pass.
    Wait(u64),
    /// The counters go away or come back.
    Away(bool),
}

/// A request to one of the methods.
#[derive(Debug)]
pub enum Call {
    /// `ratelimit.v1.RateLimitService/Check`.
    Check(CheckRequest),
    /// `ratelimit.v1.RateLimitService/Refund`.
    Refund(RefundRequest),
    /// `ratelimit.v1.RateLimitService/Reset`.
    Reset(ResetRequest),
    /// `ratelimit.v1.RateLimitService/ListRules`.
    ListRules(ListRulesRequest),
    /// `ratelimit.v1.RateLimitService/ListTopDenied`.
    ListTopDenied(ListTopDeniedRequest),
    /// `envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit`.
    ShouldRateLimit(RateLimitRequest),
}

/// Read from the front to the back, a byte for a choice, so that a small change of the input is one of the script.
impl<'a> Arbitrary<'a> for Script {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let mut script = Self { may_fail: input.arbitrary::<u8>()? % 2 == 1, steps: Vec::new() };
        while !input.is_empty() && script.steps.len() < STEPS_MAX {
            script.steps.push(input.arbitrary()?);
        }
        Ok(script)
    }
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match input.arbitrary::<u8>()? % 16 {
            0 => Self::Call(Call::Check(encoded(input)?)),
            1 => Self::Call(Call::Refund(encoded(input)?)),
            2 => Self::Call(Call::Reset(encoded(input)?)),
            3 => Self::Call(Call::ListRules(encoded(input)?)),
            4 => Self::Call(Call::ListTopDenied(encoded(input)?)),
            5 => Self::Call(Call::ShouldRateLimit(encoded(input)?)),
            6 => Self::Wait(input.arbitrary::<u8>()?.max(1).into()).times(*input.choose(&WAITS_US)?),
            7 => Self::Away(input.arbitrary::<u8>()? % 2 == 1),
            8 => Self::Undone(check(input)?),
            9 => Self::Call(Call::Refund(RefundRequest {
                domain: text(input, &DOMAINS)?,
                request_id: text(input, &REQUEST_IDS)?,
            })),
            10 => Self::Call(Call::Reset(ResetRequest {
                domain: text(input, &DOMAINS)?,
                descriptors: descriptors(input)?,
            })),
            11 | 12 => Self::Call(Call::ShouldRateLimit(should_rate_limit(input)?)),
            _ => Self::Call(Call::Check(check(input)?)),
        })
    }
}

impl Step {
    fn times(self, factor: u64) -> Self {
        if let Self::Wait(waits) = self { Self::Wait(waits * factor) } else { self }
    }
}

/// A message as it comes from the network, with its length before it. Of one that can't be decoded what came before the
/// mistake is taken, as tonic refuses it and nothing of ours sees it.
fn encoded<M: Message + Default>(input: &mut Unstructured<'_>) -> Result<M> {
    let length = usize::from(input.arbitrary::<u16>()?).min(input.len());
    let mut message = M::default();
    let _ = message.merge(input.bytes(length)?);
    Ok(message)
}

fn check(input: &mut Unstructured<'_>) -> Result<CheckRequest> {
    Ok(CheckRequest {
        domain: text(input, &DOMAINS)?,
        request_id: text(input, &REQUEST_IDS)?,
        peek: input.arbitrary::<u8>()? % 16 == 15,
        descriptors: descriptors(input)?,
    })
}

fn descriptors(input: &mut Unstructured<'_>) -> Result<Vec<Descriptor>> {
    (0..=input.arbitrary::<u8>()? % 3).map(|_| descriptor(input)).collect()
}

fn descriptor(input: &mut Unstructured<'_>) -> Result<Descriptor> {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).into(), value: (*value).into() };
    let entries = input.choose(&ENTRIES)?.iter().map(entry).collect();
    Ok(Descriptor { entries, cost: *input.choose(&COSTS)? })
}

fn should_rate_limit(input: &mut Unstructured<'_>) -> Result<RateLimitRequest> {
    Ok(RateLimitRequest {
        domain: text(input, &DOMAINS)?,
        hits_addend: input.arbitrary::<u8>()?.into(),
        descriptors: (0..=input.arbitrary::<u8>()? % 3)
            .map(|_| envoy_descriptor(input))
            .collect::<Result<_>>()?,
    })
}

fn envoy_descriptor(input: &mut Unstructured<'_>) -> Result<RateLimitDescriptor> {
    let entry = |(key, value): &(&str, &str)| envoy::Entry { key: (*key).into(), value: (*value).into() };
    let entries = input.choose(&ENTRIES)?.iter().map(entry).collect();
    let flags = input.arbitrary::<u8>()?;
    let hits_addend = if flags & 1 == 0 { None } else { Some(*input.choose(&COSTS)?) };
    let limit = if flags & 6 == 6 { Some(limit(input)?) } else { None };
    Ok(RateLimitDescriptor { entries, limit, hits_addend, is_negative_hits: flags == u8::MAX })
}

fn limit(input: &mut Unstructured<'_>) -> Result<envoy::RateLimitOverride> {
    let requests_per_unit = input.arbitrary::<u8>()?.into();
    let unit = i32::from(input.arbitrary::<u8>()? % 9);
    let multiplier = u32::from(input.arbitrary::<u16>()?);
    let unit_multiplier = Some(multiplier).filter(|multiplier| multiplier % 2 == 1);
    Ok(envoy::RateLimitOverride { requests_per_unit, unit, unit_multiplier })
}

fn text(input: &mut Unstructured<'_>, known: &[&str]) -> Result<String> {
    Ok((*input.choose(known)?).to_owned())
}
