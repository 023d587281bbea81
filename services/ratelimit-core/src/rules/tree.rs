//! A domain's descriptor tree, and finding a request's limits in it.

use std::{collections::HashMap, sync::Arc};

use super::Rule;

/// The rules of one domain.
#[derive(Debug, Default)]
pub struct Domain {
    pub(super) root: Node,
    pub(super) rules: Vec<Arc<Rule>>,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    pub rules: Vec<Arc<Rule>>,
    pub children: HashMap<String, Branch>,
}

/// The nodes below one that share a key.
#[derive(Debug, Default)]
pub(super) struct Branch {
    pub by_value: HashMap<String, Node>,
    pub any_value: Option<Node>,
}

impl Domain {
    /// Every rule, in the order of the file.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// The rules for a descriptor, none where it leads nowhere. As in envoyproxy/ratelimit: each entry goes one level
    /// down, to the node with its key and value, or else to that with its key alone, never back; and the rules that
    /// count are those of the node that the last entry leads to.
    pub fn matching<'a>(&self, entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> &[Arc<Rule>] {
        let mut node = &self.root;
        for (key, value) in entries {
            let Some(next) = node.child(key, value) else { return &[] };
            node = next;
        }
        &node.rules
    }
}

impl Node {
    fn child(&self, key: &str, value: &str) -> Option<&Node> {
        let branch = self.children.get(key)?;
        branch.by_value.get(value).or(branch.any_value.as_ref())
    }

    /// Puts a node below this one; false if there is one with that key and value already.
    pub fn insert(&mut self, key: &str, value: Option<&str>, node: Node) -> bool {
        let branch = self.children.entry(key.to_owned()).or_default();
        match value {
            None => branch.any_value.replace(node).is_none(),
            Some(value) => branch.by_value.insert(value.to_owned(), node).is_none(),
        }
    }
}
