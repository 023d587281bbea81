//! The texts that a snippet is made of.

use super::Violation;
use std::{fmt, sync::Arc};

const TITLE_CHARS_MAX: usize = 200;
const LANGUAGE_CHARS_MAX: usize = 40;
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Up to 200 characters without NUL; may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Title(Arc<str>);

impl Title {
    /// A [`Violation`] of the field `title` when it is too long or contains NUL.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, Violation> {
        bounded("title", text.into(), TITLE_CHARS_MAX).map(Self)
    }

    /// The title as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Up to 40 characters without NUL, such as `rust`; may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Language(Arc<str>);

impl Language {
    /// A [`Violation`] of the field `language` when it is too long or contains NUL.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, Violation> {
        bounded("language", text.into(), LANGUAGE_CHARS_MAX).map(Self)
    }

    /// The language as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// 1 byte to 1 MiB of UTF-8 without NUL. Cloning shares the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Arc<str>);

impl Body {
    /// A [`Violation`] of the field `body` when it is empty, too long or contains NUL.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, Violation> {
        let text = text.into();
        if text.is_empty() {
            return Err(Violation::new("body", "must not be empty"));
        }
        if text.len() > BODY_BYTES_MAX {
            return Err(Violation::new("body", "must have at most 1048576 bytes"));
        }
        without_nul("body", text).map(Self)
    }

    /// The body as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What people share is nobody else's to read in a log.
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// Accepts up to `chars_max` characters without NUL.
pub(super) fn bounded(field: &str, text: Arc<str>, chars_max: usize) -> Result<Arc<str>, Violation> {
    // Bytes are never fewer than characters, so that most texts need no counting.
    if text.len() > chars_max && text.chars().count() > chars_max {
        return Err(Violation::new(field, format!("must have at most {chars_max} characters")));
    }
    without_nul(field, text)
}

/// Postgres stores no NUL in a text, and neither store may accept what the other refuses.
fn without_nul(field: &str, text: Arc<str>) -> Result<Arc<str>, Violation> {
    if text.as_bytes().contains(&0) {
        return Err(Violation::new(field, "must not contain NUL"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_characters_not_bytes() {
        assert!(Title::parse("é".repeat(200)).is_ok());
        assert!(Title::parse("é".repeat(201)).is_err());
        assert!(Language::parse("é".repeat(40)).is_ok());
        assert!(Language::parse("é".repeat(41)).is_err());
    }

    #[test]
    fn a_body_has_one_byte_to_one_mebibyte() {
        assert!(Body::parse("").is_err());
        assert!(Body::parse("x").is_ok());
        assert!(Body::parse("x".repeat(1 << 20)).is_ok());
        assert!(Body::parse("x".repeat((1 << 20) + 1)).is_err());
    }

    #[test]
    fn nul_is_refused_everywhere() {
        assert_eq!(Title::parse("a\0").unwrap_err().field, "title");
        assert_eq!(Language::parse("a\0").unwrap_err().field, "language");
        assert_eq!(Body::parse("a\0").unwrap_err().field, "body");
    }
}
