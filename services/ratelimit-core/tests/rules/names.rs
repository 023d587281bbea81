//! Each rule has a name of its own.

use std::collections::HashSet;

use crate::{domain, load, shop, with_descriptor};

fn names(text: &str) -> Vec<String> {
    let rules = shop(text);
    let names: Vec<_> = domain(&rules).rules().iter().map(|rule| rule.name.to_string()).collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
    names
}

#[test]
fn a_given_name_is_kept_and_a_repeated_one_says_where() {
    let rate_limit = |name| format!("rate_limit: {{name: {name}, unit: second, requests_per_unit: 1}}");
    let text = format!(
        "domain: shop\ndescriptors:\n  - {{key: a, {}}}\n  - {{key: b, {}}}\n  - {{key: b, value: c, {}}}\n",
        rate_limit("one"),
        rate_limit("two"),
        rate_limit("two")
    );
    assert_eq!(names(&text), ["one", "two@b", "two@b=c"]);
    let given: Vec<_> = domain(&shop(&text))
        .rules()
        .iter()
        .map(|rule| rule.given_name.as_deref().unwrap().to_owned())
        .collect();
    assert_eq!(given, ["one", "two", "two"]);
}

#[test]
fn a_place_is_a_name_and_gives_way_to_given_ones() {
    let text = "domain: shop\ndescriptors:\n  - {key: a, limits: [{limit: 1, period: 1s}, {limit: 2, period: 1s}]}\n  \
                - {key: b, limits: [{name: a, limit: 1, period: 1s}, {name: '', limit: 1, period: 1s}]}\n";
    assert_eq!(names(text), ["a#2", "a#3", "a", "b"]);
}

#[test]
fn places_that_read_alike_are_numbered() {
    let limit = "limits: [{limit: 1, period: 1s}]";
    let text = format!(
        "domain: shop\ndescriptors:\n  - {{key: a, descriptors: [{{key: b, {limit}}}]}}\n  - {{key: a/b, {limit}}}\n"
    );
    assert_eq!(names(&text), ["a/b", "a/b#2"]);
}

#[test]
fn names_stay_short() {
    let value = "v".repeat(1000);
    let limit = "limits: [{limit: 1, period: 1s}, {limit: 1, period: 1s}]";
    let text = format!(
        "domain: shop\ndescriptors:\n  - {{key: a, value: {value}x, {limit}}}\n  - {{key: a, value: {value}y, {limit}}}\n"
    );
    let names = names(&text);
    assert!(names.iter().all(|name| name.starts_with("a=vvv") && name.len() <= 256), "{names:?}");
}

#[test]
fn an_entry_of_limits_has_its_name_alone() {
    let entry = "limits: [{name: a, limit: 1, period: 1s}]";
    let rate_limit = "rate_limit: {name: a, unit: second, requests_per_unit: 1}";
    for (first, second) in [(entry, entry), (entry, rate_limit), (rate_limit, entry)] {
        let error =
            load(&with_descriptor(&format!("{{key: a, {first}}}\n  - {{key: b, {second}}}"))).unwrap_err();
        assert!(
            error.contains("rules.yaml:4:") && error.contains("the name \"a\" is taken at 3:"),
            "{error}"
        );
    }
}
