//! Several files together.

use ratelimit_core::rules::{MISTAKES_MAX, RuleFile, RuleSet};

use crate::{load, with_descriptor, with_limit};

#[test]
fn the_version_is_that_of_the_contents() {
    let version = |text: &str| load(text).unwrap().version().to_owned();
    let text = with_limit("{limit: 300, period: 1m}");
    assert_eq!(version(&text), version(&text));
    assert_ne!(version(&text), version(&text.replace("300", "301")));
}

#[test]
fn an_empty_domain_is_one() {
    for text in ["domain: shop", "domain: shop\ndescriptors:\n", "domain: shop\ndescriptors: []"] {
        assert!(load(text).unwrap().domain("shop").unwrap().rules().is_empty());
    }
}

#[test]
fn every_mistake_is_reported() {
    let good = with_limit("{limit: 1, period: 1m}");
    let bad = with_limit("{limit: 0, period: soon}");
    let files = [("a.yaml", &*good), ("b.yaml", &*bad), ("c.yaml", &*good), ("d.yaml", "domain: [")]
        .map(|(name, text)| RuleFile::new(name, text));
    let error = RuleSet::load(&files).unwrap_err();
    let named: Vec<_> = error.0.iter().map(|error| error.file.as_str()).collect();
    assert_eq!(named, ["b.yaml", "b.yaml", "c.yaml", "d.yaml"], "{error}");
    assert!(error.to_string().contains("c.yaml:1:9: domain \"shop\" is in another file too, a.yaml"));
}

#[test]
fn all_mistakes_of_a_file_are_in_its_order() {
    let error = load(&with_descriptor(
        "{key: a, value: [b], shadow_mode: maybe, rate_limit: {unit: fortnight}}\n  - {limits: [{limit: 0, pediod: 1m}], shadow: true}",
    ))
    .unwrap_err();
    let places: Vec<_> = error.lines().skip(1).map(|line| line.split(": ").next().unwrap().trim()).collect();
    assert_eq!(
        places,
        [
            "rules.yaml:3:21",
            "rules.yaml:3:39",
            "rules.yaml:3:65",
            "rules.yaml:4:5",
            "rules.yaml:4:15",
            "rules.yaml:4:23",
            "rules.yaml:4:26",
            "rules.yaml:4:40"
        ],
        "{error}"
    );
}

#[test]
fn so_many_mistakes_are_told_and_the_rest_are_counted() {
    let text = format!("domain: shop\ndescriptors:\n{}", "  - {kez: a}\n".repeat(200));
    let error = RuleSet::load(&[RuleFile::new("rules.yaml", text)]).unwrap_err();
    assert_eq!(error.0.len(), MISTAKES_MAX + 1);
    assert_eq!(error.0[MISTAKES_MAX].to_string(), "rules.yaml: there are 300 more mistakes");
}

#[test]
fn there_are_so_many_files_at_most() {
    let files: Vec<_> =
        (0..1001).map(|n| RuleFile::new(format!("{n}.yaml"), format!("domain: d{n}"))).collect();
    assert_eq!(RuleSet::load(&files[..1000]).unwrap().domains().count(), 1000);
    assert!(RuleSet::load(&files).unwrap_err().to_string().contains("there are more than 1000 files"));
}

/// A log or a terminal that shows them stays in order.
#[test]
fn what_is_told_is_short_and_plain() {
    let long = "x".repeat(100_000);
    for file in [
        format!("{long}: 1"),
        format!("{{{long}: 1, {long}: 2}}"),
        "\"\\e[31m\\n\": 1".to_owned(),
        "{\"\\e\\n\": 1, \"\\e\\n\": 2}".to_owned(),
        format!(
            "domain: d\ndescriptors: [{{key: {long}}}, {{key: {long}}}, {{key: \"\\e\"}}, {{key: \"\\e\"}}]"
        ),
        with_limit(&format!("{{name: {long}, limit: {long}, period: {long}, algorithm: {long}}}")),
        with_limit(&format!(
            "{{name: {long}, limit: 1, algorithm: quota, period: {long}, time_zone: \"{long}\\e\"}}"
        )),
        with_limit(&format!(
            "{{name: {long}, limit: 1, period: 1s}}\n      - {{name: {long}, limit: 1, period: 1s}}"
        )),
        with_limit(&format!("{{limit: 1, period: 1s, on_error: {long}, replaces: [{{name: {long}}}]}}")),
        with_descriptor(&format!("{{key: a, shadow_mode: {long}, rate_limit: {{unit: {long}}}}}")),
    ] {
        let errors = RuleSet::load(&[RuleFile::new("rules.yaml", file)]).unwrap_err();
        for error in errors.0 {
            let told: String = error.reason.chars().take(500).collect();
            assert!(told.len() < 400 && !told.contains(char::is_control), "{told}");
        }
    }
}
