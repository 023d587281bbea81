//! What is valid, as envoyproxy/ratelimit's files are, and surely not meant.

use std::sync::Arc;

use super::{
    document::{RawNode, is_set},
    error::Notes,
    tree::{Node, Pattern, Step},
};

/// `wildcards` are the steps of those before it that stand below the same descriptor.
pub(super) fn of_descriptor(
    raw: &RawNode,
    node: &Node,
    wildcards: &mut Vec<Arc<Step>>,
    warnings: &mut Notes,
) {
    for flag in flags_without_effect(raw) {
        let reason =
            format_args!("{flag} has no effect: it is for the limits right here, and there are none");
        warnings.note(raw.place, reason);
    }
    let Some(step) = node.steps.last() else { return };
    if let Some(earlier) = wildcards.iter().find(|earlier| earlier.covers(step)) {
        let reason =
            format_args!("nothing comes as far as {step}: {earlier} before it fits whatever this fits");
        warnings.note(raw.place, reason);
    }
    if step.wildcard().is_some() {
        wildcards.push(Arc::clone(step));
    }
}

fn flags_without_effect(raw: &RawNode) -> impl Iterator<Item = &'static str> {
    let has_limits = raw.rate_limit.is_some() || !raw.limits.is_empty();
    let flags = [
        ("shadow_mode", raw.shadow_mode),
        ("quota_mode", raw.quota_mode),
        ("detailed_metric", raw.detailed_metric),
    ];
    let set = flags.into_iter().filter(|(_, flag)| is_set(flag.as_ref())).map(|(name, _)| name);
    set.filter(move |_| !has_limits)
}

impl Step {
    /// Whether this wildcard fits all that a later step fits.
    fn covers(&self, later: &Step) -> bool {
        let begins = |text: &str, pattern: &str| text.starts_with(prefix(pattern));
        match (&self.value, &later.value) {
            (_, Pattern::Exact(_)) => false,
            (Pattern::AnyOfKeyWildcard, Pattern::AnyOfKeyWildcard) => begins(prefix(&later.key), &self.key),
            (Pattern::AnyOfKeyWildcard, _) => begins(&later.key, &self.key),
            (Pattern::Wildcard(mine), Pattern::Wildcard(its)) => {
                self.key == later.key && begins(prefix(its), mine)
            }
            (Pattern::Wildcard(mine), Pattern::Any) => self.key == later.key && prefix(mine).is_empty(),
            _ => false,
        }
    }
}

fn prefix(pattern: &str) -> &str {
    pattern.strip_suffix('*').unwrap_or(pattern)
}
