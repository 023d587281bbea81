//! What a Check does: find the rules, charge their counters, and put the answers together.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ratelimit_core::{Algorithm, Charge, Decision, Policy, Rule, RuleSet, algorithm::CostAboveCapacity};

use crate::{
    decisions,
    stores::{CounterCharge, CounterKey, CounterStore, StoreError},
};

/// What is told as limit and as remaining where a rule is unlimited, as in Envoy's protocol.
pub const UNLIMITED: u64 = u32::MAX as u64;

/// Decides whether requests may pass. The service asks it over gRPC, `standalone` directly.
pub struct Limiter {
    rules: Arc<RuleSet>,
    counters: Arc<dyn CounterStore>,
}

/// What a request is, in the words of the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Keys and values, in order.
    pub entries: Vec<(String, String)>,
    /// What it is worth, at least 1.
    pub cost: u64,
}

/// The answer to a Check.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Every rule that is not in shadow has room.
    pub allowed: bool,
    /// The longest of the denying rules; `None` when allowed.
    pub retry_after: Option<Duration>,
    /// One for each rule that matched, in the order of the descriptors.
    pub statuses: Vec<RuleStatus>,
}

/// How many requests a policy allows in its period; [`UNLIMITED`] where it counts none.
pub fn limit(policy: &Policy) -> u64 {
    match policy {
        Policy::Unlimited => UNLIMITED,
        Policy::Limited(algorithm) => algorithm.limit(),
    }
}

/// What one rule says.
#[derive(Debug, Clone)]
pub struct RuleStatus {
    /// The rule.
    pub rule: Arc<Rule>,
    /// The descriptor that it matched.
    pub descriptor_index: usize,
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
    /// The counters are away, and a matching rule's `on_error` is `deny`.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
}

impl Limiter {
    /// Limits by these rules and counters.
    pub fn new(rules: RuleSet, counters: Arc<dyn CounterStore>) -> Self {
        Self { rules: Arc::new(rules), counters }
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<RuleSet> {
        self.rules.clone()
    }

    /// Charges every rule that matches a descriptor, all or nothing; a `peek` only looks. Where no rule matches, the
    /// request is allowed. A rule that several descriptors match with the same entries is charged the sum of their costs.
    pub async fn check(
        &self,
        domain: &str,
        descriptors: &[Descriptor],
        peek: bool,
    ) -> Result<Outcome, CheckError> {
        let matched = self.matched(domain, descriptors);
        if matched.is_empty() {
            decisions::unmatched(self.rules.domain(domain).map(|_| domain));
            return Ok(Outcome { allowed: true, retry_after: None, statuses: Vec::new() });
        }
        let bill = Bill::of(domain, descriptors, &matched)?;
        let decided = if bill.charges.is_empty() {
            Ok(Vec::new())
        } else {
            self.counters.charge(&bill.charges, peek).await
        };
        let decided =
            decided.inspect_err(|_| decisions::unavailable(domain, matched.iter().map(|it| &*it.rule)))?;
        let statuses = bill.statuses(matched, &decided);
        for status in &statuses {
            decisions::decided(domain, &status.rule, status.decision.allowed, peek);
        }
        Ok(Outcome::of(statuses))
    }

    fn matched(&self, domain: &str, descriptors: &[Descriptor]) -> Vec<Matched> {
        let Some(domain) = self.rules.domain(domain) else { return Vec::new() };
        let rules_of = |(descriptor_index, descriptor): (usize, &Descriptor)| {
            let rules = domain.matching(descriptor.entries());
            rules.iter().map(move |rule| Matched { descriptor_index, rule: rule.clone() }).collect::<Vec<_>>()
        };
        descriptors.iter().enumerate().flat_map(rules_of).collect()
    }
}

impl Descriptor {
    fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl Outcome {
    fn of(statuses: Vec<RuleStatus>) -> Self {
        let denying = || statuses.iter().filter(|status| !status.rule.shadow && !status.decision.allowed);
        let retry_after = denying().filter_map(|status| status.decision.retry_after).max();
        Self { allowed: denying().next().is_none(), retry_after, statuses }
    }
}

struct Matched {
    descriptor_index: usize,
    rule: Arc<Rule>,
}

/// The charges of a request, one for each counter.
struct Bill {
    charges: Vec<CounterCharge>,
    /// For each match the place of its charge; none where nothing is counted.
    places: Vec<Option<usize>>,
}

impl Bill {
    fn of(domain: &str, descriptors: &[Descriptor], matched: &[Matched]) -> Result<Self, CheckError> {
        let mut bill = Self { charges: Vec::new(), places: Vec::new() };
        let mut places_by_key = HashMap::new();
        for Matched { descriptor_index, rule } in matched {
            let Policy::Limited(algorithm) = rule.policy else {
                bill.places.push(None);
                continue;
            };
            let descriptor = &descriptors[*descriptor_index];
            let key = CounterKey::new(domain, descriptor.entries(), rule, &algorithm);
            let place = *places_by_key.entry(key.clone()).or_insert(bill.charges.len());
            bill.places.push(Some(place));
            bill.add(place, key, descriptor.cost, rule, algorithm);
            bill.validate_cost(place, rule, *descriptor_index)?;
        }
        Ok(bill)
    }

    fn add(&mut self, place: usize, key: CounterKey, cost: u64, rule: &Rule, algorithm: Algorithm) {
        if let Some(known) = self.charges.get_mut(place) {
            known.charge.cost = known.charge.cost.saturating_add(cost);
        } else {
            let charge = Charge { algorithm, cost, shadow: rule.shadow };
            self.charges.push(CounterCharge { key, charge, on_error: rule.on_error });
        }
    }

    /// In shadow a cost may be too high: such a rule never fails a request.
    fn validate_cost(&self, place: usize, rule: &Rule, descriptor_index: usize) -> Result<(), CheckError> {
        let charge = &self.charges[place].charge;
        if charge.shadow {
            return Ok(());
        }
        charge.algorithm.validate_cost(charge.cost).map_err(|cause| CheckError::CostAboveCapacity {
            descriptor_index,
            rule: rule.name.clone(),
            cause,
        })
    }

    fn statuses(&self, matched: Vec<Matched>, decided: &[Decision]) -> Vec<RuleStatus> {
        let decision = |place: &Option<usize>| place.and_then(|place| decided.get(place).copied());
        let status = |(matched, place): (Matched, &Option<usize>)| RuleStatus {
            rule: matched.rule,
            descriptor_index: matched.descriptor_index,
            decision: decision(place).unwrap_or(NOTHING_COUNTED),
        };
        matched.into_iter().zip(&self.places).map(status).collect()
    }
}

const NOTHING_COUNTED: Decision =
    Decision { allowed: true, remaining: UNLIMITED, reset_after: Duration::ZERO, retry_after: None };
