//! What is valid and surely not meant.

use crate::{load, with_descriptor};

fn warnings(descriptors: &str) -> Vec<String> {
    let rules = load(&with_descriptor(descriptors)).unwrap();
    rules.warnings().iter().map(ToString::to_string).collect()
}

#[test]
fn flags_without_a_limit_are_told() {
    for flag in ["shadow_mode", "quota_mode", "detailed_metric"] {
        let told = warnings(&format!("{{key: a, {flag}: true, descriptors: [{{key: b}}]}}"));
        assert_eq!(
            told,
            [format!(
                "rules.yaml:3:5: {flag} has no effect: it is for the limits right here, and there are none"
            )]
        );
        assert!(warnings(&format!("{{key: a, {flag}: false}}")).is_empty());
        assert!(
            warnings(&format!("{{key: a, {flag}: true, limits: [{{limit: 1, period: 1s}}]}}")).is_empty()
        );
    }
}

#[test]
fn what_nothing_comes_as_far_as_is_told() {
    for (first, second) in [
        ("key: a, value: b*", "key: a, value: bc*"),
        ("key: a, value: '*'", "key: a"),
        ("key: x*", "key: xy*"),
        ("key: x*", "key: xy, value: b*"),
        ("key: '*'", "key: a"),
    ] {
        let told = warnings(&format!("{{{first}}}\n  - {{{second}}}"));
        assert!(
            told.len() == 1 && told[0].starts_with("rules.yaml:4:5: nothing comes as far as"),
            "{told:?}"
        );
    }
    for (first, second) in [
        ("key: a, value: bc*", "key: a, value: b*"),
        ("key: a, value: b*", "key: a, value: bc"),
        ("key: a, value: b*", "key: c, value: bc*"),
        ("key: a, value: b*", "key: a"),
        ("key: xy*", "key: x*"),
        ("key: x*", "key: xy, value: b"),
    ] {
        assert!(warnings(&format!("{{{first}}}\n  - {{{second}}}")).is_empty(), "{first} {second}");
    }
}
