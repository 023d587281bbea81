//! Who is denied the most, in bounded memory.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::Equivalent;
use parking_lot::Mutex;
use ratelimit_core::HeavyHitters;

use crate::limiter::{Descriptor, RuleStatus};

/// Offenders counted at a time, of all domains together.
const OFFENDERS_MAX: usize = 4096;
/// Longest value that is kept whole, in bytes.
const VALUE_BYTES_MAX: usize = 1024;

/// Counts are forgotten after one to two of these, so that who was busy yesterday is not in the way of who is now.
const GENERATION: Duration = Duration::from_secs(60 * 60);

/// Counts the denials of this process, and forgets them after one to two hours.
pub(crate) struct Denials {
    generations: Mutex<Generations>,
}

/// Who ran into which rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offender {
    /// The domain's name.
    pub domain: String,
    /// The rule's name.
    pub rule: Arc<str>,
    /// Keys and values of the descriptor; of long values the beginning.
    pub entries: Vec<(String, String)>,
}

/// The same, of a request under way.
struct OffenderRef<'a> {
    domain: &'a str,
    rule: &'a Arc<str>,
    entries: &'a [(String, String)],
}

struct Generations {
    began: Instant,
    current: HeavyHitters<Arc<Offender>>,
    last: HeavyHitters<Arc<Offender>>,
}

impl Denials {
    pub(crate) fn new() -> Self {
        Self { generations: Mutex::new(Generations::new()) }
    }

    /// The rules that denied a request; those in shadow deny none.
    pub(crate) fn count(&self, domain: &str, descriptors: &[Descriptor], statuses: &[RuleStatus]) {
        let denying = statuses.iter().filter(|status| !status.shadow && !status.decision.allowed);
        for status in denying {
            let entries = &descriptors[status.descriptor_index].entries;
            let offender = OffenderRef { domain, rule: &status.rule, entries };
            let mut generations = self.generations.lock();
            generations.at(Instant::now()).current.add(&offender, || Arc::new(offender.to_owned()));
        }
    }

    /// The busiest offenders of a domain and how often they were denied, the busiest first.
    pub(crate) fn top(&self, domain: &str, count: usize) -> Vec<(Arc<Offender>, u64)> {
        let mut generations = self.generations.lock();
        let generations = generations.at(Instant::now());
        let mut sums = HashMap::new();
        for (offender, denied) in generations.current.top().chain(generations.last.top()) {
            if offender.domain == domain {
                *sums.entry(offender.clone()).or_default() += denied;
            }
        }
        let mut top: Vec<_> = sums.into_iter().collect();
        top.sort_unstable_by_key(|(_, denied)| std::cmp::Reverse(*denied));
        top.truncate(count);
        top
    }
}

impl OffenderRef<'_> {
    fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), beginning(value)))
    }

    fn to_owned(&self) -> Offender {
        let entries = self.entries().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Offender { domain: self.domain.to_owned(), rule: self.rule.clone(), entries }
    }
}

/// As [`Offender`] has it.
impl Hash for OffenderRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.domain, self.rule).hash(state);
        self.entries().for_each(|entry| entry.hash(state));
    }
}

impl Hash for Offender {
    fn hash<H: Hasher>(&self, state: &mut H) {
        OffenderRef { domain: &self.domain, rule: &self.rule, entries: &self.entries }.hash(state);
    }
}

impl Equivalent<Arc<Offender>> for OffenderRef<'_> {
    fn equivalent(&self, offender: &Arc<Offender>) -> bool {
        let entries = offender.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        self.domain == offender.domain && *self.rule == offender.rule && self.entries().eq(entries)
    }
}

fn beginning(value: &str) -> &str {
    &value[..value.floor_char_boundary(VALUE_BYTES_MAX)]
}

impl Generations {
    fn new() -> Self {
        let empty = HeavyHitters::new(OFFENDERS_MAX);
        Self { began: Instant::now(), current: empty.clone(), last: empty }
    }

    fn at(&mut self, now: Instant) -> &mut Self {
        let age = now.saturating_duration_since(self.began);
        if age >= GENERATION {
            let fresh = std::mem::replace(&mut self.current, HeavyHitters::new(OFFENDERS_MAX));
            self.last = if age < 2 * GENERATION { fresh } else { HeavyHitters::new(OFFENDERS_MAX) };
            self.began = now;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offender(value: &str) -> Offender {
        let entries = vec![("caller".into(), value.into())];
        OffenderRef { domain: "d", rule: &"r".into(), entries: &entries }.to_owned()
    }

    #[test]
    fn counts_are_forgotten_after_one_to_two_generations() {
        let mut generations = Generations::new();
        let start = generations.began;
        let offender = Arc::new(offender("ann"));
        generations.at(start).current.add(&offender, || offender.clone());
        let known =
            |generations: &Generations| generations.current.top().chain(generations.last.top()).count();
        assert_eq!(known(generations.at(start + GENERATION)), 1);
        assert_eq!(known(generations.at(start + 2 * GENERATION)), 0);
    }

    #[test]
    fn an_offender_is_known_by_what_is_kept_of_it() {
        let long = "x".repeat(VALUE_BYTES_MAX);
        let kept = Arc::new(offender(&long));
        let (rule, more) = ("r".into(), vec![("caller".into(), long + "and more")]);
        let sent = OffenderRef { domain: "d", rule: &rule, entries: &more };
        assert!(sent.equivalent(&kept));
        let mut counts = HeavyHitters::new(2);
        counts.add(&sent, || Arc::new(sent.to_owned()));
        counts.add(&sent, || panic!("it is known"));
        assert_eq!(counts.top().collect::<Vec<_>>(), [(&kept, 2)]);
    }
}
