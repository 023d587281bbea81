//! What a scalar is, read as Go's yaml.v2 reads it.

use super::{Content, Yaml};

/// A plain scalar that was meant to be a whole number, and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rules) enum NotANumber {
    Negative,
    Other,
}

impl Yaml {
    /// Nothing at all, or `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.plain(), Some("" | "~" | "null" | "Null" | "NULL"))
    }

    /// As text, whatever else it could be; `None` for lists and mappings.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// The text where it is not in quotes.
    pub fn plain(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, plain: true } => Some(text),
            _ => None,
        }
    }

    /// The words of YAML 1.1.
    pub fn boolean(&self) -> Option<bool> {
        match self.plain()? {
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Some(true),
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
                Some(false)
            }
            _ => None,
        }
    }

    /// A whole number, also `1_000`, `0x3e8`, `0b1010`, `0o17` and, as YAML 1.1 has it, `017` in octal. What is too large is the
    /// largest, so that whoever knows the range can name it.
    pub fn whole_number(&self) -> Result<u64, NotANumber> {
        let text = self.plain().ok_or(NotANumber::Other)?.replace('_', "");
        if text.starts_with('-') {
            return Err(NotANumber::Negative);
        }
        let text = text.strip_prefix('+').unwrap_or(&text);
        let (digits, radix) = match text.as_bytes() {
            [b'0', b'x' | b'X', ..] => (&text[2..], 16),
            [b'0', b'b' | b'B', ..] => (&text[2..], 2),
            [b'0', b'o' | b'O', ..] => (&text[2..], 8),
            [b'0', _, ..] => (&text[1..], 8),
            _ => (text, 10),
        };
        // A further sign would be one too many.
        if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
            return Err(NotANumber::Other);
        }
        Ok(u64::from_str_radix(digits, radix).unwrap_or(u64::MAX))
    }
}
