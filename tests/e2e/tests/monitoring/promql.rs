//! As much of PromQL as to find what an expression asks for.

/// Words with a list of labels after them.
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

/// The metrics in an expression, each with its matchers, in which there are no braces.
pub fn selectors(expression: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|char: char| is_of_word(char) || char == '[') {
        rest = &rest[start..];
        let (word, after) = rest.split_at(rest.find(|char| !is_of_word(char)).unwrap_or(rest.len()));
        rest = if word.is_empty() {
            beyond(rest, ']')
        } else if GROUPINGS.contains(&word) {
            beyond(after, ')')
        } else if !is_metric(word, after) {
            after
        } else {
            let after = if after.starts_with('{') { beyond(after, '}') } else { after };
            found.push(&rest[..rest.len() - after.len()]);
            after
        };
    }
    found
}

fn is_of_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_' || char == ':'
}

/// And no number, operator or function, which has its arguments or its grouping next.
fn is_metric(word: &str, after: &str) -> bool {
    let after = after.trim_start();
    let is_function = ["(", "by ", "without "].iter().any(|next| after.starts_with(next));
    !is_function && !OPERATORS.contains(&word) && !word.starts_with(|char: char| char.is_ascii_digit())
}

fn beyond(text: &str, end: char) -> &str {
    text.split_once(end).unwrap_or_default().1
}

#[test]
fn finds_metrics_and_nothing_else() {
    let expression = "sum by (job, le) (rate(calls_total{code=~\"a|b\"}[2m])) / on (job) job:calls:rate2m > 0.01 \
         unless avg_over_time(up[1d] offset 10m) <= bool 4 and histogram_quantile(0.99, seconds_bucket)";
    let expected = ["calls_total{code=~\"a|b\"}", "job:calls:rate2m", "up", "seconds_bucket"];
    assert_eq!(selectors(expression), expected);
}
