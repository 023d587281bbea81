//! The names of counters.

use std::{fmt::Write as _, sync::Arc};

use ratelimit_core::Algorithm;
use sha2::{Digest as _, Sha256};

/// Longest value that stands in a name as it is, in bytes.
const VALUE_BYTES_MAX: usize = 1024;

/// Names one rule's counter of one subject, such as `{8:snippets4:tier4:free6:caller3:ann}6:writes:fixed_window:60000000`.
///
/// Whose counter it is, the domain and the descriptor, comes first and in braces, so that a Redis Cluster keeps a subject's
/// counters together. Every part that comes from outside has its length before it, so that no two subjects have the same
/// name. The rule is named with the unit it counts in: when its limit is changed, the count goes on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterKey {
    name: Arc<str>,
    /// How much of the name tells whose counter it is.
    subject_bytes: usize,
}

impl CounterKey {
    /// The counter of the rule of that name, which counts by `algorithm`, for the descriptor in that domain.
    pub fn new<'a>(
        domain: &str,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
        rule: &str,
        algorithm: &Algorithm,
    ) -> Self {
        let mut key = String::with_capacity(128);
        key.push('{');
        push(&mut key, domain);
        for (name, value) in entries {
            push(&mut key, name);
            push_value(&mut key, value);
        }
        key.push('}');
        let subject_bytes = key.len();
        push_rule(&mut key, rule, algorithm);
        Self { name: key.into(), subject_bytes }
    }

    /// The counter of that name, if it is still the one of that rule.
    pub(crate) fn of_rule(name: &str, rule: &str, algorithm: &Algorithm) -> Option<Self> {
        let mut suffix = String::new();
        push_rule(&mut suffix, rule, algorithm);
        let subject_bytes = name.strip_suffix(&suffix)?.len();
        Some(Self { name: name.into(), subject_bytes })
    }

    /// Whose counter it is: its part in braces. All counters of a subject are on one node of a cluster.
    pub fn subject(&self) -> &str {
        &self.name[..self.subject_bytes]
    }
}

impl AsRef<str> for CounterKey {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

fn push_rule(key: &mut String, rule: &str, algorithm: &Algorithm) {
    push(key, rule);
    // Writing to a string can't fail.
    let _ = write!(key, ":{}", algorithm.unit());
}

/// What is long is named by its length and hash.
fn push_value(key: &mut String, value: &str) {
    if value.len() <= VALUE_BYTES_MAX {
        push(key, value);
    } else {
        let _ = write!(key, "{}#", value.len());
        for byte in Sha256::digest(value) {
            let _ = write!(key, "{byte:02x}");
        }
    }
}

fn push(key: &mut String, part: &str) {
    let _ = write!(key, "{}:{part}", part.len());
}

/// Names the receipt of a request, such as `{8:snippets36:9f0c...}receipt`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReceiptKey(Arc<str>);

impl ReceiptKey {
    /// The receipt of the request with that id, which is unique within its domain.
    pub fn new(domain: &str, request_id: &str) -> Self {
        let mut key = String::with_capacity(64);
        key.push('{');
        push(&mut key, domain);
        push(&mut key, request_id);
        key.push_str("}receipt");
        Self(key.into())
    }

    /// The receipt for the part of a request that is one subject's.
    #[cfg(feature = "redis")]
    pub(super) fn of_part(subject: &str, request: &Self) -> Self {
        Self([subject, "receipt", &request.0].concat().into())
    }
}

impl AsRef<str> for ReceiptKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use ratelimit_core::algorithm::{FixedWindow, TokenBucket};

    use super::*;

    fn key(domain: &str, entries: &[(&str, &str)], name: &str, algorithm: &Algorithm) -> CounterKey {
        CounterKey::new(domain, entries.iter().copied(), name, algorithm)
    }

    fn window(limit: u64, seconds: u64) -> Algorithm {
        Algorithm::FixedWindow(FixedWindow::new(limit, Duration::from_secs(seconds)).unwrap())
    }

    #[test]
    fn no_two_subjects_or_rules_share_a_counter() {
        let bucket = Algorithm::TokenBucket(TokenBucket::new(60, Duration::from_secs(60), 60).unwrap());
        let keys = [
            key("d", &[("a", "b"), ("c", "d")], "r", &window(60, 60)),
            key("d", &[("a", "b"), ("c", "e")], "r", &window(60, 60)),
            key("d", &[("a", "b1:c"), ("d", "")], "r", &window(60, 60)),
            key("d", &[("a", "b1:c1:d")], "r", &window(60, 60)),
            key("d1:a", &[("b", "c")], "r", &window(60, 60)),
            key("d", &[("a", "b")], "r", &window(60, 60)),
            key("d", &[("a", "b")], "r", &window(60, 61)),
            key("d", &[("a", "b")], "s", &window(60, 60)),
            key("d", &[("a", "b")], "r", &bucket),
            key("d", &[("a", "b}1:r")], "r", &window(60, 60)),
        ];
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    }

    #[test]
    fn a_name_leads_back_to_its_counter_while_the_rule_counts_in_the_same_unit() {
        let known = key("d", &[("a", "b")], "r", &window(60, 60));
        let again = |rule, algorithm| CounterKey::of_rule(known.as_ref(), rule, &algorithm);
        assert_eq!(again("r", window(60, 60)), Some(known.clone()));
        assert_eq!(again("r", window(61, 60)), Some(known.clone()));
        assert_eq!((again("s", window(60, 60)), again("r", window(60, 61))), (None, None));
    }

    #[test]
    fn a_long_value_has_a_short_name() {
        let of = |value: &str| key("d", &[("path", value)], "r", &window(60, 60));
        let [long, other] = [of(&"x".repeat(100_000)), of(&("x".repeat(99_999) + "y"))];
        assert!(long != other && long.as_ref().len() < 200, "{long:?}");
        assert_eq!(long, of(&"x".repeat(100_000)));
    }

    #[test]
    fn the_subject_is_the_hash_tag() {
        let key = key("snippets", &[("caller", "ann")], "writes", &window(60, 60));
        assert_eq!(key.as_ref(), "{8:snippets6:caller3:ann}6:writes:fixed_window:60000000");
        assert_eq!(key.subject(), "{8:snippets6:caller3:ann}");
    }
}
