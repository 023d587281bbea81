//! A bounded map whose entries expire.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

/// How many expired entries are removed at a time, so that no call pays for all.
const REMOVED_AT_ONCE_MAX: usize = 8;

/// Holds `entries_max` entries at most; beyond that, those that expire first make room. Keys are cloned, so they should
/// be cheap to.
pub(super) struct Expiring<K, V> {
    entries_max: usize,
    entries: HashMap<K, Entry<V>>,
    by_expiry: BTreeSet<(u64, K)>,
}

struct Entry<V> {
    value: V,
    expires_us: u64,
}

impl<K: Clone + Eq + Hash + Ord, V> Expiring<K, V> {
    pub(super) fn new(entries_max: usize) -> Self {
        Self { entries_max, entries: HashMap::new(), by_expiry: BTreeSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    pub(super) fn put(&mut self, key: &K, expires_us: u64, value: V) {
        self.by_expiry.insert((expires_us, key.clone()));
        if let Some(old) = self.entries.insert(key.clone(), Entry { value, expires_us })
            && old.expires_us != expires_us
        {
            self.by_expiry.remove(&(old.expires_us, key.clone()));
        }
        while self.entries.len() > self.entries_max && self.remove_first(u64::MAX) {}
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some(old) = self.entries.remove(key) {
            self.by_expiry.remove(&(old.expires_us, key.clone()));
        }
    }

    pub(super) fn remove_expired(&mut self, now_us: u64) {
        for _ in 0..REMOVED_AT_ONCE_MAX {
            if !self.remove_first(now_us) {
                return;
            }
        }
    }

    fn remove_first(&mut self, until_us: u64) -> bool {
        let Some((expires_us, _)) = self.by_expiry.first() else { return false };
        if *expires_us > until_us {
            return false;
        }
        if let Some((_, key)) = self.by_expiry.pop_first() {
            self.entries.remove(&key);
        }
        true
    }
}
