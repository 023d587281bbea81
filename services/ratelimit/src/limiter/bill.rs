//! What a request is charged: the rules that match it, and one charge for each counter.

use std::{sync::Arc, time::Duration};

use ratelimit_core::{Algorithm, Charge, Decision, Policy, Rule, RuleSet};
use uuid::Uuid;

use super::{CheckError, Descriptor, Mode, RuleStatus, UNLIMITED};
use crate::stores::{CounterCharge, CounterKey};

/// The name of a limit that a request brings along.
const OVERRIDE: &str = "override";

/// The charges of a request.
pub(super) struct Bill {
    pub matched: Vec<Matched>,
    pub charges: Vec<CounterCharge>,
}

/// A rule that matches a descriptor.
pub(super) struct Matched {
    pub rule: Arc<Rule>,
    pub descriptor_index: usize,
    /// Where its charge is; `None` where nothing is counted.
    pub place: Option<usize>,
    /// What it is metered as besides its name, where the rules ask for it.
    pub metric_name: Option<String>,
}

/// The counters of every rule that matches a descriptor.
pub(super) fn counters(rules: &RuleSet, domain: &str, descriptors: &[Descriptor]) -> Vec<CounterKey> {
    Bill::of(rules, domain, descriptors).charges.into_iter().map(|charge| charge.key).collect()
}

impl Bill {
    pub fn of(rules: &RuleSet, domain: &str, descriptors: &[Descriptor]) -> Self {
        let mut bill = Self { matched: Vec::new(), charges: Vec::new() };
        let Some(rules) = rules.domain(domain) else { return bill };
        let matches = rules.matching_all(descriptors.iter().map(Descriptor::ruled_entries));
        for matched in matches.rules() {
            let descriptor = &descriptors[matched.descriptor_index];
            let key = |algorithm: &Algorithm| {
                CounterKey::new(
                    domain,
                    matched.place.subject(descriptor.entries()),
                    &matched.rule.name,
                    algorithm,
                )
            };
            let place = bill.charge(matched.rule, descriptor.cost, key);
            bill.matched.push(Matched {
                rule: matched.rule.clone(),
                descriptor_index: matched.descriptor_index,
                place,
                metric_name: matched.place.metric_name(descriptor.entries()),
            });
        }
        bill.add_overrides(domain, descriptors);
        bill
    }

    /// Adds the limits that descriptors bring along.
    fn add_overrides(&mut self, domain: &str, descriptors: &[Descriptor]) {
        for (descriptor_index, descriptor) in descriptors.iter().enumerate() {
            let Some(limit) = descriptor.limit else { continue };
            let algorithm = Algorithm::FixedWindow(limit);
            let rule = Arc::new(Rule::new(OVERRIDE, Policy::Limited(algorithm.clone())));
            // Requests may bring along different limits, each of which counts for itself.
            let name = format!("{OVERRIDE} {}", algorithm.limit());
            let key = |algorithm: &Algorithm| CounterKey::new(domain, descriptor.entries(), &name, algorithm);
            let place = self.charge(&rule, descriptor.cost, key);
            self.matched.push(Matched { rule, descriptor_index, place, metric_name: None });
        }
        self.matched.sort_by_key(|matched| matched.descriptor_index);
    }

    /// Charges what the rule counts, and tells where. Charges to one counter are added up; a request has so few that they
    /// are just gone through.
    fn charge(&mut self, rule: &Rule, cost: u64, key: impl Fn(&Algorithm) -> CounterKey) -> Option<usize> {
        let algorithm = rule.policy.algorithm()?;
        let key = key(algorithm);
        let known = self.charges.iter().position(|charge| charge.key == key);
        if let Some(place) = known {
            let charge = &mut self.charges[place].charge;
            charge.cost = charge.cost.saturating_add(cost);
        } else {
            let charge = Charge { algorithm: algorithm.clone(), cost, shadow: !rule.is_enforced() };
            let lease = rule.lease.unwrap_or_default();
            self.charges.push(CounterCharge { key, charge, lease, on_error: rule.on_error });
        }
        known.or(Some(self.charges.len() - 1))
    }

    /// Refuses costs that no waiting makes pass. In shadow a cost may be too high: such a rule never fails a request.
    pub fn validate_costs(&self) -> Result<(), CheckError> {
        // From the last on: of descriptors that are charged together it is the one that makes it too much.
        for Matched { rule, descriptor_index, place, .. } in
            self.matched.iter().rev().filter(|it| it.rule.is_enforced())
        {
            let Some(CounterCharge { charge, .. }) = place.and_then(|place| self.charges.get(place)) else {
                continue;
            };
            charge.algorithm.validate_cost(charge.cost).map_err(|cause| CheckError::CostAboveCapacity {
                descriptor_index: *descriptor_index,
                rule: rule.name.clone(),
                cause,
            })?;
        }
        Ok(())
    }

    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.matched.iter().map(|matched| &*matched.rule)
    }

    /// Names the slots that are taken, if any are.
    pub fn slot(&self, mode: Mode<'_>) -> Arc<str> {
        match mode {
            Mode::Once(request_id) => request_id.into(),
            Mode::Charge if self.holds().next().is_some() => Uuid::new_v4().to_string().into(),
            Mode::Charge | Mode::Peek => Arc::default(),
        }
    }

    /// Longest that a slot may be held.
    pub fn longest_hold(&self) -> Duration {
        self.holds().max().unwrap_or_default()
    }

    fn holds(&self) -> impl Iterator<Item = Duration> {
        self.charges.iter().filter_map(|it| match &it.charge.algorithm {
            Algorithm::Concurrency(slots) => Some(slots.period()),
            _ => None,
        })
    }

    pub fn statuses(&self, decisions: &[Decision]) -> Vec<RuleStatus> {
        let status = |matched: &Matched| {
            let decision = matched.place.and_then(|place| decisions.get(place).copied());
            RuleStatus::of(&matched.rule, matched.descriptor_index, decision.unwrap_or(NOTHING_COUNTED))
        };
        self.matched.iter().map(status).collect()
    }
}

/// What a rule says that counts nothing.
pub(super) const NOTHING_COUNTED: Decision =
    Decision { allowed: true, remaining: UNLIMITED, reset_after: Duration::ZERO, retry_after: None };
