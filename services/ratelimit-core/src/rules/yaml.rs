//! YAML as it was written: every value with its place and its own text, and nothing understood yet.
//!
//! The format's readers decide what a text is, not YAML: `value: 404` is the text `404` and `limit: 404` the number. That
//! is how Go's yaml.v2 reads into a field of that type, and so envoyproxy/ratelimit.

mod build;
mod scalar;
mod syntax;

use std::rc::Rc;

use super::error::{Notes, Place};
pub(super) use scalar::NotANumber;

/// Deepest nesting of lists and mappings, with what aliases put there.
pub(super) const NESTING_MAX: usize = 64;
/// Most values of a file, with those that aliases repeat.
pub(super) const VALUES_MAX: usize = 1_000_000;
/// Most keys of a mapping; the format has a dozen.
const KEYS_MAX: usize = 64;

/// A value.
#[derive(Debug)]
pub(super) struct Yaml {
    pub place: Place,
    pub content: Content,
    /// This value and all that are in it.
    size: usize,
    /// Levels of lists and mappings, this one included.
    depth: usize,
}

#[derive(Debug)]
pub(super) enum Content {
    Scalar {
        text: String,
        /// Without quotes, so that it may be something else than text.
        plain: bool,
    },
    List(Vec<Rc<Yaml>>),
    Map(Vec<Entry>),
}

/// A key of a mapping, and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub place: Place,
    pub value: Rc<Yaml>,
}

/// The one document of the file; `None` where it is empty or, with a note, is no YAML.
pub(super) fn parse(text: &str, notes: &mut Notes) -> Option<Rc<Yaml>> {
    let document = build::build(text, notes);
    document.map_err(|(place, reason)| notes.note(place, reason)).ok().flatten()
}

impl Yaml {
    fn new(place: Place, content: Content) -> Self {
        let (size, depth) = match &content {
            Content::Scalar { .. } => (1, 0),
            Content::List(items) => measure(items.iter()),
            Content::Map(entries) => measure(entries.iter().map(|entry| &entry.value)),
        };
        Self { place, content, size, depth }
    }

    /// What it is, for a message.
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
            Content::Scalar { plain: false, .. } => "a text in quotes",
            Content::Scalar { .. } if self.is_null() => "nothing",
            Content::Scalar { .. } => "a single value",
        }
    }
}

fn measure<'a>(inside: impl Iterator<Item = &'a Rc<Yaml>>) -> (usize, usize) {
    inside.fold((1, 1), |(size, depth), value| (size + 1 + value.size, depth.max(1 + value.depth)))
}
