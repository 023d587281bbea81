//! Which letters are meant.

use std::collections::BTreeMap;

use super::{error::DeadLettersError, letter::Letter};

/// Which letters an action is to change.
pub(super) enum Selection {
    All,
    Malformed,
    /// Each id, and whether a letter of it was seen.
    Ids(BTreeMap<String, bool>),
}

impl Selection {
    pub(super) fn ids(ids: &[String]) -> Self {
        Self::Ids(ids.iter().map(|id| (id.clone(), false)).collect())
    }

    /// Whether the letter is meant.
    pub(super) fn takes(&mut self, letter: &Letter) -> bool {
        match self {
            Self::All => true,
            Self::Malformed => letter.verdict().is_err(),
            Self::Ids(ids) => ids.get_mut(&letter.id).map(|seen| *seen = true).is_some(),
        }
    }

    pub(super) fn is_by_id(&self) -> bool {
        matches!(self, Self::Ids(_))
    }

    /// To be called when all letters have been seen.
    ///
    /// # Errors
    /// The ids that none of them has.
    pub(super) fn all_seen(self) -> Result<(), DeadLettersError> {
        let Self::Ids(ids) = self else { return Ok(()) };
        let unknown: Vec<String> = ids.into_iter().filter(|(_, seen)| !seen).map(|(id, _)| id).collect();
        if unknown.is_empty() { Ok(()) } else { Err(DeadLettersError::Unknown(unknown)) }
    }
}
