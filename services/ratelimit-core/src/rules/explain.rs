//! Why a request falls under some rules and not under others, for people who write rules.

mod reasons;

use std::{fmt, sync::Arc};

use super::{Domain, Match, Rule, descriptors::write_descriptor};

/// What a domain's rules say to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The domain.
    pub domain: String,
    /// One for each descriptor of the request.
    pub descriptors: Vec<Explained>,
}

/// What the rules say to one descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The descriptor, as [`parse_descriptors`](super::parse_descriptors) reads it.
    pub descriptor: String,
    /// The rules that it falls under.
    pub rules: Vec<ExplainedRule>,
    /// Why others don't apply, or none does: sentences without a full stop.
    pub reasons: Vec<String>,
}

/// A rule that a descriptor falls under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedRule {
    /// The rule.
    pub rule: Arc<Rule>,
    /// What its counter is for; `None` where nothing is counted.
    pub counts: Option<String>,
    /// The rule that it does not count for, as that replaces it.
    pub replaced_by: Option<Arc<str>>,
    /// Under which name envoyproxy/ratelimit would meter it, where the file asks for more than the rule's own.
    pub metric_name: Option<String>,
}

impl Domain {
    /// Explains which rules all descriptors of one request fall under, and why those near them don't count.
    pub fn explain(&self, descriptors: &[Vec<(String, String)>]) -> Explanation {
        let matches = self.matching_all(descriptors.iter().map(|it| pairs(it)));
        let replaced_by = |rule: &Rule| {
            let name = rule.given_name.as_ref().filter(|_| matches.is_replaced(rule))?;
            let mut all = matches.with_replaced();
            all.find(|other| other.rule.replaces.contains(name)).map(|other| other.rule.name.clone())
        };
        let explain = |(index, entries): (usize, &Vec<(String, String)>)| {
            let place = matches.place(index);
            let rules = place.iter().flat_map(Match::rules);
            Explained {
                descriptor: write_descriptor(pairs(entries)),
                rules: rules.map(|rule| explained(rule, place, entries, replaced_by(rule))).collect(),
                reasons: reasons::reasons(&self.root, &self.rules, entries),
            }
        };
        let descriptors = descriptors.iter().enumerate().map(explain).collect();
        Explanation { domain: self.name().to_owned(), descriptors }
    }
}

fn explained(
    rule: &Arc<Rule>,
    place: Option<Match<'_>>,
    entries: &[(String, String)],
    replaced_by: Option<Arc<str>>,
) -> ExplainedRule {
    let subject = || place.map(|place| write_descriptor(place.subject(pairs(entries))));
    ExplainedRule {
        rule: Arc::clone(rule),
        counts: rule.policy.algorithm().and_then(|_| subject()),
        replaced_by,
        metric_name: place.and_then(|place| place.metric_name(pairs(entries))),
    }
}

fn pairs(entries: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "domain {}", self.domain)?;
        self.descriptors.iter().try_for_each(|explained| write!(f, "\n{explained}"))
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.descriptor)?;
        self.rules.iter().try_for_each(|rule| write!(f, "\n  {rule}"))?;
        self.reasons.iter().try_for_each(|reason| write!(f, "\n  {reason}"))
    }
}

impl fmt::Display for ExplainedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, counts, replaced_by, metric_name } = self;
        let applies = if replaced_by.is_some() { "does not apply" } else { "applies" };
        write!(f, "{applies}: {} ({})", rule.name, rule.policy)?;
        if let Some(other) = replaced_by {
            return write!(f, ", as {other} replaces it");
        }
        if let Some(counts) = counts {
            write!(f, ", counted for {counts}")?;
        }
        let modes = [(rule.shadow, "in shadow"), (rule.quota_mode, "in quota mode")];
        modes.iter().filter(|(on, _)| *on).try_for_each(|(_, mode)| write!(f, ", {mode}: never denies"))?;
        metric_name.iter().try_for_each(|name| write!(f, ", metered as {name}"))
    }
}
