//! Invalidations that are still owed to the cache.

use crate::domain::{SnippetId, Version};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const IDS_MAX: usize = 10_000;
/// By then every copy that was in the cache has expired.
const COPY_LIFETIME_MAX: Duration = Duration::from_secs(330);
/// By then a statement that was sent is applied or never will be: the database's statement timeout is shorter.
const STATEMENT_LIFETIME_MAX: Duration = Duration::from_secs(3);

/// What is owed, by snippet. Bounded: what is beyond is not remembered, and instead the cache is left alone
/// altogether until any copy that should have been invalidated has expired.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Whether to look further: reads take no lock while nothing is owed.
    any: AtomicBool,
    state: Mutex<State>,
    /// What the cache was told of lately, if anybody wants to know.
    settled: Mutex<Option<Vec<(SnippetId, Version)>>>,
}

#[derive(Debug, Default)]
struct State {
    /// Copies older than the version are outdated. The writer was told so, and the cache may not be read.
    outdated: HashMap<SnippetId, Version>,
    /// Nobody knows whether a write was applied, and nobody was told that it was: until the store can tell, from
    /// this time on, the old copy is as good as the new one.
    unsure: HashMap<SnippetId, Instant>,
    bypass_all_until: Option<Instant>,
}

/// One thing that is owed to a snippet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Invalidate what is older than this version.
    Invalidate(Version),
    /// Invalidate what is older than the version that the store has. Not before this time.
    LookUp(Instant),
}

impl Pending {
    /// Begins a write. Dropping it unsettled, as a caller that goes away does, leaves something owed.
    pub(super) fn begin(this: &Arc<Self>, id: SnippetId) -> Write {
        Write { pending: Arc::clone(this), id, committed: None, settled: false }
    }

    /// Whether the cache is not to be used for this id.
    pub(super) fn bypasses(&self, id: &SnippetId) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let state = self.state.lock();
        state.bypasses_all() || state.outdated.contains_key(id)
    }

    /// Up to `count` of what can be settled now.
    pub(super) fn due(&self, count: usize) -> Vec<(SnippetId, Due)> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let now = Instant::now();
        let mut state = self.state.lock();
        if !state.bypasses_all() {
            state.bypass_all_until = None;
        }
        self.publish(&state);
        let outdated = state.outdated.iter().map(|(id, version)| (*id, Due::Invalidate(*version)));
        let unsure = state.unsure.iter().map(|(id, from)| (*id, Due::LookUp(*from)));
        outdated.chain(unsure.filter(|(_, due)| due.is_ripe(now))).take(count).collect()
    }

    /// Notes that `due` is no longer owed, unless more came on top meanwhile.
    pub(super) fn settled(&self, id: &SnippetId, due: Due) {
        if let Due::Invalidate(version) = due {
            self.note_settled(*id, version);
        }
        let mut state = self.state.lock();
        match due {
            Due::Invalidate(version) if state.outdated.get(id) == Some(&version) => {
                state.outdated.remove(id);
            }
            Due::LookUp(from) if state.unsure.get(id) == Some(&from) => {
                state.unsure.remove(id);
            }
            Due::Invalidate(_) | Due::LookUp(_) => {}
        }
        self.publish(&state);
    }

    /// Keeps in mind what is settled, for [`take_settled`](Self::take_settled).
    pub(super) fn remember_settled(&self) {
        self.settled.lock().get_or_insert_default();
    }

    /// Of what versions the cache was told since this was called the last time. Bounded: it may miss some.
    pub(super) fn take_settled(&self) -> Vec<(SnippetId, Version)> {
        self.settled.lock().as_mut().map(mem::take).unwrap_or_default()
    }

    fn note_settled(&self, id: SnippetId, version: Version) {
        if let Some(settled) = self.settled.lock().as_mut().filter(|settled| settled.len() < IDS_MAX) {
            settled.push((id, version));
        }
    }

    /// How much is owed.
    pub(super) fn len(&self) -> usize {
        self.state.lock().len()
    }

    fn owe(&self, id: SnippetId, due: Due) {
        let mut state = self.state.lock();
        if !state.owe(id, due) {
            metrics::counter!("snippets_cache_invalidations_forgotten_total").increment(1);
            state.bypass_all_until = Some(Instant::now() + COPY_LIFETIME_MAX);
        }
        self.publish(&state);
    }

    fn publish(&self, state: &State) {
        #[expect(clippy::cast_precision_loss, reason = "bounded far below 2^52")]
        metrics::gauge!("snippets_cache_invalidations_pending").set(state.len() as f64);
        self.any.store(state.len() > 0 || state.bypass_all_until.is_some(), Ordering::Release);
    }
}

