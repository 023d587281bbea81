//! Which edit of a snippet one has before one.

use std::fmt;

/// Counts the edits of one snippet: 1 when created, one more with each edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(i64);

impl Version {
    /// The version of a snippet that was never edited.
    pub const FIRST: Self = Self(1);
    /// Newer than any version a snippet can reach.
    pub const MAX: Self = Self(i64::MAX);
    const NEVER: Self = Self(0);

    /// The version with this number.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The version after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// What clients see of it.
    pub fn etag(self) -> Etag {
        Etag(format!("v{:x}", self.0))
    }

    /// The version that a client's etag stands for. Any text that was never an etag stands for a version
    /// that no snippet has, so that it is as stale as any other.
    pub fn of_etag(etag: &str) -> Self {
        let number = etag.strip_prefix('v').and_then(|digits| i64::from_str_radix(digits, 16).ok());
        let version = number.map_or(Self::NEVER, Self);
        // Only the canonical spelling counts: `v01` and `v+1` were never given out.
        if version.etag().as_str() == etag { version } else { Self::NEVER }
    }
}

/// Opaque text that changes with every edit of a snippet. It says nothing about which snippet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag(String);

impl Etag {
    /// The etag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Etag> for String {
    fn from(etag: Etag) -> Self {
        etag.0
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_stands_for_its_version() {
        for version in [Version::FIRST, Version::new(255), Version::MAX] {
            assert_eq!(Version::of_etag(version.etag().as_str()), version);
        }
    }

    #[test]
    fn other_text_stands_for_a_version_that_no_snippet_has() {
        for text in ["", "v", "1", "v01", "v+1", "V1", "v-1", "vFF", "v1 ", "\"v1\"", "vffffffffffffffffff"] {
            assert!(Version::of_etag(text) < Version::FIRST, "{text:?}");
        }
    }
}
