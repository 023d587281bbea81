//! The metrics of decisions.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use metrics::{Counter, SharedString, counter};
use parking_lot::RwLock;
use ratelimit_core::Rule;

use crate::limiter::RuleStatus;

/// Most names that values make, of all domains together; further ones are counted as [`OTHER`].
const DETAILS_MAX: usize = 1000;
/// Longest of these names, in bytes; the rest is cut off.
const DETAIL_BYTES_MAX: usize = 256;
const OTHER: &str = "other";

/// The name of what is counted where no rule or domain has one.
const NO_RULE: &str = "none";
const NO_DOMAIN: &str = "unknown";

/// Meters decisions. Domains and rules are those of the rules files, so their number is bounded; names that are made of
/// values are bounded here.
#[derive(Default)]
pub(crate) struct Decisions {
    /// By domain and rule, looked up once: to find a counter by its labels takes longer than to decide.
    counters: RwLock<HashMap<Box<str>, ByRule>>,
    details: RwLock<HashSet<Arc<str>>>,
}

type ByRule = HashMap<Arc<str>, Counters>;

/// Of one rule.
#[derive(Clone)]
struct Counters {
    allowed: Counter,
    denied: Counter,
    shadow_denied: Counter,
    peeked: Counter,
    unavailable: Counter,
}

impl Decisions {
    /// A rule spoke. What was only looked at counts as `peeked`.
    pub fn decided(&self, domain: &str, status: &RuleStatus, peek: bool) {
        self.count(domain, &status.rule, |counters| match (peek, status.decision.allowed, status.shadow) {
            (true, ..) => &counters.peeked,
            (false, true, _) => &counters.allowed,
            (false, false, false) => &counters.denied,
            (false, false, true) => &counters.shadow_denied,
        });
    }

    /// The same under a name of its own, where the rules ask for one.
    pub fn decided_in_detail(&self, domain: &str, name: Option<&str>, status: &RuleStatus) {
        let Some(name) = name else { return };
        let outcome = if status.decision.allowed { "allowed" } else { "denied" };
        let (domain, descriptor) = (domain.to_owned(), SharedString::from(self.bounded(name)));
        counter!("ratelimit_detailed_decisions_total", "domain" => domain, "descriptor" => descriptor, "outcome" => outcome)
            .increment(1);
    }

    /// Rules had no counters, and one of them denies then.
    pub fn unavailable<'a>(&self, domain: &str, rules: impl Iterator<Item = &'a Rule>) {
        for rule in rules {
            self.count(domain, &rule.name, |counters| &counters.unavailable);
        }
    }

    /// No rule matched; without a domain, it is unknown.
    pub fn unmatched(&self, domain: Option<&str>) {
        self.count(domain.unwrap_or(NO_DOMAIN), &NO_RULE.into(), |counters| &counters.allowed);
    }

    /// Forgets rules that may be in force no more.
    pub fn forget(&self) {
        self.counters.write().clear();
    }

    fn count(&self, domain: &str, rule: &Arc<str>, which: impl Fn(&Counters) -> &Counter) {
        if let Some(counters) = self.counters.read().get(domain).and_then(|rules| rules.get(rule)) {
            return which(counters).increment(1);
        }
        let mut counters = self.counters.write();
        let rules = counters.entry(domain.into()).or_default();
        which(rules.entry(rule.clone()).or_insert_with(|| Counters::of(domain, rule))).increment(1);
    }

    fn bounded(&self, name: &str) -> Arc<str> {
        let name = &name[..name.floor_char_boundary(DETAIL_BYTES_MAX)];
        if let Some(known) = self.details.read().get(name) {
            return known.clone();
        }
        let mut details = self.details.write();
        if details.len() >= DETAILS_MAX {
            return OTHER.into();
        }
        let new: Arc<str> = name.into();
        details.insert(new.clone());
        new
    }
}

impl Counters {
    fn of(domain: &str, rule: &Arc<str>) -> Self {
        let counter = |outcome| {
            let (domain, rule) = (domain.to_owned(), SharedString::from(rule.clone()));
            counter!("ratelimit_decisions_total", "domain" => domain, "rule" => rule, "outcome" => outcome)
        };
        Self {
            allowed: counter("allowed"),
            denied: counter("denied"),
            shadow_denied: counter("shadow_denied"),
            peeked: counter("peeked"),
            unavailable: counter("unavailable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_values_make_are_bounded() {
        let decisions = Decisions::default();
        let names: HashSet<_> =
            (0..10 * DETAILS_MAX).map(|caller| decisions.bounded(&format!("caller_{caller}"))).collect();
        assert_eq!(names.len(), DETAILS_MAX + 1);
        assert_eq!(&*decisions.bounded("caller_0"), "caller_0");
        assert_eq!(&*decisions.bounded("new"), OTHER);
    }
}
