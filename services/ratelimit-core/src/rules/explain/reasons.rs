//! Why the rules near to where a descriptor leads don't apply.

use std::sync::Arc;

use crate::rules::{
    Rule,
    read::nearest,
    tree::{self, Node},
};

/// Most descriptors that a sentence names.
const NAMED_MAX: usize = 8;

/// From the place where the descriptor ends, or can't go on; and from the places where it could have gone another way.
pub(super) fn reasons(root: &Node, rules: &[Arc<Rule>], entries: &[(String, String)]) -> Vec<String> {
    let mut node = root;
    let mut reasons = Vec::new();
    for (index, (key, value)) in entries.iter().enumerate() {
        let candidates = node.candidates(key, value);
        let Some((chosen, others)) = candidates.split_first() else {
            reasons.insert(0, no_way_on(node, key, value));
            return reasons;
        };
        let left = others.iter().filter_map(|other| Some((other, descend(other, &entries[index + 1..])?)));
        let left = left.filter(|(_, end)| !end.rules.is_empty());
        reasons.extend(left.map(|(other, end)| {
            let names: Vec<_> = rules[end.rules.clone()].iter().map(|rule| &*rule.name).collect();
            let (step, preferred) = (last_step(other), last_step(chosen));
            format!("does not apply: {}, as {preferred} is found before {step}", names.join(", "))
        }));
        node = chosen;
    }
    if node.rules.is_empty() {
        reasons.insert(0, no_limit_here(node));
    }
    reasons
}

fn descend<'n>(node: &'n Node, entries: &[(String, String)]) -> Option<&'n Node> {
    entries.iter().try_fold(node, |node, (key, value)| node.child(key, value))
}

fn no_way_on(node: &Node, key: &str, value: &str) -> String {
    let children = children(node);
    let at = place(node);
    if children.is_empty() {
        let limits =
            if node.rules.is_empty() { "" } else { "; its limits are for descriptors that end there" };
        return format!(
            "nothing applies: there is nothing below {at}, and {key}={value} comes after it{limits}"
        );
    }
    let wanted = format!("{key}={value}");
    let hint = nearest(&wanted, children.iter().map(String::as_str))
        .or_else(|| nearest(key, children.iter().map(String::as_str)));
    let hint = hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    format!("nothing applies: below {at} there is no {wanted}, there {}{hint}", are(&children))
}

fn no_limit_here(node: &Node) -> String {
    let children = children(node);
    let at = place(node);
    if children.is_empty() {
        return format!("nothing applies: {at} is there without a limit, which lets everything pass");
    }
    let deeper = if has_limits_below(node) { "its limits are one level deeper, at" } else { "below it are" };
    format!("nothing applies: {at} has no limit itself, {deeper} {}", list(&children))
}

fn has_limits_below(node: &Node) -> bool {
    node.children().any(|child| !child.rules.is_empty())
}

fn children(node: &Node) -> Vec<String> {
    let mut children: Vec<_> = node.children().map(last_step).collect();
    children.sort();
    children
}

fn last_step(node: &Node) -> String {
    node.steps.last().map(ToString::to_string).unwrap_or_default()
}

fn place(node: &Node) -> String {
    if node.steps.is_empty() { "the top".to_owned() } else { tree::path(&node.steps) }
}

fn are(steps: &[String]) -> String {
    format!("{} {}", if steps.len() == 1 { "is" } else { "are" }, list(steps))
}

fn list(steps: &[String]) -> String {
    let named = steps.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match steps.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
