//! How long caches keep what they hold.

use std::time::Duration;

/// A copy is kept for 5 minutes, and up to a tenth longer, so that what was filled together does not expire
/// together.
pub(super) fn of_copy() -> Duration {
    Duration::from_secs(300).mul_f64(rand::random_range(1.0..1.1))
}

/// A tombstone has to outlive every reader that may still hold an older copy: `CachedSnippets` puts none that
/// it began to read more than 30 s ago, and a put is given up after less than a second.
pub(super) const OF_TOMBSTONE: Duration = Duration::from_secs(60);
