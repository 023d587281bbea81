//! From the descriptors as written to the tree and its rules.

use std::{collections::HashMap, sync::Arc};

use super::{
    LIMITS_PER_NODE_MAX, Policy, Rule,
    document::{Document, RawLimit, RawNode, RawRateLimit, RawReplaced, is_set},
    error::{Notes, Place},
    limit,
    names::Draft,
    parse::{DEPTH_MAX, NAME_BYTES_MAX, NODES_MAX, VALUE_BYTES_MAX},
    rate_limit,
    read::{At, escaped},
    replaced,
    tree::{self, Node, Pattern, Step},
    warnings,
};

/// What came out of the descriptors.
pub(super) struct Walked {
    pub root: Node,
    pub drafts: Vec<Draft>,
}

pub(super) struct Walk<'n> {
    notes: &'n mut Notes,
    warnings: &'n mut Notes,
    drafts: Vec<Draft>,
    nodes: usize,
}

impl<'n> Walk<'n> {
    pub fn new(notes: &'n mut Notes, warnings: &'n mut Notes) -> Self {
        Self { notes, warnings, drafts: Vec::new(), nodes: 0 }
    }

    pub fn domain(mut self, document: &Document) -> Walked {
        if let Some(domain) = &document.domain {
            self.check_text("domain", domain, NAME_BYTES_MAX);
        }
        let mut root = Node::default();
        self.fill(&mut root, &document.descriptors);
        replaced::check(&self.drafts, self.notes, self.warnings);
        Walked { root, drafts: self.drafts }
    }

    fn fill(&mut self, parent: &mut Node, children: &[RawNode]) {
        let mut places: HashMap<_, Place> = HashMap::new();
        let mut wildcards = Vec::new();
        for raw in children {
            if !self.has_room(raw, parent.steps.len() + 1) {
                return;
            }
            let step = self.step(raw);
            let first = places.insert((step.key.clone(), step.value.clone()), raw.place);
            if let Some(first) = first.filter(|_| !step.key.is_empty()) {
                let step = escaped(&step.to_string());
                self.notes
                    .note(raw.place, format_args!("descriptor {step} is there twice, first at {first}"));
            }
            let node = self.node(raw, parent, step);
            warnings::of_descriptor(raw, &node, &mut wildcards, self.warnings);
            parent.insert(node);
        }
    }

    fn has_room(&mut self, raw: &RawNode, depth: usize) -> bool {
        self.nodes += 1;
        if depth > DEPTH_MAX {
            self.notes.note(raw.place, format_args!("descriptors are nested deeper than {DEPTH_MAX}"));
        } else if self.nodes == NODES_MAX + 1 {
            self.notes.note(raw.place, format_args!("there are more than {NODES_MAX} descriptors"));
        }
        depth <= DEPTH_MAX && self.nodes <= NODES_MAX
    }

    fn step(&mut self, raw: &RawNode) -> Step {
        // A key that is wrong has its note already.
        let key = raw.key.as_ref();
        key.inspect(|key| self.check_text("key", key, NAME_BYTES_MAX));
        let key: Arc<str> = key.map_or("", |key| key.value.as_str()).into();
        let value = raw.value();
        value.inspect(|value| self.check_text("value", value, VALUE_BYTES_MAX));
        let value = Pattern::of(&key, value.map(|value| value.value.as_str()));
        let share_threshold = is_set(raw.share_threshold.as_ref());
        let value_to_metric = is_set(raw.value_to_metric.as_ref());
        let step = Step { key, value, share_threshold, value_to_metric };
        if let Some(flag) = raw.share_threshold.filter(|flag| flag.value && step.wildcard().is_none()) {
            self.notes.note(
                flag.place,
                "share_threshold is for a value that ends with *, such as `value: /files/*`",
            );
        }
        step
    }

    fn node(&mut self, raw: &RawNode, parent: &Node, step: Step) -> Node {
        let first_rule = self.drafts.len();
        let steps: Box<[_]> = parent.steps.iter().map(Arc::clone).chain([Arc::new(step)]).collect();
        self.rules(raw, &tree::path(&steps).into());
        let detailed_metric = is_set(raw.detailed_metric.as_ref());
        let mut node = Node::new(first_rule..self.drafts.len(), steps, detailed_metric);
        self.fill(&mut node, &raw.descriptors);
        node
    }

    fn rules(&mut self, raw: &RawNode, path: &Arc<str>) {
        if let Some(limit) = raw.limits.get(LIMITS_PER_NODE_MAX) {
            self.notes
                .note(limit.place, format_args!("a descriptor has at most {LIMITS_PER_NODE_MAX} limits"));
        }
        let rate_limit = raw.rate_limit.iter().map(|limit| self.rate_limit(limit, path)).collect::<Vec<_>>();
        let limits = raw.limits.iter().map(|limit| self.limit(limit, path)).collect::<Vec<_>>();
        for mut draft in rate_limit.into_iter().chain(limits) {
            draft.rule.shadow |= is_set(raw.shadow_mode.as_ref());
            draft.rule.quota_mode = is_set(raw.quota_mode.as_ref());
            self.drafts.push(draft);
        }
    }

    fn rate_limit(&mut self, raw: &RawRateLimit, path: &Arc<str>) -> Draft {
        // What is wrong is noted, and the rule only stands in for one, so that its name is known to others.
        let policy = rate_limit::policy(raw, self.notes).unwrap_or(Policy::Unlimited);
        let given = self.given_name(raw.name.as_ref());
        let replaces = self.replaces(&raw.replaces, given.as_ref());
        Draft { rule: Rule::new("", policy), given, is_unique: false, path: path.clone(), replaces }
    }

    fn limit(&mut self, raw: &RawLimit, path: &Arc<str>) -> Draft {
        let limit = limit::read(raw, self.notes);
        let rule = limit.map_or_else(
            || Rule::new("", Policy::Unlimited),
            |limit| Rule { on_error: limit.on_error, lease: limit.lease, ..Rule::new("", limit.policy) },
        );
        let rule = Rule { shadow: is_set(raw.shadow_mode.as_ref()), ..rule };
        let given = self.given_name(raw.name.as_ref());
        let replaces = self.replaces(&raw.replaces, given.as_ref());
        Draft { rule, given, is_unique: true, path: path.clone(), replaces }
    }

    /// An empty name is none, as in envoyproxy/ratelimit.
    fn given_name(&mut self, name: Option<&At<String>>) -> Option<At<String>> {
        let name = name.filter(|name| !name.value.is_empty())?;
        self.check_text("name", name, NAME_BYTES_MAX);
        Some(name.clone())
    }

    fn replaces(&mut self, raw: &[RawReplaced], own: Option<&At<String>>) -> Vec<At<String>> {
        let names: Vec<_> = raw.iter().filter_map(|replaced| replaced.name.clone()).collect();
        for name in &names {
            if own.is_some_and(|own| own.value == name.value) {
                self.notes.note(name.place, "a limit can't replace itself");
            } else {
                self.check_text("name", name, NAME_BYTES_MAX);
            }
        }
        names
    }

    fn check_text(&mut self, what: &str, text: &At<String>, bytes_max: usize) {
        if !(1..=bytes_max).contains(&text.value.len()) || text.value.chars().any(char::is_control) {
            let reason = format_args!("{what} must have 1 to {bytes_max} bytes and no control characters");
            self.notes.note(text.place, reason);
        }
    }
}
