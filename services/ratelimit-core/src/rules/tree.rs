//! A domain's descriptor tree.

use std::{collections::HashMap, fmt, ops::Range, sync::Arc};

/// A node: what the entries of a descriptor lead to.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Those of its domain's rules that are its own.
    pub rules: Range<usize>,
    /// The steps from the root to here.
    pub steps: Box<[Arc<Step>]>,
    /// Its rules are metered under the descriptor with all values.
    pub detailed_metric: bool,
    by_key: HashMap<Arc<str>, Branch>,
    /// Those whose key ends with `*`.
    key_wildcards: Vec<Wildcard>,
    wildcards: usize,
}

/// How one entry of a descriptor leads from a node to one below it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub key: Arc<str>,
    pub value: Pattern,
    /// What the wildcard stands for shares one counter.
    pub share_threshold: bool,
    pub value_to_metric: bool,
}

/// Which values a step is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Pattern {
    /// This one.
    Exact(Arc<str>),
    /// Those that begin so; written with the `*` at its end.
    Wildcard(Arc<str>),
    /// Any.
    Any,
    /// Any, and any key that begins as the step's does before its `*`.
    AnyOfKeyWildcard,
}

/// The nodes below one that share a key.
#[derive(Debug, Default)]
struct Branch {
    by_value: HashMap<Arc<str>, Node>,
    wildcards: Vec<Wildcard>,
    any_value: Option<Box<Node>>,
}

#[derive(Debug)]
struct Wildcard {
    /// Its place among all wildcards below the same node, in the order of the file.
    order: usize,
    prefix: Box<str>,
    node: Node,
}

impl Node {
    /// A node with nothing below it yet.
    pub fn new(rules: Range<usize>, steps: Box<[Arc<Step>]>, detailed_metric: bool) -> Self {
        Self { rules, steps, detailed_metric, ..Self::default() }
    }

    /// The node that an entry leads to, as in envoyproxy/ratelimit: the one with its key and value, or else the first of the
    /// file whose wildcard fits, or else the one with its key alone.
    pub fn child(&self, key: &str, value: &str) -> Option<&Node> {
        let branch = self.by_key.get(key);
        if let Some(node) = branch.and_then(|branch| branch.by_value.get(value)) {
            return Some(node);
        }
        let by_value =
            branch.and_then(|branch| branch.wildcards.iter().find(|it| value.starts_with(&*it.prefix)));
        let by_key = self.key_wildcards.iter().find(|it| key.starts_with(&*it.prefix));
        let first = by_value.into_iter().chain(by_key).min_by_key(|wildcard| wildcard.order);
        first.map(|wildcard| &wildcard.node).or_else(|| branch?.any_value.as_deref())
    }

    /// All nodes that fit an entry, the best first: [`child`](Self::child), and what it is preferred to.
    pub fn candidates(&self, key: &str, value: &str) -> Vec<&Node> {
        let branch = self.by_key.get(key);
        let exact = branch.and_then(|branch| branch.by_value.get(value));
        let by_value = branch.iter().flat_map(|branch| &branch.wildcards);
        let by_value = by_value.filter(|wildcard| value.starts_with(&*wildcard.prefix));
        let by_key = self.key_wildcards.iter().filter(|wildcard| key.starts_with(&*wildcard.prefix));
        let mut wildcards: Vec<_> = by_value.chain(by_key).collect();
        wildcards.sort_by_key(|wildcard| wildcard.order);
        let any = branch.and_then(|branch| branch.any_value.as_deref());
        exact.into_iter().chain(wildcards.into_iter().map(|it| &it.node)).chain(any).collect()
    }

    /// All nodes right below this one, in no order.
    pub fn children(&self) -> impl Iterator<Item = &Node> {
        let by_key_wildcard = self.key_wildcards.iter().map(|wildcard| &wildcard.node);
        self.by_key.values().flat_map(Branch::nodes).chain(by_key_wildcard)
    }

    /// Puts a node below this one, by its last step.
    pub fn insert(&mut self, node: Node) {
        let Some(step) = node.steps.last().map(Arc::clone) else { return };
        let order = self.wildcards;
        let wildcard = |text: &str, node| {
            let prefix = text.strip_suffix('*').unwrap_or(text).into();
            Wildcard { order, prefix, node }
        };
        if step.value == Pattern::AnyOfKeyWildcard {
            self.key_wildcards.push(wildcard(&step.key, node));
            self.wildcards += 1;
            return;
        }
        let branch = self.by_key.entry(step.key.clone()).or_default();
        match &step.value {
            Pattern::Exact(value) => drop(branch.by_value.insert(value.clone(), node)),
            Pattern::Wildcard(value) => {
                branch.wildcards.push(wildcard(value, node));
                self.wildcards += 1;
            }
            Pattern::Any | Pattern::AnyOfKeyWildcard => branch.any_value = Some(node.into()),
        }
    }
}

impl Branch {
    fn nodes(&self) -> impl Iterator<Item = &Node> {
        let wildcards = self.wildcards.iter().map(|wildcard| &wildcard.node);
        self.by_value.values().chain(wildcards).chain(self.any_value.as_deref())
    }
}

impl Pattern {
    /// Of a step's key and value as written.
    pub fn of(key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) if value.ends_with('*') => Self::Wildcard(value.into()),
            Some(value) => Self::Exact(value.into()),
            None if key.ends_with('*') => Self::AnyOfKeyWildcard,
            None => Self::Any,
        }
    }
}

impl Step {
    /// What counts instead of an entry's value: the pattern where all that it stands for share a counter.
    pub fn shared(&self) -> Option<&str> {
        self.wildcard().filter(|_| self.share_threshold)
    }

    /// The pattern, with its `*`.
    pub fn wildcard(&self) -> Option<&str> {
        match &self.value {
            Pattern::Wildcard(pattern) => Some(pattern),
            Pattern::AnyOfKeyWildcard => Some(&self.key),
            Pattern::Exact(_) | Pattern::Any => None,
        }
    }
}

/// `tier=premium`, or `caller` for any value.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Pattern::Exact(value) | Pattern::Wildcard(value) => write!(f, "{}={value}", self.key),
            Pattern::Any | Pattern::AnyOfKeyWildcard => f.write_str(&self.key),
        }
    }
}

/// `tier=premium/caller`.
pub(super) fn path(steps: &[Arc<Step>]) -> String {
    let steps: Vec<_> = steps.iter().map(ToString::to_string).collect();
    steps.join("/")
}
