//! What Envoy is told besides the decision.

use prost_types::{ListValue, Struct, Value, value::Kind};

use crate::limiter::Outcome;

/// Which descriptors a rule in quota mode would have denied, under the names that envoyproxy/ratelimit has for it; none where
/// there is none.
pub(super) fn of(domain: &str, outcome: &Outcome) -> Option<Struct> {
    let violating = outcome.statuses.iter().filter(|status| status.quota_mode && !status.decision.allowed);
    let mut violations: Vec<_> = violating.map(|status| status.descriptor_index).collect();
    violations.dedup();
    if violations.is_empty() {
        return None;
    }
    let values = violations.into_iter().map(|index| value(Kind::NumberValue(number(index)))).collect();
    let fields = [
        ("domain", value(Kind::StringValue(domain.to_owned()))),
        ("quotaModeEnabled", value(Kind::BoolValue(true))),
        ("quotaModeViolations", value(Kind::ListValue(ListValue { values }))),
    ];
    Some(Struct { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() })
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

/// A request has few descriptors.
fn number(index: usize) -> f64 {
    u32::try_from(index).map_or(f64::MAX, f64::from)
}
