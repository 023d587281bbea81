//! Which rules a request falls under.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Policy, Rule, metric, tree::Node};

/// Descriptors of a request for which nothing is allocated.
const DESCRIPTORS_INLINE: usize = 4;

/// The rules of one domain.
#[derive(Debug)]
pub struct Domain {
    pub(super) name: Arc<str>,
    pub(super) root: Node,
    pub(super) rules: Vec<Arc<Rule>>,
    /// Whether any rule replaces another.
    pub(super) replaces: bool,
}

/// The place in a domain's tree that a descriptor leads to.
#[derive(Debug, Clone, Copy)]
pub struct Match<'r> {
    domain: &'r Domain,
    node: &'r Node,
}

/// Where all descriptors of a request lead to.
#[derive(Debug)]
pub struct Matches<'r> {
    places: SmallVec<[Option<Match<'r>>; DESCRIPTORS_INLINE]>,
    replaced: Vec<&'r str>,
}

/// A rule that a request falls under.
#[derive(Debug, Clone, Copy)]
pub struct Matched<'r> {
    /// Which of the request's descriptors it is for.
    pub descriptor_index: usize,
    /// The rule.
    pub rule: &'r Arc<Rule>,
    /// Its place.
    pub place: Match<'r>,
}

impl Domain {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every rule, in the order of the file.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Where a descriptor leads to, if anywhere. As in envoyproxy/ratelimit: each entry goes one level down, to the node with
    /// its key and value, or else to the first whose wildcard fits, or else to that with its key alone, never back; and
    /// the rules that count are those of the node that the last entry leads to.
    pub fn matching<'q>(&self, entries: impl IntoIterator<Item = (&'q str, &'q str)>) -> Option<Match<'_>> {
        let node = entries.into_iter().try_fold(&self.root, |node, (key, value)| node.child(key, value))?;
        Some(Match { domain: self, node })
    }

    /// Where all descriptors of one request lead to: what a rule replaces does not count for this request, whichever of
    /// its descriptors either is for.
    pub fn matching_all<'q, E>(&self, descriptors: impl IntoIterator<Item = E>) -> Matches<'_>
    where
        E: IntoIterator<Item = (&'q str, &'q str)>,
    {
        let places: SmallVec<_> = descriptors.into_iter().map(|entries| self.matching(entries)).collect();
        let mut matches = Matches { places, replaced: Vec::new() };
        if self.replaces {
            matches.replaced =
                matches.with_replaced().flat_map(|it| &it.rule.replaces).map(|name| &**name).collect();
        }
        matches
    }
}

impl<'r> Match<'r> {
    /// The rules there, in the order of the file; none where a descriptor is in the tree only to be let through.
    pub fn rules(&self) -> &'r [Arc<Rule>] {
        // The range was made from this very list.
        self.domain.rules.get(self.node.rules.clone()).unwrap_or_default()
    }

    /// What names the counters there: the descriptor's own entries, but for each value that shares a counter the wildcard that
    /// it matched.
    pub fn subject<'a>(
        &self,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> impl Iterator<Item = (&'a str, &'a str)>
    where
        'r: 'a,
    {
        let steps = self.node.steps.iter();
        entries.into_iter().zip(steps).map(|((key, value), step)| (key, step.shared().unwrap_or(value)))
    }

    /// The name under which envoyproxy/ratelimit would meter the rules there for this descriptor; `None` where neither
    /// `detailed_metric` nor `value_to_metric` asks for one. It has a value for each value that was sent: bound it.
    pub fn metric_name<'a>(&self, entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<String> {
        metric::name(&self.domain.name, self.node, entries)
    }
}

impl<'r> Matches<'r> {
    /// Every rule that counts, in the order of the descriptors and of the file.
    pub fn rules(&self) -> impl Iterator<Item = Matched<'r>> {
        self.with_replaced().filter(|matched| !self.is_replaced(matched.rule))
    }

    /// Every rule that matches, also those that don't count because another replaces them.
    pub fn with_replaced(&self) -> impl Iterator<Item = Matched<'r>> {
        let places = self.places.iter().enumerate();
        places.filter_map(|(index, place)| Some((index, (*place)?))).flat_map(|(descriptor_index, place)| {
            place.rules().iter().map(move |rule| Matched { descriptor_index, rule, place })
        })
    }

    /// Whether a rule does not count because another replaces it. One without a limit has nothing that could be replaced.
    pub fn is_replaced(&self, rule: &Rule) -> bool {
        let name = rule.given_name.as_deref().filter(|_| rule.policy != Policy::Unlimited);
        name.is_some_and(|name| self.replaced.contains(&name))
    }

    /// Where that descriptor leads to, if anywhere.
    pub fn place(&self, descriptor_index: usize) -> Option<Match<'r>> {
        self.places.get(descriptor_index).copied().flatten()
    }
}
