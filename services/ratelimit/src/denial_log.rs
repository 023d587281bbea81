//! The log of denials, of which a sample says enough.

use chassis::LogGate;

use crate::limiter::{Descriptor, RuleStatus};

/// Longest descriptor that is logged, in bytes; the rest is cut off.
const DESCRIPTOR_BYTES_MAX: usize = 256;

/// Logs denials, so many a second at most. It is off by default: descriptors may hold what identifies people.
#[derive(Debug, Default)]
pub struct DenialLog(Option<LogGate>);

impl DenialLog {
    /// Logs up to that many a second, evenly spaced, from 0 (none) to 1000.
    pub fn per_second(denials: u64) -> Self {
        Self(LogGate::per_second(denials))
    }

    /// Logs the first rule that denied a request, if one did.
    pub(crate) fn log(&self, domain: &str, descriptors: &[Descriptor], statuses: &[RuleStatus]) {
        let Some(gate) = &self.0 else { return };
        let denying = statuses.iter().find(|status| !status.shadow && !status.decision.allowed);
        let Some(RuleStatus { rule, descriptor_index, limit, .. }) = denying else { return };
        if let Some(held_back) = gate.pass() {
            let descriptor = written(&descriptors[*descriptor_index]);
            // With `?` it is escaped, whatever clients send.
            tracing::info!(domain, %rule, ?descriptor, limit, held_back, "request denied");
        }
    }
}

/// As `explain` takes it: `tier=free,caller=x`.
fn written(descriptor: &Descriptor) -> String {
    let entries = descriptor.entries.iter().map(|(key, value)| format!("{key}={value}"));
    let mut text = entries.collect::<Vec<_>>().join(",");
    text.truncate(text.floor_char_boundary(DESCRIPTOR_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_descriptor_is_cut_off_between_characters() {
        let entries = vec![("tier".into(), "free".into()), ("caller".into(), "é".repeat(500))];
        let text = written(&Descriptor { entries, cost: 1, limit: None });
        assert!(text.starts_with("tier=free,caller=éé") && text.len() == DESCRIPTOR_BYTES_MAX - 1, "{text}");
    }
}
