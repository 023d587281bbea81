//! Under which name envoyproxy/ratelimit would meter a descriptor's limits.

use super::tree::{Node, Pattern, Step};

/// `domain.key_value.key`; `None` where nothing asks for more than the rule's own name. What shares a counter is named by its
/// wildcard, and `detailed_metric` goes before `value_to_metric`.
pub(super) fn name<'a>(
    domain: &str,
    node: &Node,
    entries: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<String> {
    let all_values = node.detailed_metric;
    if !all_values && !node.steps.iter().any(|step| step.value_to_metric) {
        return None;
    }
    let is_shared = node.steps.iter().any(|step| step.shared().is_some());
    let mut name = domain.to_owned();
    for (step, (key, value)) in node.steps.iter().zip(entries) {
        let text = match step.shared() {
            Some(pattern) => Some(pattern),
            None if all_values => Some(value).filter(|value| !value.is_empty() || !is_shared),
            None => value_to_metric(step, value),
        };
        name.extend([".", key]);
        name.extend(text.into_iter().flat_map(|text| ["_", text]));
    }
    Some(name)
}

fn value_to_metric<'a>(step: &'a Step, value: &'a str) -> Option<&'a str> {
    let text = match step.wildcard() {
        Some(pattern) if !step.value_to_metric => pattern,
        None if step.value == Pattern::Any && !step.value_to_metric => "",
        _ => value,
    };
    Some(text).filter(|text| !text.is_empty())
}
