//! Reading values out of Prometheus's text format.

/// Sums the samples that `selector` matches: a metric's name, optionally with labels that must be among
/// the sample's, as in `requests_total{code="ok",method="Get"}`.
pub fn sum_samples(text: &str, selector: &str) -> f64 {
    let (name, wanted) = split(selector);
    let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    let matching = samples.filter(|(series, _)| {
        let (series_name, labels) = split(series);
        series_name == name && wanted.iter().all(|label| labels.contains(label))
    });
    matching.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
}

/// Labels split at commas: the house's label values are bounded words without any.
fn split(series: &str) -> (&str, Vec<&str>) {
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}').split(',').map(str::trim);
    (name, labels.filter(|label| !label.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::sum_samples;

    const TEXT: &str = "# TYPE calls_total counter\n\
        calls_total{code=\"ok\",method=\"Get\"} 3\n\
        calls_total{code=\"ok\",method=\"Create\"} 4\n\
        calls_total{code=\"internal\",method=\"Get\"} 1\n\
        calls_total_by_day 100\n\
        idle 2.5\n";

    fn assert_sum(selector: &str, expected: f64) {
        assert!(
            (sum_samples(TEXT, selector) - expected).abs() < f64::EPSILON,
            "{selector}: {}",
            sum_samples(TEXT, selector)
        );
    }

    #[test]
    fn sums_what_the_selector_matches() {
        assert_sum("calls_total", 8.0);
        assert_sum("calls_total{code=\"ok\"}", 7.0);
        assert_sum("calls_total{method=\"Get\",code=\"ok\"}", 3.0);
        assert_sum("idle", 2.5);
        assert_sum("calls", 0.0);
    }
}
