//! What holds for every answer, whatever was asked before.

use std::collections::HashMap;

use prost_types::Duration;
use rpc::{
    envoy::service::ratelimit::v3::{
        RateLimitRequest, RateLimitResponse,
        rate_limit_response::{Code, DescriptorStatus},
    },
    ratelimit::v1::{Algorithm, CheckRequest, CheckResponse, LimitStatus, Rule},
};

/// What is told where nothing is counted.
const UNLIMITED: u64 = u32::MAX as u64;
/// A leap year.
const SECONDS_MAX: i64 = 366 * 24 * 60 * 60;

/// The rules in force, by domain and name.
pub struct Rules(HashMap<(String, String), Rule>);

impl Rules {
    /// As they are listed.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules.into_iter().map(|rule| ((rule.domain.clone(), rule.rule.clone()), rule)).collect())
    }

    /// The rule of that name.
    pub fn get(&self, domain: &str, name: &str) -> Option<&Rule> {
        self.0.get(&(domain.to_owned(), name.to_owned()))
    }

    /// The answer to a Check.
    pub fn is_answer(&self, request: &CheckRequest, response: &CheckResponse) {
        let statuses = &response.statuses;
        for status in statuses {
            assert!((status.descriptor_index as usize) < request.descriptors.len(), "{status:?}");
            self.is_status(&request.domain, status);
        }
        assert!(statuses.is_sorted_by_key(|status| status.descriptor_index), "{response:?}");
        let mut places: Vec<_> = statuses.iter().map(|it| (it.descriptor_index, &it.rule)).collect();
        places.sort_unstable();
        assert!(places.is_sorted_by(|one, other| one < other), "a rule is there twice: {response:?}");
        let denying = || statuses.iter().filter(|status| !status.allowed && !status.shadow);
        assert_eq!(response.allowed, denying().next().is_none(), "{response:?}");
        let longest = denying().map(|status| nanos(status.retry_after.as_ref())).max();
        assert_eq!(response.retry_after.as_ref().map(|it| nanos(Some(it))), longest, "{response:?}");
    }

    fn is_status(&self, domain: &str, status: &LimitStatus) {
        let rule = self.get(domain, &status.rule).unwrap_or_else(|| panic!("no such rule: {status:?}"));
        assert_eq!(
            (status.algorithm, status.limit, status.shadow),
            (rule.algorithm, rule.limit, rule.shadow)
        );
        assert!(status.remaining <= capacity(rule), "{status:?}");
        assert!(status.reset_after.is_some(), "{status:?}");
        nanos(status.reset_after.as_ref());
        assert!(!(status.allowed && status.retry_after.is_some()), "{status:?}");
        // In shadow a cost may be too much for ever.
        if !status.allowed && (!status.shadow || status.retry_after.is_some()) {
            assert!(nanos(status.retry_after.as_ref()) > 0, "{status:?}");
        }
    }
}

/// The most that passes at once.
pub fn capacity(rule: &Rule) -> u64 {
    match rule.algorithm() {
        Algorithm::Unspecified => UNLIMITED,
        Algorithm::TokenBucket => rule.burst,
        Algorithm::LeakyBucket => 1,
        _ => rule.limit,
    }
}

/// Envoy's answer.
pub fn is_envoy_answer(request: &RateLimitRequest, response: &RateLimitResponse) {
    assert_eq!(response.statuses.len(), request.descriptors.len());
    response.statuses.iter().for_each(is_envoy_status);
    let is_over = response.statuses.iter().any(|status| status.code() == Code::OverLimit);
    let expected = if is_over { Code::OverLimit } else { Code::Ok };
    assert_eq!(response.overall_code(), expected, "{response:?}");
    for header in &response.response_headers_to_add {
        assert!(header.value.parse::<u64>().is_ok(), "{header:?}");
        assert!(header.key != "retry-after" || (is_over && header.value != "0"), "{header:?}");
    }
}

fn is_envoy_status(status: &DescriptorStatus) {
    assert!(matches!(status.code(), Code::Ok | Code::OverLimit), "{status:?}");
    let until_reset = status.duration_until_reset.as_ref();
    assert_eq!(status.current_limit.is_some(), until_reset.is_some(), "{status:?}");
    until_reset.map(|it| nanos(Some(it)));
    if status.code() == Code::OverLimit {
        assert!(status.limit_remaining == 0 && status.current_limit.is_some(), "{status:?}");
    }
}

/// How long that is; it must be a duration that protobuf allows, and of a year at most.
fn nanos(duration: Option<&Duration>) -> i128 {
    let Some(duration) = duration else { panic!("a time is missing") };
    assert!((0..=SECONDS_MAX).contains(&duration.seconds), "{duration:?}");
    assert!((0..1_000_000_000).contains(&duration.nanos), "{duration:?}");
    i128::from(duration.seconds) * 1_000_000_000 + i128::from(duration.nanos)
}
