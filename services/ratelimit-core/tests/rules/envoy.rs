//! What envoyproxy/ratelimit documents for its files loads, and means the same. Wildcards, `replaces` and the names of metrics
//! have files of their own.

use std::time::Duration;

use ratelimit_core::rules::{OnError, Policy};

use crate::{domain, limit, load, matched, only, shop, with_descriptor};

fn rate_limit(fields: &str) -> String {
    with_descriptor(&format!("{{key: a, rate_limit: {{{fields}}}}}"))
}

#[test]
fn a_rate_limit_is_a_fixed_window_of_a_unit() {
    const DAY: u64 = 24 * 60 * 60;
    for (unit, seconds) in [
        ("second", 1),
        ("minute", 60),
        ("hour", 60 * 60),
        ("day", DAY),
        ("week", 7 * DAY),
        ("month", 30 * DAY),
        ("year", 365 * DAY),
    ] {
        for unit in [unit.to_owned(), unit.to_uppercase(), unit.replace('e', "E")] {
            let rule = only(&rate_limit(&format!("unit: {unit}, requests_per_unit: 500")));
            let algorithm = rule.policy.algorithm().unwrap();
            assert_eq!((algorithm.name(), algorithm.limit()), ("fixed_window", 500));
            assert_eq!(algorithm.period(), Some(Duration::from_secs(seconds)));
            assert_eq!((rule.on_error, rule.lease), (OnError::Local, None));
        }
    }
}

#[test]
fn none_may_pass_or_everything() {
    assert_eq!(limit(&only(&rate_limit("unit: second, requests_per_unit: 0"))), 0);
    assert_eq!(limit(&only(&rate_limit("unit: second"))), 0);
    assert_eq!(limit(&only(&rate_limit("unit: second, requests_per_unit: 4294967295"))), 4_294_967_295);
    for unlimited in ["unlimited: true", "unlimited: true, requests_per_unit: 5", "unlimited: true, unit: "] {
        assert_eq!(only(&rate_limit(unlimited)).policy, Policy::Unlimited);
    }
}

#[test]
fn modes_are_those_of_the_descriptor() {
    for (mode, shadow, quota_mode) in [("shadow_mode", true, false), ("quota_mode", false, true)] {
        let rule = only(&with_descriptor(&format!(
            "{{key: a, {mode}: true, rate_limit: {{unit: day, requests_per_unit: 1}}}}"
        )));
        assert_eq!((rule.shadow, rule.quota_mode, rule.is_enforced()), (shadow, quota_mode, false));
    }
}

/// Whatever a value or a key would be elsewhere, here it is its text, as Go's yaml.v2 reads it into a string.
#[test]
fn values_need_no_quotes() {
    for value in ["404", "true", "no", "0x1F", "1_000", "1.50", "2020-01-01", "1e3", "10.0.0.0/8", "a b"] {
        let limit = "rate_limit: {unit: day, requests_per_unit: 1}";
        let rules = shop(&with_descriptor(&format!("{{key: a, value: {value}, {limit}}}")));
        assert_eq!(matched(&rules, &[("a", value)]), [format!("a={value}")]);
        let rules = shop(&with_descriptor(&format!("{{key: {value}, {limit}}}")));
        assert_eq!(matched(&rules, &[(value, "x")]), [value]);
    }
}

#[test]
fn an_empty_value_is_none_and_so_is_null() {
    for value in ["", "~", "null", "''", "\"\""] {
        let rules = shop(&with_descriptor(&format!("{{key: a, value: {value}, rate_limit: {{unit: day}}}}")));
        assert_eq!(matched(&rules, &[("a", "x")]), ["a"]);
    }
}

#[test]
fn whatever_is_null_is_absent() {
    let rules = shop(&with_descriptor(
        "{key: a, value: , rate_limit: , limits: , descriptors: , shadow_mode: , share_threshold: }",
    ));
    assert!(domain(&rules).rules().is_empty());
    let rule = only(&rate_limit("unit: day, requests_per_unit: , name: , replaces: , unlimited: "));
    assert_eq!((limit(&rule), rule.given_name, rule.replaces.len()), (0, None, 0));
    assert!(load("domain: shop\ndescriptors:\n").is_ok());
}

#[test]
fn numbers_and_booleans_are_those_of_yaml_1_1() {
    for (written, number) in
        [("1_000", 1000), ("0x3e8", 1000), ("0b11", 3), ("0o17", 15), ("017", 15), ("+5", 5), ("0", 0)]
    {
        let rule = only(&rate_limit(&format!("unit: day, requests_per_unit: {written}")));
        assert_eq!(limit(&rule), number, "{written}");
    }
    for (written, shadow) in [("yes", true), ("On", true), ("y", true), ("TRUE", true), ("off", false)] {
        let rule =
            only(&with_descriptor(&format!("{{key: a, shadow_mode: {written}, rate_limit: {{unit: day}}}}")));
        assert_eq!(rule.shadow, shadow, "{written}");
    }
}
