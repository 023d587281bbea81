//! What the rules files mean, and what is refused.
// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod documents;
mod envoy;
mod explain;
mod limits;
mod malformed;
mod metric_names;
mod names;
mod properties;
mod replaces;
mod sets;
mod tree;
mod warnings;
mod wildcards;
mod yaml;

use ratelimit_core::rules::{Domain, Match, Policy, Rule, RuleFile, RuleSet};

/// The rules of a file.
fn load(text: &str) -> Result<RuleSet, String> {
    RuleSet::load(&[RuleFile::new("rules.yaml", text)]).map_err(|errors| errors.to_string())
}

/// The rules of a file whose domain is `shop`, and valid.
fn shop(text: &str) -> RuleSet {
    let rules = load(text).unwrap();
    assert!(rules.domain("shop").is_some());
    rules
}

fn domain(rules: &RuleSet) -> &Domain {
    rules.domain("shop").unwrap()
}

/// The names of the rules that a descriptor leads to.
fn matched(rules: &RuleSet, entries: &[(&str, &str)]) -> Vec<String> {
    let place = domain(rules).matching(entries.iter().copied());
    place.iter().flat_map(Match::rules).map(|rule| rule.name.to_string()).collect()
}

/// The only rule of a file.
fn only(text: &str) -> Rule {
    let rules = load(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let [rule] = domain(&rules).rules() else { panic!("{text}") };
    Rule::clone(rule)
}

/// A file with one entry of `limits`, on line 5.
fn with_limit(limit: &str) -> String {
    format!("domain: shop\ndescriptors:\n  - key: caller\n    limits:\n      - {limit}\n")
}

/// A file with one descriptor, on line 3.
fn with_descriptor(descriptor: &str) -> String {
    format!("domain: shop\ndescriptors:\n  - {descriptor}\n")
}

/// What passes each period, or at a time.
fn limit(rule: &Rule) -> u64 {
    match &rule.policy {
        Policy::Unlimited => u64::MAX,
        Policy::Limited(algorithm) => algorithm.limit(),
    }
}
