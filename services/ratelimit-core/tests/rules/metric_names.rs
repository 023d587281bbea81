//! The names that envoyproxy/ratelimit would meter under. The expectations are those of its documentation and code.

use crate::{domain, shop};

const TREE: &str = r"
domain: shop
descriptors:
  - key: plain
    rate_limit: {unit: second, requests_per_unit: 1}
  - key: detailed
    detailed_metric: true
    rate_limit: {unit: second, requests_per_unit: 1}
  - key: detailed
    value: one
    rate_limit: {unit: second, requests_per_unit: 1}
  - key: route
    value_to_metric: true
    descriptors:
      - key: method
        value_to_metric: true
        descriptors:
          - key: subject
            rate_limit: {unit: second, requests_per_unit: 1}
          - key: fixed
            value: f
            rate_limit: {unit: second, requests_per_unit: 1}
          - key: all
            detailed_metric: true
            rate_limit: {unit: second, requests_per_unit: 1}
  - key: wild
    value: foo*
    descriptors:
      - key: other
        value_to_metric: true
        descriptors:
          - key: limit
            rate_limit: {unit: second, requests_per_unit: 1}
  - key: action
    value: read*
    value_to_metric: true
    rate_limit: {unit: second, requests_per_unit: 1}
  - key: shared
    value: api/*
    share_threshold: true
    value_to_metric: true
    descriptors:
      - key: method
        rate_limit: {unit: second, requests_per_unit: 1}
      - key: endpoint
        detailed_metric: true
        rate_limit: {unit: second, requests_per_unit: 1}
";

/// Entries of a descriptor, and the name.
type Expected<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>);

#[test]
fn values_are_part_of_the_name_where_the_file_says_so() {
    let expected: [Expected<'_>; 12] = [
        (&[("plain", "x")], None),
        (&[("detailed", "x")], Some("shop.detailed_x")),
        (&[("detailed", "")], Some("shop.detailed_")),
        (&[("detailed", "one")], None),
        (&[("route", "api"), ("method", "GET"), ("subject", "1")], Some("shop.route_api.method_GET.subject")),
        (&[("route", ""), ("method", "GET"), ("subject", "1")], Some("shop.route.method_GET.subject")),
        (&[("route", "api"), ("method", "GET"), ("fixed", "f")], Some("shop.route_api.method_GET.fixed_f")),
        (&[("route", "api"), ("method", "GET"), ("all", "1")], Some("shop.route_api.method_GET.all_1")),
        (&[("wild", "foo1"), ("other", "bar"), ("limit", "x")], Some("shop.wild_foo*.other_bar.limit")),
        (&[("action", "readfile")], Some("shop.action_readfile")),
        (&[("shared", "api/v1"), ("method", "GET")], Some("shop.shared_api/*.method")),
        (&[("shared", "api/v1"), ("endpoint", "get")], Some("shop.shared_api/*.endpoint_get")),
    ];
    let rules = shop(TREE);
    for (entries, name) in expected {
        let place = domain(&rules).matching(entries.iter().copied()).unwrap();
        assert_eq!(place.metric_name(entries.iter().copied()).as_deref(), name, "{entries:?}");
    }
}