impl State {
    fn bypasses_all(&self) -> bool {
        self.bypass_all_until.is_some_and(|until| Instant::now() < until)
    }

    fn len(&self) -> usize {
        self.outdated.len() + self.unsure.len()
    }

    /// Whether there was room to remember it.
    fn owe(&mut self, id: SnippetId, due: Due) -> bool {
        let room = self.len() < IDS_MAX;
        match due {
            Due::Invalidate(version) => owe_latest(&mut self.outdated, id, version, room),
            Due::LookUp(from) => owe_latest(&mut self.unsure, id, from, room),
        }
    }
}

fn owe_latest<T: Ord + Copy>(owed: &mut HashMap<SnippetId, T>, id: SnippetId, latest: T, room: bool) -> bool {
    match owed.entry(id) {
        Entry::Occupied(mut there) => {
            let latest = latest.max(*there.get());
            there.insert(latest);
            true
        }
        Entry::Vacant(vacant) if room => {
            vacant.insert(latest);
            true
        }
        Entry::Vacant(_) => false,
    }
}

impl Due {
    fn is_ripe(self, now: Instant) -> bool {
        match self {
            Self::Invalidate(_) => true,
            Self::LookUp(from) => from <= now,
        }
    }
}

/// A write under way, or done and not yet seen by the cache.
#[derive(Debug)]
pub(super) struct Write {
    pending: Arc<Pending>,
    id: SnippetId,
    committed: Option<Version>,
    settled: bool,
}

impl Write {
    /// The write is done; copies older than this version are outdated.
    pub(super) fn committed(&mut self, version: Version) {
        self.committed = Some(version);
    }

    /// The cache knows, or need not.
    pub(super) fn settled(mut self) {
        self.settled = true;
        if let Some(version) = self.committed {
            self.pending.note_settled(self.id, version);
        }
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if !self.settled {
            let look_up = Due::LookUp(Instant::now() + STATEMENT_LIFETIME_MAX);
            self.pending.owe(self.id, self.committed.map_or(look_up, Due::Invalidate));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_is_dropped_half_way_leaves_something_owed() {
        let pending = Arc::<Pending>::default();
        let (unsure, outdated, settled) =
            (SnippetId::generate(), SnippetId::generate(), SnippetId::generate());
        drop(Pending::begin(&pending, unsure));
        let mut write = Pending::begin(&pending, outdated);
        write.committed(Version::new(2));
        drop(write);
        Pending::begin(&pending, settled).settled();

        assert_eq!([unsure, outdated, settled].map(|id| pending.bypasses(&id)), [false, true, false]);
        // The look-up is not due before a statement that is still under way has ended.
        assert_eq!(pending.due(10), [(outdated, Due::Invalidate(Version::new(2)))]);
        assert_eq!(pending.len(), 2);
    }

    #[test]
    fn what_came_on_top_stays_owed() {
        let pending = Pending::default();
        let id = SnippetId::generate();
        pending.owe(id, Due::Invalidate(Version::new(3)));
        pending.owe(id, Due::Invalidate(Version::new(2)));
        pending.settled(&id, Due::Invalidate(Version::new(2)));
        assert!(pending.bypasses(&id));
        pending.settled(&id, Due::Invalidate(Version::new(3)));
        assert!(!pending.bypasses(&id));
    }

    #[test]
    fn beyond_the_bound_the_cache_is_left_alone_until_old_copies_have_expired() {
        let pending = Pending::default();
        for _ in 0..=IDS_MAX {
            pending.owe(SnippetId::generate(), Due::Invalidate(Version::FIRST));
        }
        assert_eq!(pending.len(), IDS_MAX);
        for (id, due) in pending.due(IDS_MAX) {
            pending.settled(&id, due);
        }
        assert_eq!(pending.len(), 0);
        assert!(pending.bypasses(&SnippetId::generate()));

        pending.state.lock().bypass_all_until = Some(Instant::now());
        assert!(pending.due(1).is_empty());
        assert!(!pending.bypasses(&SnippetId::generate()));
        assert!(!pending.any.load(Ordering::Acquire));
    }
}
