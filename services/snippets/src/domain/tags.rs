//! The tags of a snippet.

use super::{Violation, Violations, content::bounded};
use std::sync::Arc;

const TAGS_MAX: usize = 10;
const TAG_CHARS_MAX: usize = 40;

/// 1 to 40 characters without NUL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tag(Arc<str>);

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A violation of `field` when it is empty, too long or contains NUL.
    pub fn parse(field: &str, text: String) -> Result<Self, Violation> {
        if text.is_empty() {
            return Err(Violation::new(field, "must not be empty"));
        }
        bounded(field, text.into(), TAG_CHARS_MAX).map(Self)
    }
}

/// Up to 10 tags, in the order given. Cloning shares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags(Arc<[Tag]>);

impl Tags {
    /// A violation of `tags` when there are too many, and one of `tags[i]` for each bad tag.
    pub fn parse(texts: Vec<String>) -> Result<Self, Violations> {
        // A long list is refused as a whole: one violation per tag would make the answer as long as the request.
        if texts.len() > TAGS_MAX {
            return Err(Violation::new("tags", format!("must have at most {TAGS_MAX} entries")).into());
        }
        let mut violations = Violations::default();
        let tags = texts
            .into_iter()
            .enumerate()
            .filter_map(|(index, text)| violations.check("", Tag::parse(&format!("tags[{index}]"), text)))
            .collect();
        violations.into_result().map(|()| Self(tags))
    }

    /// The tags, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(Tag::as_str)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Tags {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(texts: &[&str]) -> Vec<String> {
        let texts = texts.iter().map(ToString::to_string).collect();
        Tags::parse(texts).unwrap_err().into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn every_bad_tag_is_named() {
        assert_eq!(fields(&["a", "", "b", "c\0", &"x".repeat(41)]), ["tags[1]", "tags[3]", "tags[4]"]);
    }

    #[test]
    fn eleven_tags_are_too_many_and_ten_are_not() {
        assert_eq!(fields(&["x"; 11]), ["tags"]);
        assert_eq!(Tags::parse(vec!["x".repeat(40); 10]).unwrap().iter().len(), 10);
    }
}
