//! The name of a snippet.

use super::Violation;
use std::{fmt, str};

const LENGTH: usize = 11;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// 11 base62 characters. A generated one carries 64 random bits, so that any number of replicas make unique
/// ids with no coordinator, and nobody can enumerate them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnippetId([u8; LENGTH]);

impl SnippetId {
    /// A fresh id from the operating system seeded CSPRNG.
    pub fn generate() -> Self {
        Self::from_bits(rand::random())
    }

    /// Accepts exactly 11 base62 characters; a [`Violation`] of the field `id` otherwise.
    ///
    /// Text beyond the 64 bits that are generated is well formed too: such a snippet just does not exist.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        match <[u8; LENGTH]>::try_from(text.as_bytes()) {
            Ok(characters) if characters.iter().all(u8::is_ascii_alphanumeric) => Ok(Self(characters)),
            _ => Err(Violation::new("id", "must be 11 base62 characters (0-9, A-Z, a-z)")),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        // Always ASCII, so the fallback is never taken.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    fn from_bits(mut bits: u64) -> Self {
        let mut characters = [0; LENGTH];
        for character in characters.iter_mut().rev() {
            // The remainder is below 62, so nothing is cut off.
            *character = ALPHABET[usize::try_from(bits % 62).unwrap_or_default()];
            bits /= 62;
        }
        Self(characters)
    }
}

impl fmt::Display for SnippetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SnippetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnippetId({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn writes_the_extremes_in_eleven_characters() {
        assert_eq!(SnippetId::from_bits(0).as_str(), "00000000000");
        assert_eq!(SnippetId::from_bits(61).as_str(), "0000000000z");
        assert_eq!(SnippetId::from_bits(u64::MAX).as_str(), "LygHa16AHYF");
    }

    #[test]
    fn refuses_what_is_not_an_id() {
        for text in ["", "short", "0123456789", "012345678901", "0123456789-", "0123456789é", "0123456789 "]
        {
            assert_eq!(SnippetId::parse(text).unwrap_err().field, "id", "{text:?}");
        }
    }

    #[test]
    fn generates_distinct_ids() {
        let ids: HashSet<_> = (0..10_000).map(|_| SnippetId::generate()).collect();
        assert_eq!(ids.len(), 10_000);
    }

    proptest! {
        #[test]
        fn every_generated_id_parses_and_is_unique_to_its_bits(bits: u64, other: u64) {
            let id = SnippetId::from_bits(bits);
            prop_assert_eq!(SnippetId::parse(id.as_str()).unwrap(), id);
            prop_assert_eq!(id == SnippetId::from_bits(other), bits == other);
        }
    }
}
