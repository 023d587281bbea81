//! For whom an answer is good.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::domain::{Account, ApiKey};

/// A point in time, and how many changes were made here before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) time: Instant,
    pub(super) changes: u64,
}

/// What the store said of a key.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    found: Option<Arc<(ApiKey, Account)>>,
    /// When the store was asked.
    as_of: Moment,
}

impl Answer {
    /// How long after the store was asked its answer is gone by.
    pub(super) const LIFETIME: Duration = Duration::from_secs(1);

    pub(super) fn new(found: Option<(ApiKey, Account)>, as_of: Moment) -> Self {
        Self { found: found.map(Arc::new), as_of }
    }

    pub(super) fn is_known(&self) -> bool {
        self.found.is_some()
    }

    pub(super) fn found(&self) -> Option<(ApiKey, Account)> {
        self.found.as_deref().cloned()
    }

    /// Whether it may be told to somebody who came at that moment: all that was changed here before is in it, and all that
    /// was changed elsewhere a second ago, or before the caller came.
    pub(super) fn serves(&self, came: Moment) -> bool {
        let is_recent = self.as_of.time >= came.time || self.as_of.time.elapsed() < Self::LIFETIME;
        self.as_of.changes >= came.changes && is_recent
    }
}
