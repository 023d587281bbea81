//! Entries of a cache that last for as long as each says itself.

use std::time::{Duration, Instant};

use moka::Expiry;

/// Knows for how long it is kept from when it was put.
pub(crate) trait Lasting {
    fn lifetime(&self) -> Duration;
}

/// Keeps each entry for its own time, also one that takes the place of another.
pub(crate) struct OwnLifetime;

impl<K, V: Lasting> Expiry<K, V> for OwnLifetime {
    fn expire_after_create(&self, _: &K, entry: &V, _: Instant) -> Option<Duration> {
        Some(entry.lifetime())
    }

    fn expire_after_update(&self, _: &K, entry: &V, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(entry.lifetime())
    }
}
