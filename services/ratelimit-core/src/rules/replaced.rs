//! Whether there is what a limit replaces.

use std::collections::HashSet;

use super::{error::Notes, names::Draft, read::shortened};

/// A `rate_limit` may name what is not there, as in envoyproxy/ratelimit, and is warned of it; an entry of `limits` may not.
pub(super) fn check(drafts: &[Draft], notes: &mut Notes, warnings: &mut Notes) {
    let given = drafts.iter().filter_map(|draft| draft.given.as_ref());
    let known: HashSet<&str> = given.map(|name| name.value.as_str()).collect();
    for draft in drafts {
        for name in draft.replaces.iter().filter(|name| !known.contains(name.value.as_str())) {
            let replaced = shortened(&name.value);
            let reason = format_args!("no limit of this domain has the name {replaced:?} that is replaced");
            let notes = if draft.is_unique { &mut *notes } else { &mut *warnings };
            notes.note(name.place, reason);
        }
    }
}
