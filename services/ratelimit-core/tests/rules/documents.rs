//! What is shipped and shown is valid, and what is said about it is so.

use std::{fs, path::PathBuf};

use ratelimit_core::rules::{RuleFile, RuleSet, parse_descriptors};

use crate::{limit, load};

fn path(of: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(of)
}

fn read(of: &str) -> String {
    fs::read_to_string(path(of)).unwrap()
}

/// The contents of a page's blocks of that language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    page.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn examples() -> RuleSet {
    let folder = fs::read_dir(path("services/ratelimit/rules/examples")).unwrap();
    let paths = folder.map(|entry| entry.unwrap().path());
    let files: Vec<_> =
        paths.map(|path| RuleFile::new(path.display().to_string(), fs::read(path).unwrap())).collect();
    RuleSet::load(&files).unwrap()
}

#[test]
fn the_page_shows_rules_that_load() {
    let blocks = blocks(&read("docs/rules.md"), "yaml");
    assert!(blocks.len() > 3);
    for block in blocks {
        let rules = load(&block).unwrap_or_else(|error| panic!("{error}\n{block}"));
        assert!(rules.warnings().is_empty(), "{:?}", rules.warnings());
    }
}

#[test]
fn the_page_shows_what_is_explained() {
    let mut shown = 0;
    for block in blocks(&read("docs/rules.md"), "console") {
        for session in block.split("$ ratelimit explain ").skip(1) {
            let (command, output) = session.split_once('\n').unwrap();
            let (file, descriptors) = command.split_once(' ').unwrap();
            let rules = load(&read(&format!("services/ratelimit/rules/examples/{file}"))).unwrap();
            let (_, domain) = rules.domains().next().unwrap();
            let explained = domain.explain(&parse_descriptors(descriptors.trim_matches('\'')).unwrap());
            assert_eq!(explained.to_string(), output.trim_end(), "{file}");
            shown += 1;
        }
    }
    assert!(shown > 0);
}

#[test]
fn the_examples_go_together_without_a_warning() {
    let rules = examples();
    assert!(rules.domains().count() > 5);
    assert!(rules.warnings().is_empty(), "{:?}", rules.warnings());
    assert!(rules.domains().all(|(_, domain)| !domain.rules().is_empty()));
}

/// The limits that hold for a request, by the example's domain.
fn limits(domain: &str, descriptors: &str) -> Vec<(String, u64)> {
    let rules = examples();
    let descriptors = parse_descriptors(descriptors).unwrap();
    let pairs = descriptors.iter().map(|it| it.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let matches = rules.domain(domain).unwrap().matching_all(pairs);
    matches.rules().map(|it| (it.rule.name.to_string(), limit(it.rule))).collect()
}

fn named(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(name, limit)| ((*name).to_owned(), *limit)).collect()
}

#[test]
fn the_examples_limit_what_they_say() {
    for (domain, request, expected) in [
        (
            "api",
            "tier=premium,api_key=k;tier=premium,address=a",
            &[("premium_key", 50), ("premium_address", 50)][..],
        ),
        ("api", "tier=free,api_key=k;tier=free,address=a", &[("free_key", 10), ("free_address", 10)]),
        (
            "login",
            "account=ann;address=a;address=a,account=ann",
            &[("account", 20), ("address", 50), ("address_burst", 60), ("account_from_address", 5)],
        ),
        (
            "reports",
            "zone=europe,account=7",
            &[("europe_daily", 1000), ("europe_monthly", 20_000), ("europe_rate", 60)],
        ),
        ("reports", "zone=asia,account=7", &[("daily", 1000), ("monthly", 20_000), ("rate", 60)]),
        ("exports", "account=7;all=", &[("account_exports", 2), ("all_exports", 10)]),
        ("uploads", "account=7", &[("bandwidth", 10_240), ("monthly_volume", 1 << 30)]),
        ("search", "backend=main", &[("backend", 1_000_000)]),
        ("edge", "path=/,remote_address=a;remote_address=a", &[("per_client", 50)]),
        ("edge", "remote_address=198.51.100.7", &[("remote_address=198.51.100.7", 0)]),
        (
            "edge",
            "path=/api/login,remote_address=a;remote_address=a",
            &[("path=/api/login/remote_address", 5), ("per_client", 50)],
        ),
        (
            "edge",
            "path=/api/upload/x,remote_address=a;remote_address=a",
            &[("path=/api/upload/*/remote_address", 200)],
        ),
        (
            "edge",
            "path=/healthz,remote_address=a;remote_address=a",
            &[("path=/healthz/remote_address", u64::MAX)],
        ),
    ] {
        assert_eq!(limits(domain, request), named(expected), "{request}");
    }
}

#[test]
fn what_is_built_in_limits_writes_by_sliding_window() {
    let rules = load(&read("services/ratelimit/rules/snippets.yaml")).unwrap();
    let all = rules.domain("snippets").unwrap().rules();
    let shown: Vec<_> = all.iter().map(|rule| format!("{}: {}", rule.name, rule.policy)).collect();
    let writes: Vec<_> = shown.iter().filter(|rule| rule.starts_with("writes")).collect();
    assert_eq!(
        writes,
        [
            "writes_premium: sliding_window, 300 per 1m",
            "writes_anonymous: sliding_window, 60 per 1m",
            "writes: sliding_window, 60 per 1m"
        ]
    );
    assert_eq!(shown.len(), 9, "{shown:?}");
}
