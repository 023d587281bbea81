//! What a limit as written allows.

use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use super::{
    OnError, Policy,
    document::{RawLimit, RawRateLimit},
};
use crate::algorithm::{Algorithm, FixedWindow, InvalidParameters, LIMIT_MAX, TokenBucket};

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
const NOT_BUILT_YET: [&str; 4] = ["sliding_window", "leaky_bucket", "quota", "concurrency"];

/// What is wrong, and where.
pub(super) type Mistake = (Location, String);

/// A limit as envoyproxy/ratelimit has it: a fixed window, or none.
pub(super) fn of_rate_limit(raw: &Spanned<RawRateLimit>) -> Result<Policy, Mistake> {
    let RawRateLimit { unit, requests_per_unit, unlimited, .. } = &raw.value;
    let policy = match (unit, unlimited) {
        (None, true) => Ok(Policy::Unlimited),
        (Some(_), true) => Err("an unlimited rate_limit has no unit".to_owned()),
        (unit, false) => unit
            .as_ref()
            .and_then(|unit| period_of_unit(&unit.value))
            .ok_or_else(|| "unit must be second, minute, hour, day, week, month or year".to_owned())
            .and_then(|period| fixed_window((*requests_per_unit).into(), period)),
    };
    policy.map_err(|reason| (raw.referenced, reason))
}

/// A limit as only this service has it.
pub(super) fn of_limit(raw: &RawLimit) -> Result<(Policy, OnError), Vec<Mistake>> {
    let limit = if raw.limit.value > 0 { Ok(raw.limit.value) } else { Err(zero(&raw.limit)) };
    let period = at(&raw.period, parse_period(&raw.period.value));
    let on_error =
        raw.on_error.as_ref().map_or(Ok(OnError::default()), |it| at(it, parse_on_error(&it.value)));
    match (limit, period, on_error) {
        (Ok(limit), Ok(period), Ok(on_error)) => {
            policy(raw, limit, period).map(|policy| (policy, on_error)).map_err(|mistake| vec![mistake])
        }
        (limit, period, on_error) => {
            Err([limit.err(), period.err(), on_error.err()].into_iter().flatten().collect())
        }
    }
}

fn policy(raw: &RawLimit, limit: u64, period: Duration) -> Result<Policy, Mistake> {
    let name = raw.algorithm.as_ref().map_or("fixed_window", |algorithm| &algorithm.value);
    let place = raw.algorithm.as_ref().map_or(raw.limit.referenced, |algorithm| algorithm.referenced);
    match (name, &raw.burst) {
        ("fixed_window", Some(burst)) => at(burst, Err("burst is for token_bucket only".to_owned())),
        ("fixed_window", None) => fixed_window(limit, period).map_err(|reason| (place, reason)),
        ("token_bucket", burst) => {
            let burst = burst.as_ref().map_or(limit, |burst| burst.value);
            token_bucket(limit, period, burst).map_err(|reason| (place, reason))
        }
        (other, _) => Err((place, refuse_algorithm(other))),
    }
}

fn at<T, V>(value: &Spanned<V>, result: Result<T, String>) -> Result<T, Mistake> {
    result.map_err(|reason| (value.referenced, reason))
}

fn zero(limit: &Spanned<u64>) -> Mistake {
    (limit.referenced, InvalidParameters::Limit { min: 1, max: LIMIT_MAX }.to_string())
}

/// A month is 30 days and a year 365, as in envoyproxy/ratelimit.
fn period_of_unit(unit: &str) -> Option<Duration> {
    let seconds = match unit.to_ascii_lowercase().as_str() {
        "second" => 1,
        "minute" => 60,
        "hour" => 60 * 60,
        "day" => SECONDS_PER_DAY,
        "week" => 7 * SECONDS_PER_DAY,
        "month" => 30 * SECONDS_PER_DAY,
        "year" => 365 * SECONDS_PER_DAY,
        _ => return None,
    };
    Some(Duration::from_secs(seconds))
}

fn parse_period(period: &str) -> Result<Duration, String> {
    humantime::parse_duration(period)
        .map_err(|_| format!("period {period:?} is not a duration such as 200ms, 10s, 1m or 1day"))
}

fn parse_on_error(on_error: &str) -> Result<OnError, String> {
    match on_error {
        "allow" => Ok(OnError::Allow),
        "deny" => Ok(OnError::Deny),
        "local" => Ok(OnError::Local),
        _ => Err(format!("on_error {on_error:?} must be allow, deny or local")),
    }
}

fn fixed_window(limit: u64, period: Duration) -> Result<Policy, String> {
    let window = FixedWindow::new(limit, period).map_err(|invalid| invalid.to_string())?;
    Ok(Policy::Limited(Algorithm::FixedWindow(window)))
}

fn token_bucket(limit: u64, period: Duration, burst: u64) -> Result<Policy, String> {
    let bucket = TokenBucket::new(limit, period, burst).map_err(|invalid| invalid.to_string())?;
    Ok(Policy::Limited(Algorithm::TokenBucket(bucket)))
}

fn refuse_algorithm(name: &str) -> String {
    let why = if NOT_BUILT_YET.contains(&name) { "is not available yet" } else { "is unknown" };
    format!("algorithm {name:?} {why}; there are fixed_window and token_bucket")
}
