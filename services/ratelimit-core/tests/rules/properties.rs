//! Random trees against a matcher that only says what the documentation says, and random files that must never do worse than
//! be refused.

use std::fmt::Write as _;

use proptest::{collection::vec, prelude::*, sample::select};
use ratelimit_core::rules::{RuleFile, RuleSet, parse_descriptors, write_descriptor};

use crate::{domain, malformed, shop};

/// A descriptor of the file. Its rule's name is its number.
#[derive(Debug, Clone)]
struct Spec {
    key: &'static str,
    value: &'static str,
    share: bool,
    has_limit: bool,
    children: Vec<Spec>,
}

type Pairs = Vec<(&'static str, &'static str)>;
type Subject = Vec<(String, String)>;

fn owned<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Subject {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn spec() -> impl Strategy<Value = Spec> {
    let keys = select(vec!["a", "b", "ab", "a*", "*"]);
    let values = select(vec!["", "x", "xy", "x*", "xy*", "*", "x*y"]);
    let leaf = (keys.clone(), values.clone(), any::<bool>(), any::<bool>()).prop_map(
        |(key, value, share, has_limit)| Spec { key, value, share, has_limit, children: Vec::new() },
    );
    leaf.prop_recursive(3, 24, 4, move |inner| {
        (keys.clone(), values.clone(), any::<bool>(), any::<bool>(), vec(inner, 0..4)).prop_map(
            |(key, value, share, has_limit, children)| Spec { key, value, share, has_limit, children },
        )
    })
}

fn descriptor() -> impl Strategy<Value = Pairs> {
    let entry = (select(vec!["a", "b", "ab", "c"]), select(vec!["", "x", "xy", "xyz", "z"]));
    vec(entry, 0..4)
}

impl Spec {
    fn is_wildcard(&self) -> bool {
        if self.value.is_empty() { self.key.ends_with('*') } else { self.value.ends_with('*') }
    }

    fn is_exact(&self, key: &str, value: &str) -> bool {
        self.key == key && self.value == value && !value.is_empty()
    }

    fn wildcard_fits(&self, key: &str, value: &str) -> bool {
        let prefix = |pattern: &'static str| pattern.trim_end_matches('*');
        match (self.is_wildcard(), self.value.is_empty()) {
            (false, _) => false,
            (true, true) => key.starts_with(prefix(self.key)),
            (true, false) => self.key == key && value.starts_with(prefix(self.value)),
        }
    }

    fn is_key_alone(&self, key: &str) -> bool {
        self.key == key && self.value.is_empty() && !self.is_wildcard()
    }

    /// What takes the value's place in the names of counters.
    fn subject(&self, value: &'static str) -> &'static str {
        match (self.share && self.is_wildcard(), self.value) {
            (false, _) => value,
            (true, "") => self.key,
            (true, pattern) => pattern,
        }
    }
}

/// As a file may have them: each key and value once.
fn without_twins(specs: Vec<Spec>) -> Vec<Spec> {
    let mut kept: Vec<Spec> = Vec::new();
    for spec in specs {
        if kept.iter().all(|other| (other.key, other.value) != (spec.key, spec.value)) {
            kept.push(Spec { children: without_twins(spec.children), ..spec });
        }
    }
    kept
}

/// In YAML, numbering the limits in the order of the file.
fn write(specs: &[Spec], limits: &mut usize) -> String {
    let mut text = String::new();
    for spec in specs {
        write!(text, "{{key: '{}', value: '{}'", spec.key, spec.value).unwrap();
        if spec.share && spec.is_wildcard() {
            text.push_str(", share_threshold: true");
        }
        if spec.has_limit {
            write!(text, ", limits: [{{name: l{limits}, limit: 1, period: 1s}}]").unwrap();
            *limits += 1;
        }
        write!(text, ", descriptors: [{}]}}, ", write(&spec.children, limits)).unwrap();
    }
    text
}

/// The name of the limit and the subject, as the documentation has it.
fn expected(
    specs: &[Spec],
    entries: &[(&'static str, &'static str)],
    first: usize,
) -> Option<(String, Subject)> {
    let ((key, value), rest) = entries.split_first()?;
    let chosen = specs
        .iter()
        .position(|spec| spec.is_exact(key, value))
        .or_else(|| specs.iter().position(|spec| spec.wildcard_fits(key, value)))
        .or_else(|| specs.iter().position(|spec| spec.is_key_alone(key)))?;
    let before = first + specs[..chosen].iter().map(limits).sum::<usize>();
    let spec = &specs[chosen];
    let entry = ((*key).to_owned(), spec.subject(value).to_owned());
    if rest.is_empty() {
        return spec.has_limit.then(|| (format!("l{before}"), vec![entry]));
    }
    let (name, mut subject) = expected(&spec.children, rest, before + usize::from(spec.has_limit))?;
    subject.insert(0, entry);
    Some((name, subject))
}

fn limits(spec: &Spec) -> usize {
    usize::from(spec.has_limit) + spec.children.iter().map(limits).sum::<usize>()
}

proptest! {
    #[test]
    fn matching_is_what_the_documentation_says(
        specs in vec(spec(), 0..5),
        descriptors in vec(descriptor(), 1..20),
    ) {
        let specs = without_twins(specs);
        let rules = shop(&format!("domain: shop\ndescriptors: [{}]\n", write(&specs, &mut 0)));
        for entries in descriptors {
            let place = domain(&rules).matching(entries.iter().copied());
            let found = place.and_then(|place| {
                let rule = place.rules().first()?;
                Some((rule.name.to_string(), owned(place.subject(entries.iter().copied()))))
            });
            prop_assert_eq!(&found, &expected(&specs, &entries, 0), "{:?}", entries);
            let explained = domain(&rules).explain(&[owned(entries.iter().copied())]);
            let applies = explained.descriptors[0].rules.iter().map(|it| it.rule.name.to_string()).next();
            prop_assert_eq!(&applies, &found.map(|(name, _)| name));
            let says_why = explained.descriptors[0].reasons.iter().any(|it| it.starts_with("nothing applies"));
            prop_assert_eq!(says_why, applies.is_none());
        }
    }

    #[test]
    fn a_descriptor_reads_as_it_was_written(
        descriptors in vec(vec(("[ -~é]{1,6}", "[ -~é]{0,6}"), 1..4), 1..4),
    ) {
        let write = |it: &Vec<(String, String)>| write_descriptor(it.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let text = descriptors.iter().map(write).collect::<Vec<_>>().join(";");
        prop_assert_eq!(parse_descriptors(&text).unwrap(), descriptors);
    }

    /// Files that are nearly right, so that the mistakes are deep inside.
    #[test]
    fn whatever_a_file_holds_it_is_read_or_refused_with_a_place(
        seed in any::<prop::sample::Index>(),
        edits in vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>(), any::<prop::sample::Index>()), 1..8),
    ) {
        let mut files = malformed::files();
        let (_, mut content) = files.swap_remove(seed.index(files.len()));
        for (at, edit, byte, other) in edits {
            if content.is_empty() {
                break;
            }
            let (at, other) = (at.index(content.len()), other.index(content.len()));
            match edit {
                0 => content[at] = byte,
                1 => content.insert(at, b" \t\n:-{}[],&*!'\"#%0"[usize::from(byte) % 18]),
                2 => drop(content.remove(at)),
                _ => content.swap(at, other),
            }
        }
        if let Err(errors) = RuleSet::load(&[RuleFile::new("rules.yaml", content)]) {
            prop_assert!(!errors.0.is_empty());
            for error in errors.0 {
                let is_told = error.place.is_some() || error.reason.contains("more mistakes");
                prop_assert!(is_told && !error.reason.is_empty(), "{}", error);
            }
        }
    }
}
