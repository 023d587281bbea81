//! The dashboards, the alerts and their documentation say what the services' metrics say.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

#[path = "monitoring/dashboard.rs"]
mod dashboard;
#[path = "monitoring/limiter.rs"]
mod limiter;
#[path = "monitoring/metrics.rs"]
mod metrics;
#[path = "monitoring/promql.rs"]
mod promql;
#[path = "monitoring/publisher.rs"]
mod publisher;
#[path = "monitoring/views.rs"]
mod views;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use e2e::PATIENCE;
use metrics::Metrics;
use serde_json::Value;
use stack::{Prometheus, Sample, Service, eventually, http_get, promtool};

/// What is watched by a dashboard and groups of alerts of its own.
struct Part {
    dashboard: &'static str,
    /// What the names of its groups of rules begin with.
    groups: &'static str,
    /// The sections of docs/monitoring.md with the tables of its metrics.
    tables: &'static [&'static str],
    /// What the names of its own metrics begin with.
    prefixes: &'static [&'static str],
    /// Where they are named.
    code: &'static [&'static str],
}

const LIMITER: Part = Part {
    dashboard: "ratelimit.json",
    groups: "ratelimit",
    tables: &["Metrics of the rate limiter", "Metrics of every service"],
    prefixes: &["ratelimit_"],
    code: &["services/ratelimit/src"],
};

const VIEWS: Part = Part {
    dashboard: "views.json",
    groups: "views",
    tables: &["Metrics of views", "Metrics of Postgres", "Metrics of every service"],
    prefixes: &["broker_", "counter_worker_", "database_", "snippets_view", "snippets_read_replica"],
    code: &[
        "services/broker/src",
        "services/counter-worker/src",
        "services/database/src/postgres",
        "services/snippets/src",
    ],
};

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
async fn every_alert_is_tested_and_documented() {
    let prometheus = prometheus(&[]).await;
    let (tests, page) = (read("deploy/prometheus/alerts_test.yml"), read("docs/monitoring.md"));
    let (contents, _) = page.split_once("\n## ").unwrap();
    let rules = rules(&prometheus, "").await;
    let mut alerts: Vec<_> = of_type(&rules, "alerting").map(|rule| text(rule, "name")).collect();
    for rule in of_type(&rules, "alerting") {
        let (name, annotations) = (text(rule, "name"), &rule["annotations"]);
        let anchor = format!("#{}", name.to_lowercase());
        assert!(tests.contains(&format!("alertname=\"{name}\", severity=")), "{name} fires in no test");
        assert_eq!(text(annotations, "runbook"), format!("docs/monitoring.md{anchor}"));
        assert!(contents.contains(&format!("]({anchor})")), "{name} is not in the table of contents");
        assert!(!text(annotations, "summary").is_empty() && !text(annotations, "description").is_empty());
        assert!(["critical", "warning"].contains(&text(&rule["labels"], "severity")), "{rule}");
    }
    let mut documented: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    alerts.sort_unstable();
    documented.sort_unstable();
    assert_eq!(documented, alerts, "the headings of docs/monitoring.md, and the alerts");
}

#[tokio::test]
async fn what_watches_the_limiter_matches_its_metrics() {
    let scene = limiter::Scene::play().await;
    assert_matches(&LIMITER, &scene.prometheus, &metrics::exposed(&scene.limiter.metrics().await.unwrap()))
        .await;
}

#[tokio::test]
async fn what_watches_the_views_matches_their_metrics() {
    let scene = views::Scene::play().await;
    assert_matches(&VIEWS, &scene.prometheus, &scene.exposed().await).await;
}

/// The dashboard, the rules and the documentation of a part to which all has happened that it has metrics for.
async fn assert_matches(part: &Part, prometheus: &Prometheus, exposed: &Metrics) {
    every_query_of_the_dashboard_shows_something(part, prometheus).await;
    every_rule_finds_its_metrics(part, prometheus).await;
    assert_nothing_is_missing(part, exposed);
    assert_documented(part, exposed);
}

