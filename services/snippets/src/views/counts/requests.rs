//! Which counts are to be read next, and whether it is worth waiting for them.

use crate::domain::SnippetId;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// How many counts one query reads.
const BATCH_IDS_MAX: usize = 1_000;
/// How many batches may wait for their turn.
const BATCHES_MAX: usize = 100;
/// How many counts may wait to be read with nobody waiting for them.
const BEHIND_MAX: usize = 100_000;

/// Views by snippet.
pub(super) type Counts = HashMap<SnippetId, u64>;
/// Of one batch; nothing until it was read. Closed when it is not going to be.
pub(super) type Answer = watch::Receiver<Option<Arc<Counts>>>;

/// What is asked of the store. Bounded: what finds no place is not read, and asked for again by the next who wants it.
#[derive(Debug, Default)]
pub(super) struct Requests {
    awaited: VecDeque<Batch>,
    behind: HashSet<SnippetId>,
    /// What was behind, now being read bit by bit.
    due: Vec<SnippetId>,
    /// Since when the store owes an answer.
    asked_at: Option<Instant>,
    /// Whether the last attempt to read failed.
    away: bool,
}

/// The counts that one query reads.
#[derive(Debug)]
pub(super) struct Batch {
    ids: Vec<SnippetId>,
    asked_for: HashSet<SnippetId>,
    answer: watch::Sender<Option<Arc<Counts>>>,
}

impl Requests {
    /// Asks for a count that nobody waits for.
    pub(super) fn refresh(&mut self, id: SnippetId) {
        if self.behind.len() < BEHIND_MAX {
            self.behind.insert(id);
        }
    }

    /// Asks for a count that a caller waits for. Nothing to wait for where it would be in vain: the store is away, or has
    /// owed an answer for as long as that. The count is then read all the same.
    pub(super) fn wait_for(&mut self, id: SnippetId, patience: Duration) -> Option<Answer> {
        let in_vain = self.away || self.overdue_at(patience) <= Instant::now();
        let batch = if in_vain { None } else { self.open_batch() };
        let Some(batch) = batch else {
            self.refresh(id);
            return None;
        };
        batch.insert(id);
        Some(batch.answer.subscribe())
    }

    /// When the store will have owed an answer for as long as that.
    pub(super) fn overdue_at(&self, patience: Duration) -> Instant {
        self.asked_at.unwrap_or_else(Instant::now) + patience
    }

    /// What to read next: first what is waited for.
    pub(super) fn next(&mut self) -> Option<Batch> {
        let mut batch = self.awaited.pop_front().unwrap_or_default();
        if self.due.is_empty() {
            self.due = mem::take(&mut self.behind).into_iter().collect();
        }
        while !batch.is_full()
            && let Some(id) = self.due.pop()
        {
            batch.insert(id);
        }
        if batch.ids.is_empty() {
            return None;
        }
        self.asked_at = Some(Instant::now());
        Some(batch)
    }

    /// The store gave the answer that it owed.
    pub(super) fn answered(&mut self) {
        self.asked_at = None;
        self.away = false;
    }

    /// A batch could not be read: nobody waits any longer, and it is read when the store is back. True if the store
    /// was not away before.
    pub(super) fn failed(&mut self, batch: Batch) -> bool {
        self.awaited.push_front(batch);
        !self.give_up()
    }

    /// Lets nobody wait until a batch was read. True if nobody did before.
    pub(super) fn give_up(&mut self) -> bool {
        self.asked_at = None;
        for batch in mem::take(&mut self.awaited) {
            batch.ids.into_iter().for_each(|id| self.refresh(id));
        }
        mem::replace(&mut self.away, true)
    }

    /// A batch that has room for one more.
    fn open_batch(&mut self) -> Option<&mut Batch> {
        if self.awaited.back().is_none_or(Batch::is_full) {
            if self.awaited.len() >= BATCHES_MAX {
                return None;
            }
            self.awaited.push_back(Batch::default());
        }
        self.awaited.back_mut()
    }
}

impl Batch {
    pub(super) fn ids(&self) -> &[SnippetId] {
        &self.ids
    }

    /// Tells those who wait.
    pub(super) fn answer(self, counts: Counts) {
        self.answer.send_replace(Some(Arc::new(counts)));
    }

    fn is_full(&self) -> bool {
        self.ids.len() >= BATCH_IDS_MAX
    }

    fn insert(&mut self, id: SnippetId) {
        if self.asked_for.insert(id) {
            self.ids.push(id);
        }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self { ids: Vec::new(), asked_for: HashSet::new(), answer: watch::Sender::new(None) }
    }
}
