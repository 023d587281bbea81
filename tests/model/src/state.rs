//! Who has which views.

use std::collections::{BTreeMap, BTreeSet};

use crate::Flaw;

/// The id of a batch; ids are not used twice.
pub type BatchId = u8;

/// A moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// Views that clients were answered.
    pub answered: u8,
    /// The replica: views in the open window.
    pub open: u8,
    /// The replica: closed windows, and how often each was sent.
    pub unconfirmed: BTreeMap<BatchId, u8>,
    /// The replica: batches that it has dropped as safe.
    pub confirmed: BTreeSet<BatchId>,
    /// The broker: batches to deliver; one that was sent twice is there twice.
    pub queue: Vec<BatchId>,
    /// The workers: deliveries that are not settled.
    pub workers: Vec<Held>,
    /// The database: ids of batches that were counted.
    pub inbox: BTreeSet<BatchId>,
    /// The database: views.
    pub counted: u8,
    /// Views of open windows that died with the replica.
    pub open_lost: u8,
    /// So far.
    pub replica_kills: u8,
    /// So far.
    pub worker_kills: u8,
    /// Views of every batch that there ever was, by id.
    views: Vec<u8>,
    /// Batches that the broker has stored at some time.
    stored: BTreeSet<BatchId>,
}

/// What a worker holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Held {
    /// Delivered, and open.
    pub batches: Vec<BatchId>,
    /// Whether they are committed.
    pub committed: bool,
}

impl State {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            answered: 0,
            open: 0,
            unconfirmed: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            queue: Vec::new(),
            workers: vec![Held::default(); workers],
            inbox: BTreeSet::new(),
            counted: 0,
            open_lost: 0,
            replica_kills: 0,
            worker_kills: 0,
            views: Vec::new(),
            stored: BTreeSet::new(),
        }
    }

    pub(crate) fn was_stored(&self, id: BatchId) -> bool {
        self.stored.contains(&id)
    }

    /// Whether a batch is counted, or somewhere from where it will be.
    pub(crate) fn is_safe(&self, id: BatchId) -> bool {
        let held = self.workers.iter().any(|held| held.batches.contains(&id));
        held || self.queue.contains(&id) || self.inbox.contains(&id)
    }

    /// Views of batches that are safe, or that the replica still has; each batch once.
    pub(crate) fn closed_views(&self) -> u8 {
        let has = |id: BatchId| self.unconfirmed.contains_key(&id) || self.is_safe(id);
        (0..).zip(&self.views).filter(|(id, _)| has(*id)).map(|(_, views)| views).sum()
    }

    pub(crate) fn view(&mut self) {
        self.answered += 1;
        self.open += 1;
    }

    pub(crate) fn close(&mut self) {
        let views = std::mem::take(&mut self.open);
        let id = self.new_batch(views);
        self.unconfirmed.insert(id, 0);
    }

    pub(crate) fn send(&mut self, id: BatchId, arrives: bool, flaw: Option<Flaw>) {
        let sends = self.unconfirmed.remove(&id).unwrap_or_default() + 1;
        let is_new = flaw == Some(Flaw::NewIdForEachSend) && sends > 1;
        let id = if is_new { self.new_batch(self.views[usize::from(id)]) } else { id };
        if arrives {
            self.stored.insert(id);
            self.enqueue([id]);
        }
        if flaw == Some(Flaw::TrustsSends) {
            self.confirmed.insert(id);
        } else {
            self.unconfirmed.insert(id, sends);
        }
    }

    pub(crate) fn confirm(&mut self, id: BatchId) {
        self.unconfirmed.remove(&id);
        self.confirmed.insert(id);
    }

    pub(crate) fn kill_replica(&mut self, spool: bool) {
        self.replica_kills += 1;
        self.open_lost += std::mem::take(&mut self.open);
        if !spool {
            self.unconfirmed.clear();
        }
    }

    pub(crate) fn deliver(&mut self, worker: usize, id: BatchId) {
        if let Some(place) = self.queue.iter().position(|queued| *queued == id) {
            self.queue.remove(place);
            self.workers[worker].batches.push(id);
            self.workers[worker].batches.sort_unstable();
        }
    }

    pub(crate) fn commit(&mut self, worker: usize, flaw: Option<Flaw>) {
        for id in self.workers[worker].batches.clone() {
            if self.inbox.insert(id) || flaw == Some(Flaw::ForgetsBatchIds) {
                self.counted += self.views[usize::from(id)];
            }
        }
        self.workers[worker].committed = true;
    }

    pub(crate) fn ack(&mut self, worker: usize) {
        self.workers[worker] = Held::default();
    }

    pub(crate) fn kill_worker(&mut self, worker: usize, flaw: Option<Flaw>) {
        self.worker_kills += 1;
        let held = std::mem::take(&mut self.workers[worker]);
        // What was acknowledged the broker does not deliver again.
        if flaw != Some(Flaw::AcksBeforeCommit) {
            self.enqueue(held.batches);
        }
    }

    fn new_batch(&mut self, views: u8) -> BatchId {
        let id = BatchId::try_from(self.views.len()).unwrap_or(BatchId::MAX);
        self.views.push(views);
        id
    }

    fn enqueue(&mut self, ids: impl IntoIterator<Item = BatchId>) {
        self.queue.extend(ids);
        // The order matters to nobody, and without it there are fewer states.
        self.queue.sort_unstable();
    }
}
