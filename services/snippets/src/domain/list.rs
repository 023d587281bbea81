//! Lists of snippets: what is in them, and in which order.

use super::{AccountId, Language, SnippetId, SnippetMetadata, Tag, Visibility};
use chrono::{DateTime, Utc};

/// Which snippets a list has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnippetList {
    /// Whose.
    pub scope: ListScope,
    /// Of this language alone; of any, if it is empty.
    pub language: Language,
    /// With this tag alone.
    pub tag: Option<Tag>,
    /// What comes first.
    pub order: ListOrder,
}

/// Whose snippets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListScope {
    /// Everybody's public ones.
    Public,
    /// An account's own.
    Own {
        /// The account.
        owner: AccountId,
        /// Of this visibility alone.
        visibility: Option<Visibility>,
    },
}

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListOrder {
    /// What was made last.
    Newest,
    /// What was viewed most often and, of equals, what was made last.
    MostViewed,
}

/// A snippet in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The snippet.
    pub metadata: SnippetMetadata,
    /// The views by which it is ordered, which may be behind those that are counted; 0 in an order by time.
    pub views: u64,
}

/// A place in a list, in any order. Before it comes what is greater, after it what is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPosition {
    /// The views of the snippet that is there.
    pub views: u64,
    /// When it was made.
    pub create_time: DateTime<Utc>,
    /// Its id, which decides between equals.
    pub id: SnippetId,
}

impl Listed {
    /// Where it is.
    pub fn position(&self) -> ListPosition {
        let SnippetMetadata { id, create_time, .. } = self.metadata;
        ListPosition { views: self.views, create_time, id }
    }
}
