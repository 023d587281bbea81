//! Limits that give way to others.

use ratelimit_core::rules::RuleSet;

use crate::{domain, load, shop, with_descriptor};

const TREE: &str = r"
domain: shop
descriptors:
  - key: user
    rate_limit: {name: per_user, unit: second, requests_per_unit: 5}
  - key: group
    rate_limit: {name: per_user, unit: second, requests_per_unit: 6}
  - key: path
    value: /bulk
    rate_limit: {name: bulk, unit: second, requests_per_unit: 10, replaces: [{name: per_user}]}
  - key: path
    value: /free
    rate_limit: {unlimited: true, replaces: [{name: per_user}, {name: bulk}]}
  - key: path
    value: /own
    limits:
      - {name: own, limit: 1, period: 1s, replaces: [{name: per_user}]}
      - {name: own_too, limit: 2, period: 1s}
";

fn in_force(rules: &RuleSet, descriptors: &[&[(&str, &str)]]) -> Vec<(usize, String)> {
    let matches = domain(rules).matching_all(descriptors.iter().map(|entries| entries.iter().copied()));
    matches.rules().map(|matched| (matched.descriptor_index, matched.rule.name.to_string())).collect()
}

#[test]
fn a_limit_replaces_those_of_a_name_within_the_request() {
    let rules = shop(TREE);
    let (user, group, path) = (("user", "ann"), ("group", "g"), ("path", "/bulk"));
    assert_eq!(
        in_force(&rules, &[&[user], &[group]]),
        [(0, "per_user@user".into()), (1, "per_user@group".into())]
    );
    assert_eq!(in_force(&rules, &[&[user], &[path], &[group]]), [(1, "bulk".into())]);
    assert_eq!(in_force(&rules, &[&[path]]), [(0, "bulk".into())]);
}

/// As in envoyproxy/ratelimit.
#[test]
fn what_is_unlimited_is_not_replaced() {
    let rules = shop(
        "domain: shop\ndescriptors:\n  - {key: a, rate_limit: {name: a, unlimited: true}}\n  \
         - {key: b, rate_limit: {name: b, unit: day, replaces: [{name: a}]}}\n",
    );
    let request: [&[_]; 2] = [&[("a", "x")], &[("b", "x")]];
    assert_eq!(in_force(&rules, &request), [(0, "a".into()), (1, "b".into())]);
}

/// As in envoyproxy/ratelimit.
#[test]
fn what_is_replaced_still_replaces_and_what_is_unlimited_does() {
    let rules = shop(TREE);
    let all: [&[_]; 3] = [&[("path", "/free")], &[("path", "/bulk")], &[("user", "ann")]];
    assert_eq!(in_force(&rules, &all), [(0, "path=/free".into())]);
}

#[test]
fn an_entry_of_limits_replaces_too() {
    let rules = shop(TREE);
    let request: [&[_]; 2] = [&[("user", "ann")], &[("path", "/own")]];
    assert_eq!(in_force(&rules, &request), [(1, "own".into()), (1, "own_too".into())]);
}

#[test]
fn descriptors_that_lead_nowhere_keep_their_place() {
    let rules = shop(TREE);
    let request: [&[_]; 3] = [&[("nothing", "x")], &[], &[("user", "ann")]];
    assert_eq!(in_force(&rules, &request), [(2, "per_user@user".into())]);
    let matches = domain(&rules).matching_all(request.iter().map(|entries| entries.iter().copied()));
    assert!(matches.place(0).is_none() && matches.place(2).is_some() && matches.place(3).is_none());
}

#[test]
fn a_limit_replaces_what_there_is_and_not_itself() {
    let rate_limit = |replaces| {
        with_descriptor(&format!(
            "{{key: a, rate_limit: {{name: a, unit: second, requests_per_unit: 1, replaces: [{replaces}]}}}}"
        ))
    };
    for (replaces, reason) in [
        ("{name: a}", "3:90: a limit can't replace itself"),
        ("{name: }", "an entry of replaces needs a `name`"),
        ("{name: ''}", "name must have 1 to 256 bytes"),
        ("a", "an entry of `replaces` is a mapping of fields, not \"a\""),
    ] {
        let error = load(&rate_limit(replaces)).unwrap_err();
        assert!(error.contains(reason), "{replaces}: {error}");
    }
    // Files of envoyproxy/ratelimit may have it so.
    let warned = load(&rate_limit("{name: b}")).unwrap();
    assert!(warned.warnings()[0].reason.contains("no limit of this domain has the name \"b\""));
    let entry = with_descriptor("{key: a, limits: [{limit: 1, period: 1s, replaces: [{name: b}]}]}");
    assert!(load(&entry).unwrap_err().contains("no limit of this domain has the name \"b\""));
}
