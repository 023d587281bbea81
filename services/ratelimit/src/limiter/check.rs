//! What is asked, and what is answered.

use std::{sync::Arc, time::Duration};

use ratelimit_core::{
    Algorithm, Decision, Kind, Policy, Rule,
    algorithm::{CostAboveCapacity, FixedWindow},
};

use crate::stores::StoreError;

/// What is told as limit and as remaining where a rule is unlimited, as in Envoy's protocol.
pub const UNLIMITED: u64 = u32::MAX as u64;

/// What a request is, in the words of the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Keys and values, in order.
    pub entries: Vec<(String, String)>,
    /// What it is worth. At 0 it is asked whether 1 could pass, and nothing is charged.
    pub cost: u64,
    /// A limit that the request brings along, in place of the rules that match.
    pub limit: Option<FixedWindow>,
}

/// How a Check is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode<'a> {
    /// Charges what it is allowed.
    #[default]
    Charge,
    /// Charges once, however often the request with this id is repeated, and may be refunded. The id is the caller's, and
    /// unique within the domain.
    Once(&'a str),
    /// Looks without charging.
    Peek,
}

/// The answer to a Check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Every rule that is not in shadow has room.
    pub allowed: bool,
    /// The longest of the denying rules; `None` when allowed.
    pub retry_after: Option<Duration>,
    /// One for each rule that matched, in the order of the descriptors.
    pub statuses: Vec<RuleStatus>,
}

/// What one rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleStatus {
    /// The rule's name, which it has alone in its domain.
    pub rule: Arc<str>,
    /// The name that it was given, if it was.
    pub given_name: Option<Arc<str>>,
    /// The descriptor that it matched.
    pub descriptor_index: usize,
    /// How it counts; `None` where it counts nothing.
    pub kind: Option<Kind>,
    /// How many requests it allows in its period, or [`UNLIMITED`].
    pub limit: u64,
    /// The time that the limit is for; `None` where that is up to the calendar, or there is no limit.
    pub period: Option<Duration>,
    /// It counts, and never denies.
    pub shadow: bool,
    /// In shadow, and Envoy is to be told of what it would have denied.
    pub quota_mode: bool,
    /// What it says.
    pub decision: Decision,
}

/// A Check could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The descriptor's cost can never pass the rule.
    #[error("rule {rule:?}: {cause}")]
    CostAboveCapacity {
        /// The descriptor with the cost.
        descriptor_index: usize,
        /// The rule's name.
        rule: Arc<str>,
        /// The numbers.
        #[source]
        cause: CostAboveCapacity,
    },
    /// The id has been that of another request.
    #[error("the request_id was used for another request")]
    OtherRequest,
    /// The counters are away, and a matching rule's `on_error` is `deny`.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
}

/// How many requests a policy allows in its period; [`UNLIMITED`] where it counts none.
pub fn limit(policy: &Policy) -> u64 {
    policy.algorithm().map_or(UNLIMITED, Algorithm::limit)
}

impl Descriptor {
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The entries that rules are looked up for: none where the request brings its own limit along.
    pub(super) fn ruled_entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries().filter(|_| self.limit.is_none())
    }
}

impl Outcome {
    pub(super) fn of(statuses: Vec<RuleStatus>) -> Self {
        let denying = || statuses.iter().filter(|status| !status.shadow && !status.decision.allowed);
        let retry_after = denying().filter_map(|status| status.decision.retry_after).max();
        Self { allowed: denying().next().is_none(), retry_after, statuses }
    }
}

impl RuleStatus {
    pub(super) fn of(rule: &Rule, descriptor_index: usize, decision: Decision) -> Self {
        let algorithm = rule.policy.algorithm();
        Self {
            rule: rule.name.clone(),
            given_name: rule.given_name.clone(),
            descriptor_index,
            kind: algorithm.map(Algorithm::kind),
            limit: limit(&rule.policy),
            period: algorithm.and_then(Algorithm::period),
            shadow: !rule.is_enforced(),
            quota_mode: rule.quota_mode,
            decision,
        }
    }
}
