//! What a request is charged: the rules that match it, and one charge for each counter.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ratelimit_core::{
    Algorithm, Charge, Decision, Domain, OnError, Policy, Rule, RuleSet, algorithm::FixedWindow,
};
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
}

/// The counters of every rule that matches a descriptor.
pub(super) fn counters(rules: &RuleSet, domain: &str, descriptors: &[Descriptor]) -> Vec<CounterKey> {
    Bill::of(rules, domain, descriptors).charges.into_iter().map(|charge| charge.key).collect()
}

fn matching(domain: &Domain, descriptor: &Descriptor) -> Vec<Arc<Rule>> {
    match descriptor.limit {
        Some(limit) => vec![Arc::new(override_rule(limit))],
        None => domain.matching(descriptor.entries()).to_vec(),
    }
}

fn override_rule(limit: FixedWindow) -> Rule {
    let policy = Policy::Limited(Algorithm::FixedWindow(limit));
    Rule { name: OVERRIDE.into(), policy, shadow: false, on_error: OnError::default() }
}

impl Bill {
    pub fn of(rules: &RuleSet, domain: &str, descriptors: &[Descriptor]) -> Self {
        let mut bill = Self { matched: Vec::new(), charges: Vec::new() };
        let Some(rules) = rules.domain(domain) else { return bill };
        let mut places = HashMap::new();
        for (descriptor_index, descriptor) in descriptors.iter().enumerate() {
            for rule in matching(rules, descriptor) {
                let mut place = None;
                if let Policy::Limited(algorithm) = &rule.policy {
                    let key = CounterKey::new(domain, descriptor.entries(), &rule, algorithm);
                    let charge = *places.entry(key.clone()).or_insert(bill.charges.len());
                    bill.add(charge, key, descriptor.cost, &rule, algorithm);
                    place = Some(charge);
                }
                bill.matched.push(Matched { rule, descriptor_index, place });
            }
        }
        bill
    }

    /// Refuses costs that no waiting makes pass. In shadow a cost may be too high: such a rule never fails a request.
    pub fn validate_costs(&self) -> Result<(), CheckError> {
        // From the last on: of descriptors that are charged together it is the one that makes it too much.
        for Matched { rule, descriptor_index, place } in
            self.matched.iter().rev().filter(|it| !it.rule.shadow)
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

    fn add(&mut self, place: usize, key: CounterKey, cost: u64, rule: &Rule, algorithm: &Algorithm) {
        if let Some(known) = self.charges.get_mut(place) {
            known.charge.cost = known.charge.cost.saturating_add(cost);
        } else {
            let charge = Charge { algorithm: algorithm.clone(), cost, shadow: rule.shadow };
            self.charges.push(CounterCharge { key, charge, lease: 0, on_error: rule.on_error });
        }
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
