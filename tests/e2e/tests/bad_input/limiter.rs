//! Checks of the limiter; its own tests have more of them.

use rpc::ratelimit::v1::{CheckRequest, Descriptor, descriptor::Entry};

use crate::Case;
use crate::sending::{Bad, bad};

fn check(domain: &str, descriptors: Vec<Descriptor>) -> Bad {
    let request = CheckRequest { domain: domain.into(), descriptors, ..CheckRequest::default() };
    bad("/ratelimit.v1.RateLimitService/Check", &request)
}

fn descriptor(entries: &[(&str, &str)], cost: u64) -> Descriptor {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).into(), value: (*value).into() };
    Descriptor { entries: entries.iter().map(entry).collect(), cost }
}

pub fn cases() -> Vec<Case> {
    let fine = descriptor(&[("tier", "free"), ("caller", "me")], 0);
    let long = "x".repeat(1025);
    vec![
        (check("", vec![fine.clone()]), &["domain: must have 1 to 256 bytes"]),
        (check("snippets", vec![]), &["descriptors: must have 1 to 16 elements"]),
        (check("snippets", vec![fine.clone(); 17]), &["descriptors: must have 1 to 16 elements"]),
        (
            check("snippets", vec![fine.clone(), descriptor(&[], 0)]),
            &["descriptors[1].entries: must have 1 to 16 elements"],
        ),
        (
            check("snippets", vec![descriptor(&[("", "x")], 0)]),
            &["descriptors[0].entries[0].key: must have 1 to 256 bytes"],
        ),
        (
            check("snippets", vec![descriptor(&[("a", "b"), ("tier", &long)], 0)]),
            &["descriptors[0].entries[1].value: must have at most 1024 bytes"],
        ),
        (
            check("snippets", vec![descriptor(&[("tier", "free"), ("caller", "me")], 61)]),
            &["descriptors[0].cost: a cost of 61 can never pass a limit that holds 60 (rule \"writes\")"],
        ),
        (check("", vec![]), &["domain: must have 1 to 256 bytes", "descriptors: must have 1 to 16 elements"]),
    ]
}
