//! Which descriptors lead to which rules.

use crate::{load, matched, shop, with_descriptor};

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
  - key: tier
    value: internal
  - key: status
    value: 404
    rate_limit: {unlimited: true}
";

#[test]
fn a_descriptor_walks_down_the_tree() {
    let rules = shop(TREE);
    assert_eq!(matched(&rules, &[("tier", "premium")]), ["premium"]);
    assert_eq!(
        matched(&rules, &[("tier", "premium"), ("caller", "ann")]),
        ["tier=premium/caller", "tier=premium/caller#2"]
    );
    assert_eq!(matched(&rules, &[("tier", "free"), ("caller", "ann")]), ["tier/caller"]);
    assert_eq!(matched(&rules, &[("tier", ""), ("caller", "")]), ["tier/caller"]);
    assert_eq!(matched(&rules, &[("status", "404")]), ["status=404"]);
}

#[test]
fn only_a_whole_match_counts() {
    let rules = shop(TREE);
    assert!(matched(&rules, &[("tier", "free")]).is_empty());
    assert!(matched(&rules, &[("tier", "premium"), ("caller", "ann"), ("path", "/")]).is_empty());
    assert!(matched(&rules, &[("caller", "ann"), ("tier", "premium")]).is_empty());
    assert!(matched(&rules, &[("status", "200")]).is_empty());
    assert!(matched(&rules, &[]).is_empty());
    assert!(rules.domain("other").is_none());
}

#[test]
fn a_value_of_its_own_never_falls_back() {
    let rules = shop(TREE);
    assert!(matched(&rules, &[("tier", "internal"), ("caller", "ann")]).is_empty());
}

#[test]
fn a_place_without_a_limit_is_no_place_that_is_missing() {
    let rules = shop(TREE);
    let place = |value| rules.domain("shop").unwrap().matching([("tier", value)]);
    assert!(place("internal").is_some_and(|place| place.rules().is_empty()));
    assert!(rules.domain("shop").unwrap().matching([("zone", "a")]).is_none());
}

/// envoyproxy/ratelimit joins them with `_`, so that one key can stand for another with a value.
#[test]
fn keys_and_values_are_not_joined() {
    let rules = shop(&with_descriptor("{key: a_b, rate_limit: {unit: second, requests_per_unit: 1}}"));
    assert!(matched(&rules, &[("a", "b")]).is_empty());
    assert_eq!(matched(&rules, &[("a_b", "c")]), ["a_b"]);
    load(&with_descriptor("{key: a_b}\n  - {key: a, value: b}")).unwrap();
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = (0..17).fold(String::new(), |inner, _| format!("{{key: a, descriptors: [{inner}]}}"));
    let error = load(&format!("domain: shop\ndescriptors: [{nested}]")).unwrap_err();
    assert!(error.contains("nested deeper than 16"), "{error}");
    let endless = "{key: a, descriptors: [".repeat(20_000);
    assert!(
        load(&format!("domain: shop\ndescriptors: [{endless}"))
            .unwrap_err()
            .contains("nested deeper than 64")
    );
    let large = format!("domain: shop # {}", " ".repeat(1 << 20));
    assert!(load(&large).unwrap_err().contains("is larger than"));
    let many: Vec<_> = (0..10_001).map(|n| format!("  - {{key: k{n}}}")).collect();
    let error = load(&format!("domain: shop\ndescriptors:\n{}", many.join("\n"))).unwrap_err();
    assert!(error.contains("rules.yaml:10003:5: there are more than 10000 descriptors"), "{error}");
}
