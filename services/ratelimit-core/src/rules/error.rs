//! What is wrong with a rules file, and where.

use std::fmt;

use serde_saphyr::Location;

/// One mistake in a rules file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// The file's name, as the loader gave it.
    pub file: String,
    /// Line and column, from 1, where they are known.
    pub place: Option<(u64, u64)>,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// Every mistake found, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RuleErrors(pub Vec<RuleError>);

impl RuleError {
    pub(super) fn new(file: &str, location: Option<Location>, reason: impl fmt::Display) -> Self {
        let known = location.filter(|location| *location != Location::UNKNOWN);
        let place = known.map(|location| (location.line(), location.column()));
        Self { file: file.to_owned(), place, reason: reason.to_string() }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.reason),
            None => write!(f, "{}: {}", self.file, self.reason),
        }
    }
}

impl fmt::Display for RuleErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rules are not valid:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}
