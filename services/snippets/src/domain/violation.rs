//! What is wrong with an input, collected so that all of it is reported at once.

use std::fmt;

/// One mistake in an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field as in the proto, such as `snippet.metadata.tags[3]`.
    pub field: String,
    /// What is wrong with it, as a sentence fit for the client.
    pub description: String,
}

impl Violation {
    /// A mistake in `field`.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }

    /// The same mistake, reported for another field.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    fn below(mut self, parent: &str) -> Self {
        if !parent.is_empty() {
            self.field = format!("{parent}.{}", self.field);
        }
        self
    }
}

/// Every mistake found in an input. Empty while nothing is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Keeps the value, or notes what is wrong with it below the field `parent` (empty: top level).
    ///
    /// ```
    /// use snippets::domain::{Tags, Title, Violations};
    /// let mut violations = Violations::default();
    /// let title = violations.check("snippet", Title::parse("t".repeat(201)));
    /// let tags = violations.check("snippet", Tags::parse(vec!["fine".into(), String::new()]));
    /// assert!(title.is_none() && tags.is_none());
    /// let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    /// assert_eq!(fields, ["snippet.title", "snippet.tags[1]"]);
    /// ```
    pub fn check<T>(&mut self, parent: &str, parsed: Result<T, impl Into<Violations>>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.0.extend(wrong.into().0.into_iter().map(|violation| violation.below(parent)));
                None
            }
        }
    }

    /// Notes one more mistake.
    pub fn push(&mut self, violation: Violation) {
        self.0.push(violation);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes, in the order found.
    pub fn iter(&self) -> std::slice::Iter<'_, Violation> {
        self.0.iter()
    }

    /// Succeeds while nothing is wrong.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl From<Violation> for Violations {
    fn from(violation: Violation) -> Self {
        Self(vec![violation])
    }
}

impl IntoIterator for Violations {
    type Item = Violation;
    type IntoIter = std::vec::IntoIter<Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Violations {
    type Item = &'a Violation;
    type IntoIter = std::slice::Iter<'a, Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.description)
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Violation {}
impl std::error::Error for Violations {}
