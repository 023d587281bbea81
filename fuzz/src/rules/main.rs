//! Rules: whatever a file holds, it is read or refused, and never does worse.

#![no_main]

mod counting;
mod text;

use libfuzzer_sys::fuzz_target;
use ratelimit_core::rules::{
    Domain, Entries, RuleError, RuleErrors, RuleFile, RuleSet, parse_descriptors, write_descriptor,
};

/// Most bytes of what a mistake is told as.
const REASON_BYTES_MAX: usize = 4096;
/// Most rules of a file that are tried, as a limit on concurrency takes a while.
const COUNTED_MAX: usize = 16;

fuzz_target!(|content: &[u8]| {
    let loaded = load(content);
    let text = String::from_utf8_lossy(content);
    match (&loaded, load(content)) {
        (Ok(rules), Ok(again)) => same_rules(rules, &again, content, &text),
        (Err(errors), Err(again)) => {
            assert_eq!(*errors, again, "the same file is refused for other reasons");
            assert!(!errors.0.is_empty(), "refused without a reason");
            errors.0.iter().for_each(|error| is_told(error, content));
        }
        _ => panic!("the same file is valid once and then not"),
    }
    descriptors_read_as_written(&text);
});

fn load(content: &[u8]) -> Result<RuleSet, RuleErrors> {
    RuleSet::load(&[RuleFile::new("rules.yaml", content)])
}

fn same_rules(rules: &RuleSet, again: &RuleSet, content: &[u8], text: &str) {
    assert_eq!(rules.version(), again.version());
    assert_eq!(rules.warnings(), again.warnings());
    rules.warnings().iter().for_each(|warning| is_told(warning, content));
    let domains: Vec<_> = rules.domains().collect();
    let [(name, domain)] = domains[..] else { panic!("a file is one domain, not {}", domains.len()) };
    assert_eq!(name, domain.name());
    let again = again.domain(name).expect("the same file has another domain");
    assert_eq!(domain.rules(), again.rules());
    names_are_unique(domain);
    let now_us = counting::some_time_us(rules.version());
    let algorithms = domain.rules().iter().filter_map(|rule| rule.policy.algorithm());
    algorithms.take(COUNTED_MAX).for_each(|algorithm| counting::counts_as_it_says(algorithm, now_us));
    let descriptors = text::descriptors(text);
    for request in descriptors.iter().map(std::slice::from_ref).chain([descriptors.as_slice()]) {
        matches_as_explained(domain, request);
        assert_eq!(domain.explain(request), again.explain(request), "another explanation of the same");
    }
}

fn names_are_unique(domain: &Domain) {
    let mut names: Vec<_> = domain.rules().iter().map(|rule| &*rule.name).collect();
    assert!(names.iter().all(|name| !name.is_empty()), "a rule without a name");
    let rules = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rules, "two rules of one name");
}

/// What counts is what is explained to count, for the subject that is explained.
fn matches_as_explained(domain: &Domain, request: &[Entries]) {
    let matches = domain.matching_all(request.iter().map(|entries| text::pairs(entries)));
    let counting: Vec<_> =
        matches.rules().map(|matched| (matched.descriptor_index, matched.rule.name.clone())).collect();
    let explanation = domain.explain(request);
    assert!(!explanation.to_string().is_empty());
    assert_eq!(explanation.descriptors.len(), request.len());
    let explained = explanation.descriptors.iter().enumerate().flat_map(|(index, descriptor)| {
        let applying = descriptor.rules.iter().filter(|rule| rule.replaced_by.is_none());
        applying.map(move |rule| (index, rule.rule.name.clone()))
    });
    assert_eq!(explained.collect::<Vec<_>>(), counting, "{explanation}");
    for matched in matches.rules() {
        let entries = &request[matched.descriptor_index];
        assert_eq!(matched.place.subject(text::pairs(entries)).count(), entries.len());
        let metric_name = matched.place.metric_name(text::pairs(entries));
        assert!(metric_name.is_none_or(|name| !name.is_empty()));
    }
}

fn is_told(error: &RuleError, content: &[u8]) {
    assert!((1..=REASON_BYTES_MAX).contains(&error.reason.len()), "{error}");
    assert!(!error.reason.contains(char::is_control), "{error}");
    match error.place {
        Some(place) => {
            let columns = text::columns_max(content, place.line);
            assert!(
                columns.is_some_and(|max| (1..=max).contains(&place.column)),
                "outside of the file: {error}"
            );
        }
        None => {
            assert!(
                error.reason.contains("more mistakes") || error.reason.contains("larger than"),
                "{error}"
            );
        }
    }
}

fn descriptors_read_as_written(text: &str) {
    let Ok(descriptors) = parse_descriptors(text) else { return };
    let written = descriptors.iter().map(|entries| write_descriptor(text::pairs(entries)));
    let written = written.collect::<Vec<_>>().join(";");
    assert_eq!(parse_descriptors(&written).as_ref(), Ok(&descriptors), "{written}");
}
