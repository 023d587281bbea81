//! The scripts: what they are given, and what they answer.

use std::time::Duration;

use bytes::Bytes;
use ratelimit_core::{Algorithm, Decision, algorithm::TokenBucket};
use redis::{Script, ScriptInvocation, Value};

use crate::stores::{CounterCharge, Decided, Order, Receipt, Refund, StoreError};

/// Whole numbers that the script gives for each charge.
const NUMBERS_PER_CHARGE: usize = 4;

/// The scripts, which a Redis that has forgotten them is given again.
pub(super) struct Scripts {
    check: Script,
    give_back: Script,
}

/// What `check.lua` answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Decided(Decided),
    Known(Receipt),
    /// A quota's period came from a clock that differs: that of Redis says so, in microseconds.
    OtherPeriod(u64),
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            check: Script::new(concat!(
                include_str!("../../../lua/counters.lua"),
                include_str!("../../../lua/check.lua")
            )),
            give_back: Script::new(concat!(
                include_str!("../../../lua/counters.lua"),
                include_str!("../../../lua/give_back.lua")
            )),
        }
    }

    /// In the order of the script's header. `now_us` is what Redis' clock will most likely say.
    pub(super) fn check(&self, prefix: &str, order: &Order, now_us: u64) -> ScriptInvocation<'_> {
        let mut invocation = self.check.prepare_invoke();
        invocation.arg(if order.peek { "peek" } else { "charge" }).arg(&*order.slot);
        for CounterCharge { key, charge, .. } in &order.charges {
            let (kind, [a, b, c]) = parameters(&charge.algorithm, Some(now_us));
            invocation.key(format!("{prefix}:{key}"));
            invocation.arg(kind).arg(u8::from(charge.shadow)).arg(charge.cost).arg(a).arg(b).arg(c);
        }
        if let Some(receipt) = order.receipt.as_ref().filter(|_| !order.peek) {
            invocation.key(format!("{prefix}:{}", receipt.key));
            invocation.arg(millis(receipt.kept_for)).arg(millis(receipt.kept_if_denied)).arg(&*receipt.memo);
        }
        invocation
    }

    /// In the order of the script's header.
    pub(super) fn give_back(&self, prefix: &str, refund: &Refund) -> ScriptInvocation<'_> {
        let mut invocation = self.give_back.prepare_invoke();
        invocation.arg(&*refund.slot);
        for (CounterCharge { key, charge, .. }, told) in &refund.charges {
            let (kind, [a, b, c]) = parameters(&charge.algorithm, None);
            invocation.key(format!("{prefix}:{key}"));
            invocation.arg(kind).arg(charge.cost).arg(refund.charged_us).arg(micros(told.reset_after));
            invocation.arg(a).arg(b).arg(c);
        }
        if let Some(receipt) = &refund.receipt {
            invocation.key(format!("{prefix}:{receipt}"));
        }
        invocation
    }
}

/// The kind of counter, and its parameters. A quota's period is of no interest to what only gives back.
fn parameters(algorithm: &Algorithm, now_us: Option<u64>) -> (&'static str, [i64; 3]) {
    match algorithm {
        Algorithm::FixedWindow(_) => ("window", [signed(algorithm.limit()), -1, period(algorithm)]),
        Algorithm::Quota(quota) => {
            let (begin_us, end_us) = now_us.map_or((0, 0), |now_us| quota.period_at(now_us));
            ("window", [signed(algorithm.limit()), signed(begin_us), signed(end_us)])
        }
        Algorithm::TokenBucket(bucket) => ("bucket", bucket_parameters(bucket)),
        Algorithm::LeakyBucket(bucket) => ("bucket", bucket_parameters(bucket.as_token_bucket())),
        Algorithm::SlidingWindow(window) => {
            ("sliding", [signed(algorithm.limit()), period(algorithm), signed(window.slice_us())])
        }
        Algorithm::Concurrency(_) => ("slots", [signed(algorithm.limit()), period(algorithm), 0]),
    }
}

fn bucket_parameters(bucket: &TokenBucket) -> [i64; 3] {
    [bucket.burst(), bucket.refill(), bucket.per()].map(signed)
}

fn period(algorithm: &Algorithm) -> i64 {
    signed(micros(algorithm.period().unwrap_or_default()))
}

impl Reply {
    pub(super) fn decode(value: Value, charges: usize) -> Result<Self, StoreError> {
        match value {
            Value::Array(values) => Self::decode_numbers(&integers(&values)?, charges),
            Value::BulkString(bytes) => Ok(Self::Known(decode_receipt(&bytes.into())?)),
            _ => Err(StoreError::Malformed("neither numbers nor a receipt")),
        }
    }

    fn decode_numbers(numbers: &[u64], charges: usize) -> Result<Self, StoreError> {
        if let [now_us] = numbers
            && charges > 0
        {
            return Ok(Self::OtherPeriod(*now_us));
        }
        let decided = decode_decided(numbers)?;
        if decided.decisions.len() == charges {
            Ok(Self::Decided(decided))
        } else {
            Err(StoreError::Malformed("not a decision for each charge"))
        }
    }
}

/// A flag, the numbers of the answer, a line feed, and the memo.
pub(super) fn decode_receipt(bytes: &Bytes) -> Result<Receipt, StoreError> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(StoreError::Malformed("no receipt"))?;
    let text = str::from_utf8(&bytes[..end]).map_err(|_| StoreError::Malformed("no receipt"))?;
    let numbers: Result<Vec<u64>, _> = text.split(' ').map(str::parse).collect();
    let numbers = numbers.map_err(|_| StoreError::Malformed("no numbers in a receipt"))?;
    let (given_back, numbers) = numbers.split_first().ok_or(StoreError::Malformed("an empty receipt"))?;
    Ok(Receipt {
        decided: decode_decided(numbers)?,
        memo: bytes.slice(end + 1..),
        given_back: *given_back == 1,
    })
}

fn integers(values: &[Value]) -> Result<Vec<u64>, StoreError> {
    let integer = |value: &Value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    values.iter().map(integer).collect::<Option<_>>().ok_or(StoreError::Malformed("not whole numbers"))
}

fn decode_decided(numbers: &[u64]) -> Result<Decided, StoreError> {
    let (at_us, rest) = numbers.split_first().ok_or(StoreError::Malformed("no time"))?;
    let (decisions, []) = rest.as_chunks::<NUMBERS_PER_CHARGE>() else {
        return Err(StoreError::Malformed("not four numbers for each charge"));
    };
    Ok(Decided { at_us: *at_us, decisions: decisions.iter().map(decision).collect() })
}

fn decision([allowed, remaining, reset_after_us, retry_after_us]: &[u64; NUMBERS_PER_CHARGE]) -> Decision {
    Decision {
        allowed: *allowed == 1,
        remaining: *remaining,
        reset_after: Duration::from_micros(*reset_after_us),
        retry_after: (*retry_after_us > 0).then(|| Duration::from_micros(*retry_after_us)),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Limits and times are below 2^53.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
