//! The metrics of decisions. Domains and rules are those of the rules files, so their number is bounded.

use metrics::{SharedString, counter};
use ratelimit_core::Rule;

use crate::limiter::RuleStatus;

/// A rule spoke. What was only looked at counts as `peeked`.
pub(crate) fn decided(domain: &str, status: &RuleStatus, peek: bool) {
    let outcome = match (peek, status.decision.allowed, status.shadow) {
        (true, ..) => "peeked",
        (false, true, _) => "allowed",
        (false, false, false) => "denied",
        (false, false, true) => "shadow_denied",
    };
    count(domain, SharedString::from(status.rule.clone()), outcome);
}

/// Rules had no counters, and one of them denies then.
pub(crate) fn unavailable<'a>(domain: &str, rules: impl Iterator<Item = &'a Rule>) {
    rules.for_each(|rule| count(domain, SharedString::from(rule.name.clone()), "unavailable"));
}

/// No rule matched; without a domain, it is unknown.
pub(crate) fn unmatched(domain: Option<&str>) {
    count(domain.unwrap_or("unknown"), SharedString::const_str("none"), "allowed");
}

fn count(domain: &str, rule: SharedString, outcome: &'static str) {
    counter!("ratelimit_decisions_total", "domain" => domain.to_owned(), "rule" => rule, "outcome" => outcome)
        .increment(1);
}
