//! Accounts, which own snippets.

use super::{Violation, content::bounded};
use chrono::{DateTime, Utc};
use std::{fmt, sync::Arc};
use uuid::Uuid;

const DISPLAY_NAME_CHARS_MAX: usize = 200;

/// The name of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccountId(pub Uuid);

impl AccountId {
    /// A fresh id, sorting after those made before it.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Accepts a UUID; a [`Violation`] of the field `id` otherwise.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        Uuid::try_parse(text).map(Self).map_err(|_| Violation::new("id", "must be a UUID"))
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an account is entitled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tier {
    /// The usual limits.
    #[default]
    Free,
    /// Higher limits.
    Premium,
    /// May read and delete any snippet, and manage accounts.
    Admin,
}

impl Tier {
    /// Its name in rate limit rules and metrics: `free`, `premium` or `admin`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Premium => "premium",
            Self::Admin => "admin",
        }
    }
}

/// 1 to 200 characters without NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName(Arc<str>);

impl DisplayName {
    /// A [`Violation`] of the field `display_name` when it is empty, too long or contains NUL.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, Violation> {
        let text = text.into();
        if text.is_empty() {
            return Err(Violation::new("display_name", "must not be empty"));
        }
        bounded("display_name", text, DISPLAY_NAME_CHARS_MAX).map(Self)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an edit changes of an account; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountPatch {
    /// What people call it.
    pub display_name: Option<DisplayName>,
    /// What it is entitled to.
    pub tier: Option<Tier>,
    /// Whether its keys are refused.
    pub disabled: Option<bool>,
}

/// Somebody who holds API keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub id: AccountId,
    /// What people call it.
    pub display_name: DisplayName,
    /// What it is entitled to.
    pub tier: Tier,
    /// The keys of a disabled account are refused.
    pub disabled: bool,
    /// When it was made, in whole microseconds.
    pub create_time: DateTime<Utc>,
}
