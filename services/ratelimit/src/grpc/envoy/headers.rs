//! Headers that Envoy adds to the response of what it lets pass or denies.

use std::time::Duration;

use rpc::envoy::config::core::v3::HeaderValue;

use crate::limiter::{Outcome, RuleStatus};

/// Which headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ResponseHeaders {
    /// None; Envoy can be told to make its own `x-ratelimit-*`.
    #[default]
    None,
    /// `ratelimit-limit`, `ratelimit-remaining` and `ratelimit-reset` of draft-ietf-httpapi-ratelimit-headers-03, of the
    /// rule that comes closest to denying; and `retry-after` (RFC 9110) when one denied. Times are whole seconds.
    Draft,
}

impl ResponseHeaders {
    pub(super) fn of(self, outcome: &Outcome) -> Vec<HeaderValue> {
        let counted = outcome.statuses.iter().filter(|status| status.kind.is_some() && !status.shadow);
        match (self, counted.min_by_key(|status| super::closeness(status))) {
            (Self::Draft, Some(closest)) => draft(closest, outcome.retry_after),
            _ => Vec::new(),
        }
    }
}

fn draft(closest: &RuleStatus, retry_after: Option<Duration>) -> Vec<HeaderValue> {
    let mut headers = vec![
        header("ratelimit-limit", closest.limit),
        header("ratelimit-remaining", super::remaining(closest).into()),
        header("ratelimit-reset", ceil_seconds(super::until_reset(closest))),
    ];
    headers.extend(retry_after.map(|retry_after| header("retry-after", ceil_seconds(retry_after))));
    headers
}

fn header(key: &str, value: u64) -> HeaderValue {
    HeaderValue { key: key.to_owned(), value: value.to_string(), raw_value: Vec::new() }
}

/// Rounded up: who comes back earlier comes too early.
fn ceil_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
