//! A `*` at the end of a value, or of a key.

use crate::{domain, load, matched, shop, with_descriptor};

const TREE: &str = r#"
domain: shop
descriptors:
  - key: path
    value: /api/*
    rate_limit: {name: api, unit: minute, requests_per_unit: 1}
  - key: path
    value: /api/v1/*
    rate_limit: {name: never, unit: minute, requests_per_unit: 1}
  - key: path
    value: /api/v1/login
    rate_limit: {name: login, unit: minute, requests_per_unit: 1}
  - key: path
    value: /f*
    share_threshold: true
    descriptors:
      - key: caller
        rate_limit: {name: files, unit: minute, requests_per_unit: 1}
      - key: zone
        value: "*"
        rate_limit: {name: zones, unit: minute, requests_per_unit: 1}
      - key: zone
        value: a
        share_threshold: false
        rate_limit: {name: zone_a, unit: minute, requests_per_unit: 1}
  - key: path
    rate_limit: {name: other, unit: minute, requests_per_unit: 1}
  - key: mid
    value: a*b
    rate_limit: {name: mid, unit: minute, requests_per_unit: 1}
"#;

#[test]
fn a_value_of_its_own_goes_first_then_wildcards_as_they_stand_then_the_key_alone() {
    let rules = shop(TREE);
    let name = |path| matched(&rules, &[("path", path)]).concat();
    assert_eq!(name("/api/v1/login"), "login");
    assert_eq!(name("/api/v1/logout"), "api");
    assert_eq!(name("/api/"), "api");
    assert_eq!(name("/api"), "other");
    assert_eq!(name(""), "other");
}

#[test]
fn a_star_elsewhere_is_a_star() {
    let rules = shop(TREE);
    assert_eq!(matched(&rules, &[("mid", "a*b")]), ["mid"]);
    assert!(matched(&rules, &[("mid", "axb")]).is_empty());
}

#[test]
fn a_key_may_end_with_a_star() {
    let limit = |name| format!("rate_limit: {{name: {name}, unit: second, requests_per_unit: 1}}");
    let rules = shop(&format!(
        "domain: shop\ndescriptors:\n  - {{key: x-*, {}}}\n  - {{key: x-a, value: b*, {}}}\n  - {{key: x-a, value: b, {}}}\n",
        limit("any"),
        limit("never"),
        limit("exact")
    ));
    assert_eq!(matched(&rules, &[("x-a", "b")]), ["exact"]);
    assert_eq!(matched(&rules, &[("x-a", "bc")]), ["any"]);
    assert_eq!(matched(&rules, &[("x-", "")]), ["any"]);
    assert!(matched(&rules, &[("x", "-a")]).is_empty());
}

/// With a value, a star at the end of the key is a star.
#[test]
fn a_key_with_a_value_is_no_wildcard() {
    let rules =
        shop(&with_descriptor("{key: x*, value: a, rate_limit: {unit: second, requests_per_unit: 1}}"));
    assert_eq!(matched(&rules, &[("x*", "a")]), ["x*=a"]);
    assert!(matched(&rules, &[("xy", "a")]).is_empty());
}

fn subject(text: &str, entries: &[(&str, &str)]) -> String {
    let rules = shop(text);
    let place = domain(&rules).matching(entries.iter().copied()).unwrap();
    let parts: Vec<_> =
        place.subject(entries.iter().copied()).map(|(key, value)| format!("{key}={value}")).collect();
    parts.join(",")
}

#[test]
fn each_value_has_a_counter_of_its_own_unless_they_share_one() {
    assert_eq!(subject(TREE, &[("path", "/api/x")]), "path=/api/x");
    assert_eq!(subject(TREE, &[("path", "/f/1"), ("caller", "ann")]), "path=/f*,caller=ann");
    assert_eq!(subject(TREE, &[("path", "/f/2"), ("zone", "b")]), "path=/f*,zone=b");
    assert_eq!(subject(TREE, &[("path", "/f/3"), ("zone", "a")]), "path=/f*,zone=a");
}

/// As in envoyproxy/ratelimit, whose counters are named by the key that was sent.
#[test]
fn a_shared_key_wildcard_shares_the_values_of_each_key() {
    let file = with_descriptor(
        "{key: x-*, share_threshold: true, rate_limit: {unit: second, requests_per_unit: 1}}",
    );
    assert_eq!(subject(&file, &[("x-a", "1")]), "x-a=x-*");
    assert_eq!(subject(&file, &[("x-b", "2")]), "x-b=x-*");
}

#[test]
fn only_wildcards_share() {
    for descriptor in ["{key: a, value: b, share_threshold: true}", "{key: a, share_threshold: true}"] {
        let error = load(&with_descriptor(descriptor)).unwrap_err();
        assert!(error.contains("share_threshold is for a value that ends with *"), "{error}");
    }
}
