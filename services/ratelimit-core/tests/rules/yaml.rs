//! The YAML that the files are written in.

use std::fmt::Write as _;

use ratelimit_core::rules::{RuleFile, RuleSet};

use crate::{domain, load, matched, shop};

#[test]
fn anchors_and_merge_keys_repeat_what_was_said() {
    let rules = shop(
        "domain: shop\ndescriptors:\n  - &first\n    key: a\n    rate_limit: &limit {unit: hour, requests_per_unit: 3}\n  \
         - <<: *first\n    key: b\n  - key: c\n    rate_limit: {<<: *limit, name: c, unit: day}\n  \
         - key: d\n    rate_limit: {<<: [{name: d}, *limit, {name: x}]}\n",
    );
    let shown: Vec<_> =
        domain(&rules).rules().iter().map(|rule| format!("{} {}", rule.name, rule.policy)).collect();
    assert_eq!(
        shown,
        [
            "a fixed_window, 3 per 1h",
            "b fixed_window, 3 per 1h",
            "c fixed_window, 3 per 1day",
            "d fixed_window, 3 per 1h"
        ]
    );
}

#[test]
fn the_ends_of_lines_and_documents_are_as_they_like() {
    for text in [
        "\u{feff}domain: shop",
        "%YAML 1.1\n---\ndomain: shop\n...\n",
        "---\ndomain: shop\n---\n",
        "domain: shop\r\ndescriptors:\r\n  - key: a\r\n",
        "{\"domain\": \"shop\", \"descriptors\": []}",
        "domain: !!str shop\ndescriptors: !!seq []\n",
        "# A comment.\n\ndomain: >-\n  shop\n",
    ] {
        assert!(load(text).is_ok_and(|rules| rules.domain("shop").is_some()), "{text:?}");
    }
}

#[test]
fn a_text_may_be_quoted_and_hold_anything() {
    let rules = shop(
        r#"{domain: shop, descriptors: [{key: "a\u00e9", value: '*', rate_limit: {unit: day}}, {key: 'b: #', value: "*x", rate_limit: {unit: day}}]}"#,
    );
    assert_eq!(matched(&rules, &[("aé", "x")]), ["aé=*"]);
    assert_eq!(matched(&rules, &[("b: #", "*x")]), ["b: #=*x"]);
}

/// Aliases of aliases: no value that is counted would ever be read one by one.
#[test]
fn what_aliases_repeat_is_counted() {
    let mut text = "domain: shop\na0: &a0 [x, x]\n".to_owned();
    for n in 1..40 {
        writeln!(text, "a{n}: &a{n} [*a{before}, *a{before}]", before = n - 1).unwrap();
    }
    assert!(
        load(&text)
            .unwrap_err()
            .contains("there are more than 1000000 values, with those that aliases repeat")
    );
}

#[test]
fn what_aliases_nest_is_counted() {
    let mut text = "domain: shop\na0: &a0 [x]\n".to_owned();
    for n in 1..10_000 {
        writeln!(text, "? &a{n} [*a{before}]\n: x", before = n - 1).unwrap();
    }
    assert!(load(&text).unwrap_err().contains("nested deeper than 64"));
}

#[test]
fn what_is_merged_is_bounded() {
    let fields: String = (0..60).fold(String::new(), |fields, n| format!("{fields}f{n}: x, "));
    let text = format!("domain: shop\na: &a {{{fields}}}\nb: &b {{{}<<: *a}}\n", fields.replace('f', "g"));
    let error = load(&text).unwrap_err();
    assert!(error.contains("a mapping has at most 64 fields"), "{error}");
}

#[test]
fn a_field_twice_is_refused_also_in_other_words() {
    for twice in ["domain: a\ndomain: b", "domain: a\n\"domain\": b", "{domain: a, ? domain : b}"] {
        assert!(load(twice).unwrap_err().contains("`domain` is there twice, first at "), "{twice}");
    }
}

#[test]
fn a_place_is_counted_in_characters() {
    let error = load("domain: shop\ndescriptors: [{key: \"é😀\", value: [1]}]\n").unwrap_err();
    assert!(error.contains("rules.yaml:2:34: `value` is a text, not a list"), "{error}");
    let bad = RuleSet::load(&[RuleFile::new("rules.yaml", b"domain: \xc3\xa9\n# \xc3\xa9\xff".to_vec())])
        .unwrap_err();
    assert_eq!(bad.0[0].to_string(), "rules.yaml:2:4: is not UTF-8; save the file with that encoding");
}
