//! From a file's text to a domain: every mistake is noted with its place, and all are reported.

use std::{collections::HashSet, sync::Arc};

use serde_saphyr::{Location, Spanned};

use super::{
    Domain, OnError, Rule, RuleError,
    document::{Document, RawLimit, RawNode, RawRateLimit},
    limit::{self, Mistake},
    tree::Node,
};

/// Largest file, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Deepest descriptor, in entries.
pub const DEPTH_MAX: usize = 16;
/// Most descriptors of a file.
pub const NODES_MAX: usize = 10_000;
/// Most limits of one descriptor.
pub const LIMITS_PER_NODE_MAX: usize = 16;
/// Longest name of a domain, key, value or rule, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// The domain's name and rules.
pub(super) fn parse(file: &str, text: &str) -> Result<(String, Domain), Vec<RuleError>> {
    if text.len() > FILE_BYTES_MAX {
        return Err(vec![RuleError::new(file, None, format_args!("is larger than {FILE_BYTES_MAX} bytes"))]);
    }
    let document: Document =
        serde_saphyr::from_str(text).map_err(|error| vec![syntax_error(file, &error)])?;
    let mut parser = Parser { file, errors: Vec::new(), names: HashSet::new(), rules: Vec::new(), nodes: 0 };
    let root = parser.root(&document);
    if parser.errors.is_empty() {
        Ok((document.domain.value, Domain { root, rules: parser.rules }))
    } else {
        Err(parser.errors)
    }
}

fn syntax_error(file: &str, error: &serde_saphyr::Error) -> RuleError {
    // The crate ends its message with the place, which the error carries already.
    let text = error.without_snippet().to_string();
    let reason = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    RuleError::new(file, error.location(), reason)
}

struct Parser<'a> {
    file: &'a str,
    errors: Vec<RuleError>,
    names: HashSet<Arc<str>>,
    rules: Vec<Arc<Rule>>,
    nodes: usize,
}

impl Parser<'_> {
    fn root(&mut self, document: &Document) -> Node {
        self.check_name("domain", &document.domain);
        let mut root = Node::default();
        self.fill(&mut root, document.descriptors.as_deref(), "", 1);
        root
    }

    fn fill(&mut self, parent: &mut Node, children: Option<&[RawNode]>, path: &str, depth: usize) {
        for raw in children.unwrap_or_default() {
            self.nodes += 1;
            if depth > DEPTH_MAX || self.nodes > NODES_MAX {
                self.note(raw.key.referenced, too_many(depth));
                return;
            }
            let value = self.value(raw);
            let path = path_of(path, &raw.key.value, value);
            let node = self.node(raw, &path, depth);
            if !parent.insert(&raw.key.value, value, node) {
                self.note(raw.key.referenced, format_args!("descriptor {path:?} is there twice"));
            }
        }
    }

    fn node(&mut self, raw: &RawNode, path: &str, depth: usize) -> Node {
        self.check_name("key", &raw.key);
        let limits = raw.limits.as_deref().unwrap_or_default();
        if limits.len() > LIMITS_PER_NODE_MAX {
            self.note(raw.key.referenced, format_args!("has more than {LIMITS_PER_NODE_MAX} limits"));
        }
        let mut node = Node::default();
        node.rules
            .extend(raw.rate_limit.as_ref().and_then(|limit| self.rate_limit(limit, raw.shadow_mode, path)));
        node.rules.extend(limits.iter().filter_map(|limit| self.limit(limit, raw.shadow_mode, path)));
        self.fill(&mut node, raw.descriptors.as_deref(), path, depth + 1);
        node
    }

    /// An empty value is none, as in envoyproxy/ratelimit.
    fn value<'a>(&mut self, raw: &'a RawNode) -> Option<&'a str> {
        let wildcard = raw.value.as_ref().filter(|value| value.value.ends_with('*'));
        if let Some(value) = wildcard.or(Some(&raw.key).filter(|key| key.value.ends_with('*'))) {
            self.note(value.referenced, "wildcards (a * at the end) are not available yet");
        }
        let value = raw.value.as_ref().filter(|value| !value.value.is_empty())?;
        self.check_name("value", value);
        Some(&value.value)
    }

    fn rate_limit(&mut self, raw: &Spanned<RawRateLimit>, shadow: bool, path: &str) -> Option<Arc<Rule>> {
        let policy = limit::of_rate_limit(raw).map_err(|mistake| self.note_all([mistake])).ok();
        let name = self.name(raw.value.name.as_ref(), raw.referenced, path)?;
        Some(self.add(Rule { name, policy: policy?, shadow, on_error: OnError::default() }))
    }

    fn limit(&mut self, raw: &Spanned<RawLimit>, shadow: bool, path: &str) -> Option<Arc<Rule>> {
        let limit = limit::of_limit(&raw.value).map_err(|mistakes| self.note_all(mistakes)).ok();
        let name = self.name(raw.value.name.as_ref(), raw.referenced, path)?;
        let (policy, on_error) = limit?;
        Some(self.add(Rule { name, policy, shadow: shadow || raw.value.shadow_mode, on_error }))
    }

    /// The given name, or one after the place in the tree; numbered from the second of a place on.
    fn name(&mut self, given: Option<&Spanned<String>>, place: Location, path: &str) -> Option<Arc<str>> {
        let name: Arc<str> = match given.filter(|name| !name.value.is_empty()) {
            Some(name) => {
                self.check_name("name", name);
                name.value.as_str().into()
            }
            None => self.derived_name(path),
        };
        if self.names.insert(name.clone()) {
            return Some(name);
        }
        let place = given.map_or(place, |name| name.referenced);
        self.note(place, format_args!("the name {name:?} is taken; names are unique within a domain"));
        None
    }

    fn derived_name(&self, path: &str) -> Arc<str> {
        let numbered = (2..=LIMITS_PER_NODE_MAX + 1).map(|n| format!("{path}#{n}"));
        let free =
            std::iter::once(path.to_owned()).chain(numbered).find(|name| !self.names.contains(name.as_str()));
        free.unwrap_or_else(|| path.to_owned()).into()
    }

    fn add(&mut self, rule: Rule) -> Arc<Rule> {
        let rule = Arc::new(rule);
        self.rules.push(rule.clone());
        rule
    }

    fn check_name(&mut self, what: &str, name: &Spanned<String>) {
        if name.value.is_empty()
            || name.value.len() > NAME_BYTES_MAX
            || name.value.chars().any(char::is_control)
        {
            let reason =
                format_args!("{what} must have 1 to {NAME_BYTES_MAX} bytes and no control characters");
            self.note(name.referenced, reason);
        }
    }

    fn note_all(&mut self, mistakes: impl IntoIterator<Item = Mistake>) {
        mistakes.into_iter().for_each(|(place, reason)| self.note(place, reason));
    }

    fn note(&mut self, place: Location, reason: impl std::fmt::Display) {
        self.errors.push(RuleError::new(self.file, Some(place), reason));
    }
}

fn path_of(parent: &str, key: &str, value: Option<&str>) -> String {
    let slash = if parent.is_empty() { "" } else { "/" };
    value.map_or_else(|| format!("{parent}{slash}{key}"), |value| format!("{parent}{slash}{key}={value}"))
}

fn too_many(depth: usize) -> String {
    if depth > DEPTH_MAX {
        format!("descriptors are nested deeper than {DEPTH_MAX}")
    } else {
        format!("there are more than {NODES_MAX} descriptors")
    }
}
