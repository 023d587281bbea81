//! The entries of `limits`.

use std::time::Duration;

use ratelimit_core::{
    Algorithm,
    algorithm::CalendarPeriod,
    rules::{OnError, Policy},
};

use crate::{domain, limit, load, matched, only, shop, with_limit};

fn algorithm(limit: &str) -> Algorithm {
    match only(&with_limit(limit)).policy {
        Policy::Limited(algorithm) => algorithm,
        Policy::Unlimited => panic!("{limit}"),
    }
}

#[test]
fn all_algorithms_take_a_limit_and_a_period() {
    for (name, capacity) in [
        ("fixed_window", 100),
        ("sliding_window", 100),
        ("token_bucket", 100),
        ("leaky_bucket", 1),
        ("concurrency", 100),
    ] {
        let algorithm = algorithm(&format!("{{algorithm: {name}, limit: 100, period: 1m 30s}}"));
        assert_eq!((algorithm.name(), algorithm.limit(), algorithm.capacity()), (name, 100, capacity));
        assert_eq!(algorithm.period(), Some(Duration::from_secs(90)));
    }
    assert_eq!(algorithm("{limit: 1, period: 1ms}").name(), "fixed_window");
}

#[test]
fn a_token_bucket_may_hold_more_or_less_than_its_limit() {
    for burst in [1, 5, 50] {
        let bucket =
            algorithm(&format!("{{algorithm: token_bucket, limit: 10, period: 200ms, burst: {burst}}}"));
        assert_eq!((bucket.limit(), bucket.capacity()), (10, burst));
    }
}

#[test]
fn a_quota_has_a_calendar() {
    for (period, expected) in
        [("day", CalendarPeriod::Day), ("week", CalendarPeriod::Week), ("month", CalendarPeriod::Month)]
    {
        let quota =
            algorithm(&format!("{{algorithm: quota, limit: 9, period: {period}, time_zone: Europe/Berlin}}"));
        let Algorithm::Quota(quota) = quota else { panic!("{quota:?}") };
        assert_eq!((quota.period(), quota.time_zone_name()), (expected, "Europe/Berlin"));
    }
    let Algorithm::Quota(quota) = algorithm("{algorithm: quota, limit: 9, period: day}") else { panic!() };
    assert_eq!(quota.time_zone_name(), "UTC");
}

#[test]
fn what_is_not_said_has_a_default() {
    let rule = only(&with_limit("{limit: 1, period: 1m}"));
    assert_eq!((&*rule.name, rule.given_name.as_deref(), rule.on_error), ("caller", None, OnError::Local));
    assert!(rule.is_enforced() && !rule.shadow && !rule.quota_mode);
    assert!(rule.lease.is_none() && rule.replaces.is_empty());
}

#[test]
fn everything_can_be_said() {
    let rule = only(&with_limit(
        "{name: w, algorithm: sliding_window, limit: 9, period: 1m, on_error: deny, lease: 9, shadow_mode: true}",
    ));
    assert_eq!((&*rule.name, rule.given_name.as_deref(), rule.on_error), ("w", Some("w"), OnError::Deny));
    assert_eq!((rule.lease, rule.shadow, rule.is_enforced()), (Some(9), true, false));
    assert_eq!(only(&with_limit("{limit: 1, period: 1m, on_error: allow}")).on_error, OnError::Allow);
}

#[test]
fn a_lease_is_at_most_what_passes_at_once() {
    let bucket = "algorithm: token_bucket, limit: 100, period: 1m, burst: 20";
    assert_eq!(only(&with_limit(&format!("{{{bucket}, lease: 20}}"))).lease, Some(20));
    let error = load(&with_limit(&format!("{{{bucket}, lease: 21}}"))).unwrap_err();
    assert!(error.contains("lease must be at most 20"), "{error}");
    assert_eq!(only(&with_limit("{algorithm: quota, limit: 9, period: day, lease: 9}")).lease, Some(9));
}

#[test]
fn a_limit_may_be_unlimited_to_replace_another() {
    let rules = shop(
        "domain: shop\ndescriptors:\n  - {key: a, limits: [{name: a, limit: 1, period: 1m}]}\n  \
         - {key: b, limits: [{unlimited: true, replaces: [{name: a}]}]}\n",
    );
    assert_eq!(domain(&rules).rules()[1].policy, Policy::Unlimited);
    assert_eq!(matched(&rules, &[("b", "x")]), ["b"]);
}

#[test]
fn limits_stand_beside_a_rate_limit_and_share_its_modes() {
    let rules = shop(
        "domain: shop\ndescriptors:\n  - key: a\n    shadow_mode: true\n    quota_mode: true\n    \
         rate_limit: {unit: hour, requests_per_unit: 1}\n    limits: [{limit: 2, period: 1m}, {limit: 3, period: 1m}]\n    \
         descriptors: [{key: b, limits: [{limit: 4, period: 1m}]}]\n",
    );
    let all = domain(&rules).rules();
    assert_eq!(all.iter().map(|rule| limit(rule)).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(
        all.iter().map(|rule| rule.shadow && rule.quota_mode).collect::<Vec<_>>(),
        [true, true, true, false]
    );
    assert_eq!(matched(&rules, &[("a", "x")]), ["a", "a#2", "a#3"]);
}
