//! What each rule of a domain is called: given names as they are, where they are unique, and others after the place in the
//! tree.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fmt::Write as _,
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{
    Rule,
    error::{Notes, Place},
    parse::NAME_BYTES_MAX,
    read::{At, shortened},
};

/// A rule without its name.
#[derive(Debug)]
pub(super) struct Draft {
    /// Without a name.
    pub rule: Rule,
    pub given: Option<At<String>>,
    /// An entry of `limits`, whose name is its own.
    pub is_unique: bool,
    /// Its place in the tree.
    pub path: Arc<str>,
    pub replaces: Vec<At<String>>,
}

/// The rules with their names; a note for each name that is taken.
pub(super) fn name(drafts: Vec<Draft>, notes: &mut Notes) -> Vec<Arc<Rule>> {
    let repeated = repeated(&drafts, notes);
    let mut names = Names::default();
    let given = drafts.iter().filter_map(|draft| Some(draft.given.as_ref()?.value.as_str()));
    names.taken.extend(given.filter(|name| !repeated.contains(*name)).map(Arc::from));
    let rule = |draft: Draft| {
        let name = match &draft.given {
            None => names.free(&draft.path),
            Some(given) if repeated.contains(&given.value) => {
                names.free(&format!("{}@{}", given.value, draft.path))
            }
            Some(given) => given.value.as_str().into(),
        };
        let given_name = draft.given.map(|given| given.value.into());
        let replaces = draft.replaces.into_iter().map(|name| name.value.into()).collect();
        Arc::new(Rule { name, given_name, replaces, ..draft.rule })
    };
    drafts.into_iter().map(rule).collect()
}

/// The names that several rules have.
fn repeated(drafts: &[Draft], notes: &mut Notes) -> HashSet<String> {
    let mut first_by_name: HashMap<&str, (Place, bool)> = HashMap::new();
    let mut repeated = HashSet::new();
    for (given, is_unique) in drafts.iter().filter_map(|draft| Some((draft.given.as_ref()?, draft.is_unique)))
    {
        let (first, is_first_unique) = match first_by_name.entry(&given.value) {
            Entry::Vacant(entry) => {
                entry.insert((given.place, is_unique));
                continue;
            }
            Entry::Occupied(entry) => *entry.get(),
        };
        repeated.insert(given.value.clone());
        if is_unique || is_first_unique {
            let reason = format_args!(
                "the name {:?} is taken at {first}; the name of an entry of limits is its own in the domain",
                shortened(&given.value)
            );
            notes.note(given.place, reason);
        }
    }
    repeated
}

#[derive(Default)]
struct Names {
    taken: HashSet<Arc<str>>,
    /// The number to try next, for names that were wanted more than once.
    next: HashMap<Box<str>, usize>,
}

impl Names {
    /// The wanted name, or else the first free one of `wanted#2`, `wanted#3` and so on.
    fn free(&mut self, wanted: &str) -> Arc<str> {
        let wanted = bounded(wanted);
        let mut name: Arc<str> = wanted.as_str().into();
        while !self.taken.insert(name.clone()) {
            let number = self.next.entry(wanted.as_str().into()).or_insert(1);
            *number += 1;
            name = format!("{wanted}#{number}").into();
        }
        name
    }
}

/// A long name's beginning and a hash of the whole, with room for a number.
fn bounded(name: &str) -> String {
    const BYTES_MAX: usize = NAME_BYTES_MAX - 8;
    const HASH_BYTES: usize = 8;
    if name.len() <= BYTES_MAX {
        return name.to_owned();
    }
    let end = name.floor_char_boundary(BYTES_MAX - 2 * HASH_BYTES - 1);
    let mut bounded = format!("{}~", &name[..end]);
    for byte in Sha256::digest(name).iter().take(HASH_BYTES) {
        // Writing to a string can't fail.
        let _ = write!(bounded, "{byte:02x}");
    }
    bounded
}
