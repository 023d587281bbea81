//! A snippet, as it is made, kept and changed.

use super::{AccountId, Body, Language, MaxViews, SnippetId, Tags, Title, Version, to_micros};
use chrono::{DateTime, Utc};

/// Who may read a snippet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Visibility {
    /// Anybody, and it shows up in lists.
    Public,
    /// Anybody who knows the id.
    #[default]
    Unlisted,
    /// Its owner and admins.
    Private,
}

/// A snippet as it is stored. Cloning shares the texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// What is known of it.
    pub metadata: SnippetMetadata,
    /// The text itself.
    pub body: Body,
}

/// All of a snippet but its body. Cloning shares the texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnippetMetadata {
    /// Its name.
    pub id: SnippetId,
    /// Its title.
    pub title: Title,
    /// The language of its body.
    pub language: Language,
    /// Its tags.
    pub tags: Tags,
    /// Who may read it.
    pub visibility: Visibility,
    /// Who may edit it; nobody, when an anonymous caller made it.
    pub owner: Option<AccountId>,
    /// When it was made, in whole microseconds.
    pub create_time: DateTime<Utc>,
    /// When it was last edited, in whole microseconds.
    pub update_time: DateTime<Utc>,
    /// When it ceases to exist, in whole microseconds; never, if there is none.
    pub expire_time: Option<DateTime<Utc>>,
    /// After how many views it ceases to exist. It does not change.
    pub max_views: Option<MaxViews>,
    /// Which edit this is.
    pub version: Version,
}

impl SnippetMetadata {
    /// Whether the account owns it.
    pub fn is_owned_by(&self, account: Option<AccountId>) -> bool {
        self.owner.is_some() && self.owner == account
    }

    /// Whether a copy may be shown without asking the store: not where that depends on who reads, or each view is taken
    /// from those that are left.
    pub fn may_be_cached(&self) -> bool {
        self.visibility != Visibility::Private && self.max_views.is_none()
    }

    /// Whether its time is over.
    pub fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.expire_time.is_some_and(|end| end <= now)
    }
}

impl Snippet {
    /// The bytes of its texts.
    pub fn text_bytes(&self) -> usize {
        let Self { metadata, body } = self;
        let tags: usize = metadata.tags.iter().map(str::len).sum();
        body.as_str().len() + metadata.title.as_str().len() + metadata.language.as_str().len() + tags
    }

    /// The snippet after an edit at `now`: one version on.
    #[must_use]
    pub fn patched(self, patch: SnippetPatch, now: DateTime<Utc>) -> Self {
        let Self { metadata, body } = self;
        Self {
            metadata: SnippetMetadata {
                title: patch.title.unwrap_or(metadata.title),
                language: patch.language.unwrap_or(metadata.language),
                tags: patch.tags.unwrap_or(metadata.tags),
                visibility: patch.visibility.unwrap_or(metadata.visibility),
                expire_time: patch.expire_time.unwrap_or(metadata.expire_time),
                update_time: to_micros(now),
                version: metadata.version.next(),
                ..metadata
            },
            body: patch.body.unwrap_or(body),
        }
    }
}

/// What is needed to make a snippet.
#[derive(Debug, Clone)]
pub struct NewSnippet {
    /// Its title.
    pub title: Title,
    /// The language of its body.
    pub language: Language,
    /// The text itself.
    pub body: Body,
    /// Its tags.
    pub tags: Tags,
    /// Who may read it.
    pub visibility: Visibility,
    /// Who will own it.
    pub owner: Option<AccountId>,
    /// When it will cease to exist, in whole microseconds.
    pub expire_time: Option<DateTime<Utc>>,
    /// After how many views it will.
    pub max_views: Option<MaxViews>,
}

impl NewSnippet {
    /// The first version of the snippet, made at `now`.
    pub fn with_id(self, id: SnippetId, now: DateTime<Utc>) -> Snippet {
        let now = to_micros(now);
        let metadata = SnippetMetadata {
            id,
            title: self.title,
            language: self.language,
            tags: self.tags,
            visibility: self.visibility,
            owner: self.owner,
            create_time: now,
            update_time: now,
            expire_time: self.expire_time,
            max_views: self.max_views,
            version: Version::FIRST,
        };
        Snippet { metadata, body: self.body }
    }
}

/// An edit: what is `Some` replaces what is there.
#[derive(Debug, Clone, Default)]
pub struct SnippetPatch {
    /// The new title.
    pub title: Option<Title>,
    /// The new language.
    pub language: Option<Language>,
    /// The new body.
    pub body: Option<Body>,
    /// The new tags.
    pub tags: Option<Tags>,
    /// The new visibility.
    pub visibility: Option<Visibility>,
    /// The new end, which may be none.
    pub expire_time: Option<Option<DateTime<Utc>>>,
}
