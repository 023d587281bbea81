//! The dashboard, the alerts and their documentation say what the services' metrics say.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

#[path = "monitoring/metrics.rs"]
mod metrics;
#[path = "monitoring/promql.rs"]
mod promql;
#[path = "monitoring/scene.rs"]
mod scene;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use e2e::PATIENCE;
use metrics::Metrics;
use scene::Scene;
use serde_json::Value;
use stack::{Prometheus, Sample, eventually, http_get, promtool};

/// What Grafana puts in place of its variables, such that everything is shown.
const VARIABLES: [(&str, &str); 3] = [("$__rate_interval", "1m"), ("$domain", ".*"), ("$rule", ".*")];

fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(below)
}

fn read(below: &str) -> String {
    fs::read_to_string(path(below)).unwrap_or_else(|error| panic!("{below}: {error}"))
}

#[tokio::test]
async fn the_alerts_are_valid_and_fire_when_they_should() {
    // The configuration's check is that of the rules that it names, too.
    for (verb, what, file) in [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")] {
        let file = path("deploy/prometheus").join(file);
        promtool([verb.as_ref(), what.as_ref(), file.as_os_str()]).await.unwrap();
    }
}

#[tokio::test]
async fn dashboard_alerts_and_documentation_match_the_metrics() {
    let scene = Scene::play().await;
    let rules = rules(&scene.prometheus).await;
    every_query_of_the_dashboard_shows_something(&scene.prometheus).await;
    every_rule_finds_its_metrics(&scene.prometheus, &rules).await;
    every_alert_is_tested_and_documented(&rules);
    let exposed = metrics::exposed(&scene.limiter.metrics().await.unwrap());
    assert_nothing_is_missing(&exposed);
    assert_documented(&exposed);
}

async fn every_query_of_the_dashboard_shows_something(prometheus: &Prometheus) {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/ratelimit.json")).unwrap();
    let queries: Vec<_> = targets(&dashboard).chain(variables(&dashboard)).collect();
    assert!(queries.len() > 20, "not all found: {queries:?}");
    for (query, legend) in queries {
        let query = VARIABLES.iter().fold(query, |query, (name, value)| query.replace(name, value));
        assert!(!query.contains('$'), "a variable that is not known here: {query}");
        let found = assert_found(prometheus, &query).await;
        for label in legend.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0)) {
            let is_labelled = found.iter().all(|sample| sample.series.contains(&format!("{label}=\"")));
            assert!(is_labelled, "no {label}: {query}: {found:?}");
        }
        for selector in promql::selectors(&query) {
            assert_found(prometheus, selector).await;
        }
    }
}

/// The queries of all panels, with their legends.
fn targets(dashboard: &Value) -> impl Iterator<Item = (String, &str)> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| (text(target, "expr").to_owned(), text(target, "legendFormat")))
}

/// What the variables list the values of, `label_values(SELECTOR, LABEL)`: series with that label.
fn variables(dashboard: &Value) -> impl Iterator<Item = (String, &str)> {
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    variables.filter(|variable| variable["type"] == "query").map(|variable| {
        let arguments = text(variable, "query").strip_prefix("label_values(");
        let (selector, label) = arguments.unwrap().trim_end_matches(')').rsplit_once(", ").unwrap();
        let (metric, matchers) = selector.trim_end_matches('}').split_once('{').unwrap_or((selector, ""));
        (format!("{metric}{{{label}!=\"\", {matchers}}}"), "")
    })
}

/// Samples may come a little later: a rate takes two of them.
async fn assert_found(prometheus: &Prometheus, query: &str) -> Vec<Sample> {
    let found = eventually(PATIENCE, async || {
        let found = prometheus.query(query).await?;
        if found.is_empty() { Err(anyhow!("nothing was found")) } else { Ok(found) }
    });
    found.await.unwrap_or_else(|error| panic!("{query}: {error:#}"))
}

/// All rules, as Prometheus has loaded them.
async fn rules(prometheus: &Prometheus) -> Vec<Value> {
    let addr = prometheus.url().trim_start_matches("http://").parse().unwrap();
    let answer = http_get(addr, "/api/v1/rules").await.unwrap();
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let groups = answer["data"]["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

async fn every_rule_finds_its_metrics(prometheus: &Prometheus, rules: &[Value]) {
    let recorded: Vec<_> = of_type(rules, "recording").map(|rule| text(rule, "name")).collect();
    for rule in rules {
        let query = text(rule, "query");
        prometheus.query(query).await.unwrap();
        for selector in promql::selectors(query) {
            if selector.contains(':') {
                // What is recorded may be there much later, as some of it is about the past.
                assert!(recorded.contains(&selector), "{selector} is not recorded: {query}");
            } else {
                assert_found(prometheus, selector).await;
            }
        }
    }
}

fn every_alert_is_tested_and_documented(rules: &[Value]) {
    let (tests, page) = (read("deploy/prometheus/alerts_test.yml"), read("docs/monitoring.md"));
    let mut alerts: Vec<_> = of_type(rules, "alerting").map(|rule| text(rule, "name")).collect();
    for rule in of_type(rules, "alerting") {
        let (name, annotations) = (text(rule, "name"), &rule["annotations"]);
        assert!(tests.contains(&format!("alertname=\"{name}\", severity=")), "{name} fires in no test");
        assert_eq!(text(annotations, "runbook"), format!("docs/monitoring.md#{}", name.to_lowercase()));
        assert!(!text(annotations, "summary").is_empty() && !text(annotations, "description").is_empty());
        assert!(["critical", "warning"].contains(&text(&rule["labels"], "severity")), "{rule}");
    }
    let mut documented: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    alerts.sort_unstable();
    documented.sort_unstable();
    assert_eq!(documented, alerts, "the headings of docs/monitoring.md, and the alerts");
}

fn of_type<'a>(rules: &'a [Value], of_type: &str) -> impl Iterator<Item = &'a Value> {
    rules.iter().filter(move |rule| rule["type"] == of_type)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field}: {value}"))
}

/// All metrics that are named in the limiter's code have shown; of one that has not, nothing here would be known.
fn assert_nothing_is_missing(exposed: &Metrics) {
    for name in metrics::named_in(&path("services/ratelimit/src")) {
        assert!(exposed.contains_key(&name), "{name} has not shown");
    }
}

/// The page's tables name all metrics of the limiter's own, and of the others some, with their types and labels.
fn assert_documented(exposed: &Metrics) {
    let page = read("docs/monitoring.md");
    let documented: Metrics = metrics::documented(&page);
    let mut expected = exposed.clone();
    expected.retain(|name, _| name.starts_with("ratelimit_") || documented.contains_key(name));
    assert_eq!(documented, expected, "docs/monitoring.md, and /metrics");
}
