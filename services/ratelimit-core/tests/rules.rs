//! What the rules files mean, and what is refused.
// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use ratelimit_core::rules::{OnError, Policy, RuleFile, RuleSet};

fn load(text: &str) -> Result<RuleSet, String> {
    let file = RuleFile { name: "rules.yaml".into(), text: text.into() };
    RuleSet::load(&[file]).map_err(|errors| errors.to_string())
}

fn matched(rules: &RuleSet, entries: &[(&str, &str)]) -> Vec<String> {
    let domain = rules.domain("shop").unwrap();
    domain.matching(entries.iter().copied()).iter().map(|rule| rule.name.to_string()).collect()
}

const TREE: &str = r"
domain: shop
descriptors:
  - key: tier
    value: premium
    rate_limit: {unit: minute, requests_per_unit: 300, name: premium}
    descriptors:
      - key: caller
        limits:
          - {limit: 10, period: 200ms, algorithm: token_bucket, burst: 5, on_error: deny}
          - {limit: 1000, period: 1day, shadow_mode: true}
  - key: tier
    descriptors:
      - key: caller
        rate_limit: {unit: HOUR, requests_per_unit: 7}
        shadow_mode: true
  - key: status
    value: 404
    rate_limit: {unlimited: true}
";

#[test]
fn a_descriptor_walks_down_the_tree() {
    let rules = load(TREE).unwrap();
    assert_eq!(matched(&rules, &[("tier", "premium")]), ["premium"]);
    assert_eq!(
        matched(&rules, &[("tier", "premium"), ("caller", "ann")]),
        ["tier=premium/caller", "tier=premium/caller#2"]
    );
    assert_eq!(matched(&rules, &[("tier", "free"), ("caller", "ann")]), ["tier/caller"]);
    assert_eq!(matched(&rules, &[("status", "404")]), ["status=404"]);
}

#[test]
fn only_a_whole_match_counts() {
    let rules = load(TREE).unwrap();
    assert!(matched(&rules, &[("tier", "free")]).is_empty());
    assert!(matched(&rules, &[("tier", "premium"), ("caller", "ann"), ("path", "/")]).is_empty());
    assert!(matched(&rules, &[("caller", "ann"), ("tier", "premium")]).is_empty());
    assert!(matched(&rules, &[("status", "200")]).is_empty());
    assert!(rules.domain("other").is_none());
}

#[test]
fn limits_mean_what_they_say() {
    let rules = load(TREE).unwrap();
    let all = rules.domain("shop").unwrap().rules();
    let Policy::Limited(bucket) = &all[1].policy else { panic!("{all:?}") };
    assert_eq!((bucket.name(), bucket.limit(), bucket.capacity()), ("token_bucket", 10, 5));
    assert_eq!((bucket.period(), all[1].on_error), (Some(Duration::from_millis(200)), OnError::Deny));
    assert!(all[2].shadow && all[3].shadow && !all[0].shadow);
    assert_eq!(all[4].policy, Policy::Unlimited);
}

#[test]
fn the_version_is_that_of_the_contents() {
    let version = |text| load(text).unwrap().version().to_owned();
    assert_eq!(version(TREE), version(TREE));
    assert_ne!(version(TREE), version(&TREE.replace("300", "301")));
}

#[test]
fn an_empty_domain_is_one() {
    assert!(load("domain: shop").unwrap().domain("shop").unwrap().rules().is_empty());
}

/// A limit on line 5 of a file that is right otherwise.
fn with_limit(limit: &str) -> String {
    format!("domain: shop\ndescriptors:\n  - key: caller\n    limits:\n      - {limit}\n")
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (limit, place, reason) in [
        (
            "{limit: 1, period: 1m, algorithm: sliding_window}",
            "5:",
            "\"sliding_window\" is not available yet",
        ),
        (
            "{limit: 1, period: 1m, algorithm: magic}",
            "5:43",
            "\"magic\" is unknown; there are fixed_window and token_bucket",
        ),
        ("{limit: 0, period: 1m}", "5:17", "limit must be from 1 to 4294967295"),
        ("{limit: 1, period: soon}", "5:28", "\"soon\" is not a duration"),
        ("{limit: 1, period: 1us}", "5:", "period must be whole microseconds from 1ms to 366days"),
        ("{limit: 1, period: 1m, burst: 3}", "5:", "burst is for token_bucket only"),
        ("{limit: 1, period: 1m, on_error: retry}", "5:", "\"retry\" must be allow, deny or local"),
        (
            "{limit: 999983, period: 1day, algorithm: token_bucket}",
            "5:",
            "too large together to be counted exactly",
        ),
        ("{limit: 1, period: 1m, time_zone: UTC}", "5:", "time_zone"),
        ("{limit: -1, period: 1m}", "5:", ""),
        ("{period: 1m}", "", "missing field"),
        ("{limit: 1, period: 1m, name: a}\n      - {limit: 1, period: 1m, name: a}", "6:", "\"a\" is taken"),
    ] {
        let error = load(&with_limit(limit)).unwrap_err();
        assert!(error.contains(&format!("rules.yaml:{place}")), "{limit}: {error}");
        assert!(error.contains(reason), "{limit}: {error}");
    }
}

#[test]
fn what_envoy_has_and_is_not_honoured_is_refused_by_name() {
    for (descriptor, reason) in [
        ("{key: a, rate_limit: {unit: minute, requests_per_unit: 1, replaces: [{name: b}]}}", "replaces"),
        ("{key: a, detailed_metric: true}", "detailed_metric"),
        ("{key: a, value: b*}", "wildcards"),
        ("{key: a, rate_limit: {requests_per_unit: 1}}", "unit must be second"),
        ("{key: a, rate_limit: {unit: minute, unlimited: true}}", "has no unit"),
        ("{key: ''}", "key must have 1 to 256 bytes"),
        ("{key: a}\n  - {key: a}", "\"a\" is there twice"),
    ] {
        let error = load(&format!("domain: shop\ndescriptors:\n  - {descriptor}")).unwrap_err();
        assert!(error.contains(reason), "{descriptor}: {error}");
        assert!(error.contains("rules.yaml:"), "{descriptor}: {error}");
    }
}

#[test]
fn every_mistake_is_reported() {
    let good = with_limit("{limit: 1, period: 1m}");
    let bad = with_limit("{limit: 0, period: soon}");
    let files = [
        ("a.yaml", good.as_str()),
        ("b.yaml", bad.as_str()),
        ("c.yaml", good.as_str()),
        ("d.yaml", "domain: ["),
    ];
    let files = files.map(|(name, text)| RuleFile { name: name.into(), text: text.into() });
    let error = RuleSet::load(&files).unwrap_err();
    let named: Vec<_> = error.0.iter().map(|error| error.file.as_str()).collect();
    assert_eq!(named, ["b.yaml", "b.yaml", "c.yaml", "d.yaml"], "{error}");
    assert!(error.0[2].reason.contains("is in another file too"));
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = (0..17).fold(String::new(), |inner, _| format!("{{key: a, descriptors: [{inner}]}}"));
    let error = load(&format!("domain: shop\ndescriptors: [{nested}]")).unwrap_err();
    assert!(error.contains("nested deeper than 16"), "{error}");
    let endless = "{key: a, descriptors: [".repeat(100_000);
    load(&format!("domain: shop\ndescriptors: [{endless}")).unwrap_err();
    let large = format!("domain: shop # {}", " ".repeat(1 << 20));
    assert!(load(&large).unwrap_err().contains("is larger than"));
}