async fn every_query_of_the_dashboard_shows_something(part: &Part, prometheus: &Prometheus) {
    let dashboard = read(&format!("deploy/grafana/{}", part.dashboard));
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let queries = dashboard::queries(&dashboard);
    assert!(queries.len() > 20, "not all found: {queries:?}");
    for query in queries {
        let found = assert_found(prometheus, &query.expression).await;
        for label in query.labels() {
            let is_labelled = found.iter().all(|sample| sample.series.contains(&format!("{label}=\"")));
            assert!(is_labelled, "no {label}: {query:?}: {found:?}");
        }
        for selector in promql::selectors(&query.expression) {
            assert_found(prometheus, selector).await;
        }
    }
}

/// Samples may come a little later: a rate takes two of them.
async fn assert_found(prometheus: &Prometheus, query: &str) -> Vec<Sample> {
    let found = eventually(PATIENCE, async || {
        let found = prometheus.query(query).await?;
        if found.is_empty() { Err(anyhow!("nothing was found")) } else { Ok(found) }
    });
    found.await.unwrap_or_else(|error| panic!("{query}: {error:#}"))
}

async fn every_rule_finds_its_metrics(part: &Part, prometheus: &Prometheus) {
    let rules = rules(prometheus, part.groups).await;
    assert!(rules.len() > 5, "not all found: {rules:?}");
    let recorded: Vec<_> = of_type(&rules, "recording").map(|rule| text(rule, "name")).collect();
    for rule in &rules {
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

/// All metrics that are named in the part's code have shown; of one that has not, nothing here would be known.
fn assert_nothing_is_missing(part: &Part, exposed: &Metrics) {
    for name in part.code.iter().flat_map(|code| metrics::named_in(&path(code), part.prefixes)) {
        assert!(exposed.contains_key(&name), "{name} has not shown");
    }
}

/// The page's tables name all metrics of the part's own, and of the others some, with their types and labels.
fn assert_documented(part: &Part, exposed: &Metrics) {
    let page = read("docs/monitoring.md");
    let documented: Metrics =
        part.tables.iter().flat_map(|title| metrics::documented(&page, title)).collect();
    let is_own = |name: &str| part.prefixes.iter().any(|prefix| name.starts_with(prefix));
    let mut expected = exposed.clone();
    expected.retain(|name, _| is_own(name) || documented.contains_key(name));
    assert_eq!(documented, expected, "docs/monitoring.md, and /metrics");
}

/// It reads services under the names of their jobs in deploy/prometheus, and has the same alerts.
async fn prometheus(jobs: &[(&str, &Service)]) -> Prometheus {
    let job = |(name, service): &(&str, &Service)| {
        format!("  - {{job_name: {name}, static_configs: [{{targets: ['{}']}}]}}\n", service.admin_addr())
    };
    let configuration = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nrule_files: [alerts.yml]\nscrape_configs:\n{}",
        jobs.iter().map(job).collect::<String>()
    );
    Prometheus::start(&configuration, &[&path("deploy/prometheus/alerts.yml")]).await.unwrap()
}

/// All rules of some groups, as Prometheus has loaded them.
async fn rules(prometheus: &Prometheus, groups_prefix: &str) -> Vec<Value> {
    let addr = prometheus.url().trim_start_matches("http://").parse().unwrap();
    let answer = http_get(addr, "/api/v1/rules").await.unwrap();
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let groups = answer["data"]["groups"].as_array().unwrap().iter();
    let groups = groups.filter(|group| text(group, "name").starts_with(groups_prefix));
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn of_type<'a>(rules: &'a [Value], of_type: &str) -> impl Iterator<Item = &'a Value> {
    rules.iter().filter(move |rule| rule["type"] == of_type)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field}: {value}"))
}
