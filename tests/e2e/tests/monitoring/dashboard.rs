//! What a dashboard asks Prometheus.

use serde_json::Value;

use crate::text;

/// What Grafana puts in place of its variables, such that everything is shown.
const VARIABLES: [(&str, &str); 3] = [("$__rate_interval", "1m"), ("$domain", ".*"), ("$rule", ".*")];

/// A query, and what its series are called.
#[derive(Debug)]
pub struct Query<'a> {
    pub expression: String,
    legend: &'a str,
}

impl<'a> Query<'a> {
    fn new(expression: &str, legend: &'a str) -> Self {
        let put = |query: String, (name, value): &(&str, &str)| query.replace(name, value);
        let expression = VARIABLES.iter().fold(expression.to_owned(), put);
        assert!(!expression.contains('$'), "a variable that is not known here: {expression}");
        Self { expression, legend }
    }

    /// The labels that its series need for their names.
    pub fn labels(&self) -> impl Iterator<Item = &'a str> {
        self.legend.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0))
    }
}

/// All queries of a dashboard.
pub fn queries(dashboard: &Value) -> Vec<Query<'_>> {
    targets(dashboard).chain(variables(dashboard)).collect()
}

/// The queries of all panels, with their legends.
fn targets(dashboard: &Value) -> impl Iterator<Item = Query<'_>> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| Query::new(text(target, "expr"), text(target, "legendFormat")))
}

/// What the variables list the values of, `label_values(SELECTOR, LABEL)`: series with that label.
fn variables(dashboard: &Value) -> impl Iterator<Item = Query<'_>> {
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    variables.filter(|variable| variable["type"] == "query").map(|variable| {
        let arguments = text(variable, "query").strip_prefix("label_values(");
        let (selector, label) = arguments.unwrap().trim_end_matches(')').rsplit_once(", ").unwrap();
        let (metric, matchers) = selector.trim_end_matches('}').split_once('{').unwrap_or((selector, ""));
        Query::new(&format!("{metric}{{{label}!=\"\", {matchers}}}"), "")
    })
}
