//! Why rules apply, or don't.

use ratelimit_core::rules::{DescriptorSyntax, parse_descriptors, write_descriptor};

use crate::{domain, shop};

const TREE: &str = r"
domain: shop
descriptors:
  - key: tier
    value: premium
    descriptors:
      - key: caller
        limits:
          - {name: writes_premium, algorithm: token_bucket, limit: 300, period: 1m, burst: 50}
          - {name: daily, algorithm: quota, limit: 20000, period: day, time_zone: Europe/Berlin, shadow_mode: true}
  - key: tier
    descriptors:
      - key: caller
        limits: [{name: writes, limit: 60, period: 1m}]
      - key: address
        limits: [{limit: 60, period: 1m}]
  - key: tier
    value: internal
  - key: path
    value: /files/*
    share_threshold: true
    detailed_metric: true
    rate_limit: {name: files, unit: hour, requests_per_unit: 10}
  - key: path
    rate_limit: {unit: second, requests_per_unit: 5}
  - key: export
    quota_mode: true
    limits: [{algorithm: concurrency, limit: 2, period: 10m, replaces: [{name: writes}]}]
  - key: ping
    rate_limit: {unlimited: true}
";

fn explained(text: &str) -> String {
    domain(&shop(TREE)).explain(&parse_descriptors(text).unwrap()).to_string()
}

fn lines(text: &str) -> Vec<String> {
    explained(text).lines().skip(2).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn what_applies_is_told_with_what_it_counts_for() {
    assert_eq!(
        explained("tier=premium,caller=ann"),
        "domain shop\n\
         tier=premium,caller=ann\n  \
           applies: writes_premium (token_bucket, 300 per 1m, burst 50), counted for tier=premium,caller=ann\n  \
           applies: daily (quota, 20000 per day, Europe/Berlin), counted for tier=premium,caller=ann, in shadow: never denies\n  \
           does not apply: writes, as tier=premium is found before tier"
    );
    assert_eq!(lines("ping=x"), ["applies: ping (unlimited)"]);
    assert_eq!(
        lines("path=/files/a"),
        [
            "applies: files (fixed_window, 10 per 1h), counted for path=/files/*, metered as shop.path_/files/*",
            "does not apply: path, as path=/files/* is found before path",
        ]
    );
}

#[test]
fn what_replaces_another_is_told() {
    assert_eq!(
        explained("tier=free,caller=ann;export=x"),
        "domain shop\n\
         tier=free,caller=ann\n  does not apply: writes (fixed_window, 60 per 1m), as export replaces it\n\
         export=x\n  applies: export (concurrency, 2 at a time, each for 10m at most), counted for export=x, in quota mode: never denies"
    );
}

#[test]
fn why_nothing_applies_is_told() {
    for (text, reason) in [
        ("tier=free", "tier has no limit itself, its limits are one level deeper, at address, caller"),
        (
            "tier=free,caler=x",
            "below tier there is no caler=x, there are address, caller; did you mean caller?",
        ),
        ("tier=internal", "tier=internal is there without a limit, which lets everything pass"),
        ("tier=internal,caller=x", "there is nothing below tier=internal, and caller=x comes after it"),
        (
            "path=/a,caller=x",
            "there is nothing below path, and caller=x comes after it; its limits are for descriptors that end there",
        ),
        (
            "caller=x",
            "below the top there is no caller=x, there are export, path, path=/files/*, ping, tier, tier=internal, tier=premium",
        ),
    ] {
        assert_eq!(lines(text)[0], format!("nothing applies: {reason}"), "{text}");
    }
}

/// The path that was chosen leads nowhere, and another would have led to a limit.
#[test]
fn that_another_way_is_not_tried_is_told() {
    assert_eq!(
        lines("tier=premium,address=192.0.2.1"),
        [
            "nothing applies: below tier=premium there is no address=192.0.2.1, there is caller",
            "does not apply: tier/address, as tier=premium is found before tier",
        ]
    );
}

#[test]
fn many_descriptors_are_not_all_named() {
    let many: String = (0..20).fold(String::new(), |all, n| format!("{all}{{key: k{n:02}}}, "));
    let rules = shop(&format!("domain: shop\ndescriptors: [{many}]"));
    let told = domain(&rules).explain(&parse_descriptors("x=y").unwrap()).to_string();
    assert!(told.ends_with("k00, k01, k02, k03, k04, k05, k06, k07 and 12 more"), "{told}");
}

#[test]
fn a_descriptor_is_written_as_it_is_read() {
    let entries = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    for (text, expected) in [
        ("tier=free,caller=x", vec![entries(&[("tier", "free"), ("caller", "x")])]),
        ("a=b;c=d, e=", vec![entries(&[("a", "b")]), entries(&[("c", "d"), ("e", "")])]),
        (r"path=/a\,b\;c?d=e\\", vec![entries(&[("path", "/a,b;c?d=e\\")])]),
        (r"a\=b= c ,\ d=", vec![entries(&[("a=b", " c "), (" d", "")])]),
    ] {
        let descriptors = parse_descriptors(text).unwrap();
        assert_eq!(descriptors, expected);
        let written: Vec<_> = descriptors
            .iter()
            .map(|it| write_descriptor(it.iter().map(|(key, value)| (key.as_str(), value.as_str()))))
            .collect();
        assert_eq!(parse_descriptors(&written.join(";")).unwrap(), expected);
    }
}

#[test]
fn what_is_no_descriptor_is_refused() {
    for text in ["", "a", "a=b,", "a=b;", "=b", "a=b,,c=d"] {
        assert!(matches!(parse_descriptors(text), Err(DescriptorSyntax::Entry(_))), "{text}");
    }
    assert_eq!(parse_descriptors("a=b\\"), Err(DescriptorSyntax::Backslash));
}
