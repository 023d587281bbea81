//! The most frequent items of a stream, in bounded memory.
//!
//! Space-Saving: Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k elements in data streams",
//! ICDT 2005.

use std::{collections::BTreeMap, hash::Hash};

use hashbrown::{Equivalent, HashMap};

/// Counts up to `capacity` items. Every item that makes up more than 1/`capacity` of the stream is among them, and no
/// count is below the true one, nor above it by more than 1/`capacity` of the stream.
///
/// Items are cloned, so they should be cheap to.
#[derive(Debug, Clone)]
pub struct HeavyHitters<T> {
    capacity: usize,
    ranks: HashMap<T, Rank>,
    by_rank: BTreeMap<Rank, T>,
    added: u64,
}

/// By count, and of the same count the one that came to it first is lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    count: u64,
    since: u64,
}

impl<T: Clone + Eq + Hash> HeavyHitters<T> {
    /// Counts up to that many items, at least 1.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), ranks: HashMap::new(), by_rank: BTreeMap::new(), added: 0 }
    }

    /// The item came once more. A new one, which is made then, takes the place of the rarest where there is no room, and its
    /// count.
    pub fn add<Q: Hash + Equivalent<T> + ?Sized>(&mut self, item: &Q, make: impl FnOnce() -> T) {
        self.added += 1;
        let since = self.added;
        if let Some(rank) = self.ranks.get_mut(item) {
            let before = std::mem::replace(rank, Rank { count: rank.count + 1, since });
            if let Some(item) = self.by_rank.remove(&before) {
                self.by_rank.insert(*rank, item);
            }
            return;
        }
        let before = if self.ranks.len() < self.capacity { 0 } else { self.evict() };
        let (rank, item) = (Rank { count: before + 1, since }, make());
        self.ranks.insert(item.clone(), rank);
        self.by_rank.insert(rank, item);
    }

    /// The items with their counts, the most frequent first.
    pub fn top(&self) -> impl Iterator<Item = (&T, u64)> {
        self.by_rank.iter().rev().map(|(rank, item)| (item, rank.count))
    }

    fn evict(&mut self) -> u64 {
        let Some((rank, item)) = self.by_rank.pop_first() else { return 0 };
        self.ranks.remove(&item);
        rank.count
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_count_is_off_by_more_than_its_share(stream in prop::collection::vec(0_u16..40, 0..2000), capacity in 1_usize..60) {
            let mut sketch = HeavyHitters::new(capacity);
            for item in &stream {
                sketch.add(item, || *item);
            }
            let counted: std::collections::HashMap<u16, u64> = sketch.top().map(|(item, count)| (*item, count)).collect();
            prop_assert!(counted.len() <= capacity);
            let share = (stream.len() / capacity) as u64;
            for item in 0..40 {
                let exact = stream.iter().filter(|other| **other == item).count() as u64;
                match counted.get(&item) {
                    Some(count) => prop_assert!((exact..=exact + share).contains(count)),
                    None => prop_assert!(exact <= share),
                }
            }
        }

        #[test]
        fn the_most_frequent_come_first(stream in prop::collection::vec(0_u8..40, 0..500)) {
            let mut sketch = HeavyHitters::new(10);
            for item in &stream {
                sketch.add(item, || *item);
            }
            prop_assert!(sketch.top().map(|(_, count)| count).is_sorted_by(|a, b| a >= b));
        }
    }
}
