//! What is wrong with a rules file, and where.

use std::fmt;

/// Most mistakes of one file that are told.
pub const MISTAKES_MAX: usize = 100;

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// One mistake in a rules file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// The file's name, as the loader gave it.
    pub file: String,
    /// Where it is, unless it is about the file as a whole.
    pub place: Option<Place>,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// Every mistake found, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RuleErrors(pub Vec<RuleError>);

/// A mistake in the file that is being read.
pub(super) type Mistake = (Place, String);

/// The mistakes found so far in the file that is being read.
#[derive(Debug, Default)]
pub(super) struct Notes {
    mistakes: Vec<Mistake>,
    left_out: usize,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

impl RuleError {
    pub(super) fn new(file: &str, place: Option<Place>, reason: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), place, reason: reason.to_string() }
    }
}

impl Notes {
    pub fn note(&mut self, place: Place, reason: impl fmt::Display) {
        if self.mistakes.len() < MISTAKES_MAX {
            self.mistakes.push((place, reason.to_string()));
        } else {
            self.left_out += 1;
        }
    }

    /// The value, or a note of why there is none.
    pub fn ok<T>(&mut self, place: Place, result: Result<T, impl fmt::Display>) -> Option<T> {
        result.map_err(|reason| self.note(place, reason)).ok()
    }

    pub fn is_empty(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// In the order of the file.
    pub fn into_errors(mut self, file: &str) -> Vec<RuleError> {
        self.mistakes.sort_by_key(|(place, _)| *place);
        let told = self.mistakes.into_iter().map(|(place, reason)| RuleError::new(file, Some(place), reason));
        let left_out = (self.left_out > 0)
            .then(|| RuleError::new(file, None, format_args!("there are {} more mistakes", self.left_out)));
        told.chain(left_out).collect()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(place) => write!(f, "{}:{place}: {}", self.file, self.reason),
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
