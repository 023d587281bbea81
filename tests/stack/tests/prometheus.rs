//! A Prometheus with a rule.

use std::fs;
use std::time::Duration;

use stack::{Prometheus, promtool, until};
use tokio::net::TcpStream;

const WITHIN: Duration = Duration::from_secs(30);

const CONFIGURATION: &str = "global: {evaluation_interval: 1s}\nrule_files: [answers.yml]\n";

const RULES: &str = "groups: [{name: answers, rules: [{record: the_answer, expr: vector(42)}]}]\n";

#[tokio::test]
async fn prometheus_evaluates_rules_answers_queries_and_ends() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let rules = dir.path().join("answers.yml");
    fs::write(&rules, RULES)?;
    let prometheus = Prometheus::start(CONFIGURATION, &[&rules]).await?;
    let [one] = &prometheus.query("vector(6) * 7").await?[..] else { panic!("one sample") };
    assert_eq!((one.series.as_str(), one.value.to_string().as_str()), ("{}", "42"));
    assert!(prometheus.query("no_such_metric").await?.is_empty());
    assert!(prometheus.query("no query").await.is_err());

    until("the rule is evaluated", WITHIN, async || {
        prometheus.query("the_answer == 42").await.is_ok_and(|recorded| recorded.len() == 1)
    })
    .await?;

    let addr = prometheus.url().trim_start_matches("http://").to_owned();
    drop(prometheus);
    assert!(TcpStream::connect(addr).await.is_err(), "a dropped Prometheus listens");
    Ok(())
}

#[tokio::test]
async fn a_configuration_that_prometheus_refuses_is_shown() {
    let error = Prometheus::start("no_such_thing: 1", &[]).await.unwrap_err();
    assert!(error.to_string().contains("no_such_thing"), "{error}");
}

#[tokio::test]
async fn promtool_checks_rules() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let rules = dir.path().join("rules.yml");
    let check = async || promtool(["check", "rules", &rules.display().to_string()]).await;
    fs::write(&rules, RULES)?;
    assert!(check().await?.contains("1 rules found"));
    fs::write(&rules, RULES.replace("vector(42)", "vector("))?;
    let error = check().await.unwrap_err().to_string();
    assert!(error.contains("could not parse expression"), "{error}");
    Ok(())
}
